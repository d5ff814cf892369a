import{$ as Nr,A as x,D as Pe,E as Fr,F as Bt,H as j,J as Or,O as yr,P as Le,_ as Dr,d as lr,da as Pr,e as cr,f as T,g as pr,h as dr,i as hr,j as fr,k as mr,l as xr,m as gr,n as Cr,o as Tr,oa as Ue,p as $r,pa as Lr,q as Er,qa as _,r as vr,ra as Ur,s as Sr,t as _r,u as Rr,ua as kr,v as br,w as Ir,x as wr,y as Ar}from"./core.js";var ae={},Ze={alpha:!1,antialias:!1,premultipliedAlpha:!1,preserveDrawingBuffer:!1,depth:!1,stencil:!1,failIfMajorPerformanceCaveat:!0};function Br(t,e){ae[t]=e}function M(t,e){if(!(t in ae)||e!=null){let o=Jn(t,e);if(o!==null)ae[t]=o;else return console.log("Could not get context for WebGL version",t),null}let r=ae[t];return r==null||r.isContextLost()?(delete ae[t],M(t)):(r.disable(r.DEPTH_TEST),r.disable(r.STENCIL_TEST),r.disable(r.BLEND),r.disable(r.DITHER),r.disable(r.POLYGON_OFFSET_FILL),r.disable(r.SAMPLE_COVERAGE),r.enable(r.SCISSOR_TEST),r.enable(r.CULL_FACE),r.cullFace(r.BACK),ae[t])}function Zn(t){if(!T().getBool("IS_SAFARI")&&typeof OffscreenCanvas<"u"&&t===2)return new OffscreenCanvas(300,150);if(typeof document<"u")return document.createElement("canvas");throw new Error("Cannot create a canvas in this context")}function Jn(t,e){if(t!==1&&t!==2)throw new Error("Cannot get WebGL rendering context, WebGL is disabled.");let r=e??Zn(t);return r.addEventListener("webglcontextlost",o=>{o.preventDefault(),delete ae[t]},!1),T().getBool("SOFTWARE_WEBGL_ENABLED")&&(Ze.failIfMajorPerformanceCaveat=!1),t===1?r.getContext("webgl",Ze)||r.getContext("experimental-webgl",Ze):r.getContext("webgl2",Ze)}var ee;(function(t){t[t.DENSE=0]="DENSE",t[t.SHARED_BATCH=1]="SHARED_BATCH"})(ee||(ee={}));var k;(function(t){t[t.RENDER=0]="RENDER",t[t.UPLOAD=1]="UPLOAD",t[t.PIXELS=2]="PIXELS",t[t.DOWNLOAD=3]="DOWNLOAD"})(k||(k={}));var P;(function(t){t[t.UNPACKED_FLOAT16=0]="UNPACKED_FLOAT16",t[t.UNPACKED_FLOAT32=1]="UNPACKED_FLOAT32",t[t.PACKED_4X1_UNSIGNED_BYTE=2]="PACKED_4X1_UNSIGNED_BYTE",t[t.PACKED_2X2_FLOAT32=3]="PACKED_2X2_FLOAT32",t[t.PACKED_2X2_FLOAT16=4]="PACKED_2X2_FLOAT16"})(P||(P={}));function ue(t,e){return[e,t]}function Mr(t,e){return t*e}function ke(t){let e=x.sizeFromShape(t),r=Math.ceil(e/4);return x.sizeToSquarishShape(r)}function K(t,e){return[Math.max(1,Math.ceil(e/2)),Math.max(1,Math.ceil(t/2))]}function Vr(t,e){let[r,o]=K(t,e);return r*o*4}function Be(t,e){let r=t,o,n,s,i,a,u,l,c,p,d;return T().getNumber("WEBGL_VERSION")===2?(o=r.R32F,n=r.R16F,s=r.RGBA16F,i=r.RGBA32F,a=r.RED,l=4,c=1,p=r.HALF_FLOAT,d=r.FLOAT,u=r.RGBA8):(o=t.RGBA,n=t.RGBA,s=t.RGBA,i=r.RGBA,a=t.RGBA,l=4,c=4,p=e!=null?e.HALF_FLOAT_OES:null,d=t.FLOAT,u=t.RGBA),{internalFormatFloat:o,internalFormatHalfFloat:n,internalFormatPackedHalfFloat:s,internalFormatPackedFloat:i,textureFormatFloat:a,downloadTextureFormat:u,downloadUnpackNumChannels:l,defaultNumChannels:c,textureTypeHalfFloat:p,textureTypeFloat:d}}function $(t,e){let r=e();return T().getBool("DEBUG")&&es(t),r}function es(t){let e=t.getError();if(e!==t.NO_ERROR)throw new Error("WebGL Error: "+os(t,e))}var ts=596e-10,rs=65504;function Wr(t){return!!(T().getBool("WEBGL_RENDER_FLOAT32_ENABLED")||t===0||ts<Math.abs(t)&&Math.abs(t)<rs)}function os(t,e){switch(e){case t.NO_ERROR:return"NO_ERROR";case t.INVALID_ENUM:return"INVALID_ENUM";case t.INVALID_VALUE:return"INVALID_VALUE";case t.INVALID_OPERATION:return"INVALID_OPERATION";case t.INVALID_FRAMEBUFFER_OPERATION:return"INVALID_FRAMEBUFFER_OPERATION";case t.OUT_OF_MEMORY:return"OUT_OF_MEMORY";case t.CONTEXT_LOST_WEBGL:return"CONTEXT_LOST_WEBGL";default:return`Unknown error code ${e}`}}function Me(t,e){return Q(t,()=>t.getExtension(e),'Extension "'+e+'" not supported on this browser.')}function Gr(t,e){let r=Q(t,()=>t.createShader(t.VERTEX_SHADER),"Unable to create vertex WebGLShader.");if($(t,()=>t.shaderSource(r,e)),$(t,()=>t.compileShader(r)),t.getShaderParameter(r,t.COMPILE_STATUS)===!1)throw console.log(t.getShaderInfoLog(r)),new Error("Failed to compile vertex shader.");return r}function zr(t,e){let r=Q(t,()=>t.createShader(t.FRAGMENT_SHADER),"Unable to create fragment WebGLShader.");if($(t,()=>t.shaderSource(r,e)),$(t,()=>t.compileShader(r)),T().get("ENGINE_COMPILE_ONLY"))return r;if(t.getShaderParameter(r,t.COMPILE_STATUS)===!1)throw zt(e,t.getShaderInfoLog(r)),new Error("Failed to compile fragment shader.");return r}var ns=/ERROR: [0-9]+:([0-9]+):/g;function zt(t,e){let r=ns.exec(e);if(r==null){console.log(`Couldn't parse line number in error: ${e}`),console.log(t);return}let o=+r[1],n=t.split(`
`),s=n.length.toString().length+2,i=n.map((p,d)=>x.rightPad((d+1).toString(),s)+p),a=0;for(let p=0;p<i.length;p++)a=Math.max(i[p].length,a);let u=i.slice(0,o-1),l=i.slice(o-1,o),c=i.slice(o);console.log(u.join(`
`)),console.log(e.split(`
`)[0]),console.log(`%c ${x.rightPad(l[0],a)}`,"border:1px solid red; background-color:#e3d2d2; color:#a61717"),console.log(c.join(`
`))}function Xr(t){return Q(t,()=>t.createProgram(),"Unable to create WebGLProgram.")}function Hr(t,e){if($(t,()=>t.linkProgram(e)),!T().get("ENGINE_COMPILE_ONLY")&&t.getProgramParameter(e,t.LINK_STATUS)===!1)throw console.log(t.getProgramInfoLog(e)),new Error("Failed to link vertex and fragment shaders.")}function et(t,e){if($(t,()=>t.validateProgram(e)),t.getProgramParameter(e,t.VALIDATE_STATUS)===!1)throw console.log(t.getProgramInfoLog(e)),new Error("Shader program validation failed.")}function Kr(t,e){let r=Q(t,()=>t.createBuffer(),"Unable to create WebGLBuffer");return $(t,()=>t.bindBuffer(t.ARRAY_BUFFER,r)),$(t,()=>t.bufferData(t.ARRAY_BUFFER,e,t.STATIC_DRAW)),r}function Yr(t,e){let r=Q(t,()=>t.createBuffer(),"Unable to create WebGLBuffer");return $(t,()=>t.bindBuffer(t.ELEMENT_ARRAY_BUFFER,r)),$(t,()=>t.bufferData(t.ELEMENT_ARRAY_BUFFER,e,t.STATIC_DRAW)),r}function qr(t){return Q(t,()=>t.createTexture(),"Unable to create WebGLTexture.")}function jr(t,e){let r=T().getNumber("WEBGL_MAX_TEXTURE_SIZE");if(t<=0||e<=0){let o=`[${t}x${e}]`;throw new Error("Requested texture size "+o+" is invalid.")}if(t>r||e>r){let o=`[${t}x${e}]`,n=`[${r}x${r}]`;throw new Error("Requested texture size "+o+" greater than WebGL maximum on this browser / GPU "+n+".")}}function Qr(t){return Q(t,()=>t.createFramebuffer(),"Unable to create WebGLFramebuffer.")}function Xt(t,e,r,o,n,s,i){let a=t.getAttribLocation(e,r);return a===-1?!1:($(t,()=>t.bindBuffer(t.ARRAY_BUFFER,o)),$(t,()=>t.vertexAttribPointer(a,n,t.FLOAT,!1,s,i)),$(t,()=>t.enableVertexAttribArray(a)),!0)}function ss(t,e,r){as(t,r),$(t,()=>t.activeTexture(t.TEXTURE0+r)),$(t,()=>t.bindTexture(t.TEXTURE_2D,e))}function Zr(t,e,r){return Q(t,()=>t.getUniformLocation(e,r),'uniform "'+r+'" not present in program.')}function Jr(t,e,r){return t.getUniformLocation(e,r)}function eo(t,e,r,o){$(t,()=>ss(t,e,o)),$(t,()=>t.uniform1i(r,o))}function tt(t,e,r){$(t,()=>t.bindFramebuffer(t.FRAMEBUFFER,r)),$(t,()=>t.framebufferTexture2D(t.FRAMEBUFFER,t.COLOR_ATTACHMENT0,t.TEXTURE_2D,e,0))}function Ht(t,e){$(t,()=>t.bindFramebuffer(t.FRAMEBUFFER,e)),$(t,()=>t.framebufferTexture2D(t.FRAMEBUFFER,t.COLOR_ATTACHMENT0,t.TEXTURE_2D,null,0))}function Ve(t){let e=t.checkFramebufferStatus(t.FRAMEBUFFER);if(e!==t.FRAMEBUFFER_COMPLETE)throw new Error("Error binding framebuffer: "+is(t,e))}function is(t,e){switch(e){case t.FRAMEBUFFER_INCOMPLETE_ATTACHMENT:return"FRAMEBUFFER_INCOMPLETE_ATTACHMENT";case t.FRAMEBUFFER_INCOMPLETE_MISSING_ATTACHMENT:return"FRAMEBUFFER_INCOMPLETE_MISSING_ATTACHMENT";case t.FRAMEBUFFER_INCOMPLETE_DIMENSIONS:return"FRAMEBUFFER_INCOMPLETE_DIMENSIONS";case t.FRAMEBUFFER_UNSUPPORTED:return"FRAMEBUFFER_UNSUPPORTED";default:return`unknown error ${e}`}}function Q(t,e,r){let o=$(t,()=>e());if(o==null)throw new Error(r);return o}function as(t,e){let r=t.MAX_COMBINED_TEXTURE_IMAGE_UNITS-1,o=e+t.TEXTURE0;if(o<t.TEXTURE0||o>r){let n=`[gl.TEXTURE0, gl.TEXTURE${r}]`;throw new Error(`textureUnit must be in ${n}.`)}}function te(t,e=2){return x.sizeFromShape(t.slice(0,t.length-e))}function re(t){if(t.length===0)throw Error("Cannot get rows and columns of an empty shape array.");return[t.length>1?t[t.length-2]:1,t[t.length-1]]}function We(t){let e=[1,1,1];return t.length===0||t.length===1&&t[0]===1||(e=[te(t),...re(t)]),e}function to(t,e=!1){let r=T().getNumber("WEBGL_MAX_TEXTURE_SIZE"),o=T().getNumber("WEBGL_MAX_SIZE_FOR_NARROW_TEXTURE");o===1/0&&T().getBool("WEBGL_AUTO_SQUARIFY_NARROW_TEXTURE_SHAPE")&&(o=r/2),e&&(r=r*2,o=o*2,t=t.map((a,u)=>u>=t.length-2?x.nearestLargerEven(t[u]):t[u]),t.length===1&&(t=[2,t[0]])),t.length!==2&&(t=x.squeezeShape(t).newShape);let n=x.sizeFromShape(t),s=null;t.length<=1&&n<=r?s=[1,n]:t.length===2&&t[0]<=r&&t[1]<=r?s=t:t.length===3&&t[0]*t[1]<=r&&t[2]<=r?s=[t[0]*t[1],t[2]]:t.length===3&&t[0]<=r&&t[1]*t[2]<=r?s=[t[0],t[1]*t[2]]:t.length===4&&t[0]*t[1]*t[2]<=r&&t[3]<=r?s=[t[0]*t[1]*t[2],t[3]]:t.length===4&&t[0]<=r&&t[1]*t[2]*t[3]<=r&&(s=[t[0],t[1]*t[2]*t[3]]);let i=s!=null&&Math.max(...s)>o&&Math.min(...s)<=(e?2:1)&&Math.min(...s)>0;if(s==null||i)if(e){let a=te(t),u=2,l=2;t.length&&([u,l]=re(t)),n=a*(u/2)*(l/2),s=x.sizeToSquarishShape(n).map(c=>c*2)}else s=x.sizeToSquarishShape(n);return s}function Je(t){return t%2===0}function le(t,e){if(t=t.slice(-2),e=e.slice(-2),x.arraysEqual(t,e)||!t.length||!e.length||t[0]===0||t[1]===0||e[0]===0||e[1]===0)return!0;if(t.length!==e.length){let r=t[t.length-1],o=e[e.length-1];if(r===o||Je(r)&&Je(o)&&(t[0]===1||e[0]===1))return!0}return t[1]===e[1]&&Je(t[0])&&Je(e[0])}var Vt,Wt;function ro(t){if(Vt==null){let e=M(t);Vt=e.getParameter(e.MAX_TEXTURE_SIZE)}return Vt}function oo(t){if(Wt==null){let e=M(t);Wt=e.getParameter(e.MAX_TEXTURE_IMAGE_UNITS)}return Math.min(16,Wt)}function no(t){if(t===0)return 0;let e,r=M(t);return V(r,"EXT_disjoint_timer_query_webgl2")&&t===2?e=2:V(r,"EXT_disjoint_timer_query")?e=1:e=0,e}function V(t,e){return t.getExtension(e)!=null}function Kt(t){try{if(M(t)!=null)return!0}catch(e){return console.log("Error when getting WebGL context: ",e),!1}return!1}function so(t){if(t===0)return!1;let e=M(t);if(t===1){if(!V(e,"OES_texture_float"))return!1}else if(!V(e,"EXT_color_buffer_float"))return!1;return Gt(e)}function io(t){if(t===0)return!1;let e=M(t);if(t===1){if(!V(e,"OES_texture_float")||!V(e,"WEBGL_color_buffer_float"))return!1}else{if(V(e,"EXT_color_buffer_float"))return Gt(e);let o="EXT_color_buffer_half_float";if(V(e,o)){let n=e.getExtension(o);return us(e,n)}return!1}return Gt(e)}function Gt(t){let e=Be(t),r=t.createTexture();t.bindTexture(t.TEXTURE_2D,r),t.texImage2D(t.TEXTURE_2D,0,e.internalFormatFloat,1,1,0,e.textureFormatFloat,e.textureTypeFloat,null);let s=t.createFramebuffer();t.bindFramebuffer(t.FRAMEBUFFER,s),t.framebufferTexture2D(t.FRAMEBUFFER,t.COLOR_ATTACHMENT0,t.TEXTURE_2D,r,0);let i=t.checkFramebufferStatus(t.FRAMEBUFFER)===t.FRAMEBUFFER_COMPLETE;return t.bindTexture(t.TEXTURE_2D,null),t.bindFramebuffer(t.FRAMEBUFFER,null),t.deleteTexture(r),t.deleteFramebuffer(s),i}function us(t,e){let r=Be(t,e),o=t.createTexture();t.bindTexture(t.TEXTURE_2D,o),t.texImage2D(t.TEXTURE_2D,0,r.internalFormatHalfFloat,1,1,0,r.textureFormatFloat,r.textureTypeHalfFloat,null);let i=t.createFramebuffer();t.bindFramebuffer(t.FRAMEBUFFER,i),t.framebufferTexture2D(t.FRAMEBUFFER,t.COLOR_ATTACHMENT0,t.TEXTURE_2D,o,0);let a=t.checkFramebufferStatus(t.FRAMEBUFFER)===t.FRAMEBUFFER_COMPLETE;return t.bindTexture(t.TEXTURE_2D,null),t.bindFramebuffer(t.FRAMEBUFFER,null),t.deleteTexture(o),t.deleteFramebuffer(i),a}function ao(t){return t!==2?!1:M(t).fenceSync!=null}function uo(t,e){Array.isArray(t)||(t=[t]),t.forEach(r=>{r!=null&&x.assert(r.dtype!=="complex64",()=>`${e} does not support complex64 tensors in the WebGL backend.`)})}var S=T();S.registerFlag("HAS_WEBGL",()=>S.getNumber("WEBGL_VERSION")>0);S.registerFlag("WEBGL_VERSION",()=>Kt(2)?2:Kt(1)?1:0);S.registerFlag("WEBGL_CHECK_NUMERICAL_PROBLEMS",()=>!1);S.registerFlag("WEBGL_BUFFER_SUPPORTED",()=>S.get("WEBGL_VERSION")===2);S.registerFlag("WEBGL_CPU_FORWARD",()=>!0);S.registerFlag("WEBGL_FORCE_F16_TEXTURES",()=>!1);S.registerFlag("WEBGL_PACK",()=>S.getBool("HAS_WEBGL"));S.registerFlag("WEBGL_PACK_NORMALIZATION",()=>S.getBool("WEBGL_PACK"));S.registerFlag("WEBGL_PACK_CLIP",()=>S.getBool("WEBGL_PACK"));S.registerFlag("WEBGL_PACK_DEPTHWISECONV",()=>S.getBool("WEBGL_PACK"));S.registerFlag("WEBGL_PACK_BINARY_OPERATIONS",()=>S.getBool("WEBGL_PACK"));S.registerFlag("WEBGL_PACK_UNARY_OPERATIONS",()=>S.getBool("WEBGL_PACK"));S.registerFlag("WEBGL_PACK_ARRAY_OPERATIONS",()=>S.getBool("WEBGL_PACK"));S.registerFlag("WEBGL_PACK_IMAGE_OPERATIONS",()=>S.getBool("WEBGL_PACK"));S.registerFlag("WEBGL_PACK_REDUCE",()=>S.getBool("WEBGL_PACK"));S.registerFlag("WEBGL_LAZILY_UNPACK",()=>S.getBool("WEBGL_PACK"));S.registerFlag("WEBGL_CONV_IM2COL",()=>S.getBool("WEBGL_PACK"));S.registerFlag("WEBGL_PACK_CONV2DTRANSPOSE",()=>S.getBool("WEBGL_PACK"));S.registerFlag("WEBGL_MAX_TEXTURE_SIZE",()=>ro(S.getNumber("WEBGL_VERSION")));S.registerFlag("WEBGL_MAX_TEXTURES_IN_SHADER",()=>oo(S.getNumber("WEBGL_VERSION")));S.registerFlag("WEBGL_DISJOINT_QUERY_TIMER_EXTENSION_VERSION",()=>{let t=S.getNumber("WEBGL_VERSION");return t===0?0:no(t)});S.registerFlag("WEBGL_DISJOINT_QUERY_TIMER_EXTENSION_RELIABLE",()=>S.getNumber("WEBGL_DISJOINT_QUERY_TIMER_EXTENSION_VERSION")>0&&!Bt.isMobile());S.registerFlag("WEBGL_RENDER_FLOAT32_CAPABLE",()=>so(S.getNumber("WEBGL_VERSION")));S.registerFlag("WEBGL_RENDER_FLOAT32_ENABLED",()=>S.getBool("WEBGL_FORCE_F16_TEXTURES")?!1:S.getBool("WEBGL_RENDER_FLOAT32_CAPABLE"));S.registerFlag("WEBGL_DOWNLOAD_FLOAT_ENABLED",()=>io(S.getNumber("WEBGL_VERSION")));S.registerFlag("WEBGL_FENCE_API_ENABLED",()=>ao(S.getNumber("WEBGL_VERSION")));S.registerFlag("WEBGL_SIZE_UPLOAD_UNIFORM",()=>S.getBool("WEBGL_RENDER_FLOAT32_ENABLED")?4:0);S.registerFlag("WEBGL_DELETE_TEXTURE_THRESHOLD",()=>-1,t=>{if(typeof t!="number")throw new Error(`WEBGL_DELETE_TEXTURE_THRESHOLD must be a number but got ${t}.`);if(t<0&&t!==-1)throw new Error(`WEBGL_DELETE_TEXTURE_THRESHOLD must be -1 (indicating never delete) or at least 0, but got ${t}.`)});S.registerFlag("WEBGL_FLUSH_THRESHOLD",()=>Bt.isMobile()?1:-1,t=>{if(typeof t!="number")throw new Error(`WEBGL_FLUSH_THRESHOLD must be a number but got ${t}.`);if(t<0&&t!==-1)throw new Error(`WEBGL_FLUSH_THRESHOLD must be -1 (indicating never manual flush) or at least 0, but got ${t}.`)});S.registerFlag("CPU_HANDOFF_SIZE_THRESHOLD",()=>128);S.registerFlag("WEBGL_USE_SHAPES_UNIFORMS",()=>!1);S.registerFlag("TOPK_LAST_DIM_CPU_HANDOFF_SIZE_THRESHOLD",()=>1e5);S.registerFlag("TOPK_K_CPU_HANDOFF_THRESHOLD",()=>128);S.registerFlag("WEBGL_EXP_CONV",()=>!1);S.registerFlag("SOFTWARE_WEBGL_ENABLED",()=>S.getBool("IS_TEST"));S.registerFlag("WEBGL_MAX_SIZE_FOR_NARROW_TEXTURE",()=>1/0);S.registerFlag("WEBGL_AUTO_SQUARIFY_NARROW_TEXTURE_SHAPE",()=>!1);S.registerFlag("WEBGL2_ISNAN_CUSTOM",()=>!1);S.registerFlag("ENGINE_COMPILE_ONLY",()=>!1);function N(){let t,e,r,o,n,s,i,a,u,l;return T().getNumber("WEBGL_VERSION")===2?(t="#version 300 es",e="in",r="out",o="in",n="texture",s="outputColor",i="out vec4 outputColor;",a=T().getBool("WEBGL2_ISNAN_CUSTOM")?`
      bool isnan_custom(float val) {
        uint floatToUint = floatBitsToUint(val);
        return (floatToUint & 0x7fffffffu) > 0x7f800000u;
      }

      bvec4 isnan_custom(vec4 val) {
        return bvec4(isnan_custom(val.x),
          isnan_custom(val.y), isnan_custom(val.z), isnan_custom(val.w));
      }

      #define isnan(value) isnan_custom(value)
    `:"",u="",l=`
      #define round(value) newRound(value)
      int newRound(float value) {
        return int(floor(value + 0.5));
      }

      ivec4 newRound(vec4 value) {
        return ivec4(floor(value + vec4(0.5)));
      }
    `):(t="",e="attribute",r="varying",o="varying",n="texture2D",s="gl_FragColor",i="",a=`
      #define isnan(value) isnan_custom(value)
      bool isnan_custom(float val) {
        return (val > 0. || val < 1. || val == 0.) ? false : true;
      }
      bvec4 isnan_custom(vec4 val) {
        return bvec4(isnan(val.x), isnan(val.y), isnan(val.z), isnan(val.w));
      }
    `,u=`
      uniform float INFINITY;

      bool isinf(float val) {
        return abs(val) == INFINITY;
      }
      bvec4 isinf(vec4 val) {
        return equal(abs(val), vec4(INFINITY));
      }
    `,l=`
      int round(float value) {
        return int(floor(value + 0.5));
      }

      ivec4 round(vec4 value) {
        return ivec4(floor(value + vec4(0.5)));
      }
    `),{version:t,attribute:e,varyingVs:r,varyingFs:o,texture2D:n,output:s,defineOutput:i,defineSpecialNaN:a,defineSpecialInf:u,defineRound:l}}function z(t,e,r="index"){let o=x.computeStrides(e);return o.map((n,s)=>{let i=`int ${t[s]} = ${r} / ${n}`,a=s===o.length-1?`int ${t[s+1]} = ${r} - ${t[s]} * ${n}`:`index -= ${t[s]} * ${n}`;return`${i}; ${a};`}).join("")}function ce(t,e,r="index"){let o=x.computeStrides(e);return o.map((n,s)=>{let i=`int ${t[s]} = ${r} / outShapeStrides[${s}]`,a=s===o.length-1?`int ${t[s+1]} = ${r} - ${t[s]} * outShapeStrides[${s}]`:`index -= ${t[s]} * outShapeStrides[${s}]`;return`${i}; ${a};`}).join("")}function ls(t,e){let r=t.length,o=t.map(s=>`${e}[${s}]`),n=new Array(r-1);n[r-2]=o[r-1];for(let s=r-3;s>=0;--s)n[s]=`(${n[s+1]} * ${o[s+1]})`;return n}function lo(t,e,r="index"){let o=t.map((s,i)=>i),n=ls(o,e);return n.map((s,i)=>{let a=`int ${t[i]} = ${r} / ${n[i]}`,u=i===n.length-1?`int ${t[i+1]} = ${r} - ${t[i]} * ${n[i]}`:`index -= ${t[i]} * ${n[i]}`;return`${a}; ${u};`}).join("")}function Ce(t){let e=x.computeStrides(t).map(r=>r.toString());return`
  int getFlatIndex(ivec3 coords) {
    return coords.x * ${e[0]} + coords.y * ${e[1]} + coords.z;
  }
`}function Te(){return`
  int getFlatIndex(ivec3 coords) {
    return coords.x * outShapeStrides[0] + coords.y * outShapeStrides[1] + coords.z;
  }
`}var ot=`
  const float FLOAT_MAX = 1.70141184e38;
  const float FLOAT_MIN = 1.17549435e-38;

  lowp vec4 encode_float(highp float v) {
    if (isnan(v)) {
      return vec4(255, 255, 255, 255);
    }

    highp float av = abs(v);

    if(av < FLOAT_MIN) {
      return vec4(0.0, 0.0, 0.0, 0.0);
    } else if(v > FLOAT_MAX) {
      return vec4(0.0, 0.0, 128.0, 127.0) / 255.0;
    } else if(v < -FLOAT_MAX) {
      return vec4(0.0, 0.0,  128.0, 255.0) / 255.0;
    }

    highp vec4 c = vec4(0,0,0,0);

    highp float e = floor(log2(av));
    highp float m = exp2(fract(log2(av))) - 1.0;

    c[2] = floor(128.0 * m);
    m -= c[2] / 128.0;
    c[1] = floor(32768.0 * m);
    m -= c[1] / 32768.0;
    c[0] = floor(8388608.0 * m);

    highp float ebias = e + 127.0;
    c[3] = floor(ebias / 2.0);
    ebias -= c[3] * 2.0;
    c[2] += floor(ebias) * 128.0;

    c[3] += 128.0 * step(0.0, -v);

    return c / 255.0;
  }
`;var{getBroadcastDims:co}=_;function po(t,e,r){let o=[];if(t.forEach(h=>{let f=x.sizeFromShape(h.shapeInfo.logicalShape);if(h.shapeInfo.isUniform?o.push(`uniform float ${h.name}${f>1?`[${f}]`:""};`):(o.push(`uniform sampler2D ${h.name};`),o.push(`uniform int offset${h.name};`)),r.enableShapeUniforms){let{uniformShape:g}=nt(r.packedInputs,h.shapeInfo.logicalShape,h.shapeInfo.texShape);switch(g.length){case 1:o.push(`uniform int ${h.name}Shape;`);break;case 2:o.push(`uniform ivec2 ${h.name}Shape;`);break;case 3:o.push(`uniform ivec3 ${h.name}Shape;`);break;case 4:o.push(`uniform ivec4 ${h.name}Shape;`);break;default:break}o.push(`uniform ivec2 ${h.name}TexShape;`)}}),r.enableShapeUniforms){switch(e.logicalShape.length){case 1:o.push("uniform int outShape;");break;case 2:o.push("uniform ivec2 outShape;"),o.push("uniform int outShapeStrides;");break;case 3:o.push("uniform ivec3 outShape;"),o.push("uniform ivec2 outShapeStrides;");break;case 4:o.push("uniform ivec4 outShape;"),o.push("uniform ivec3 outShapeStrides;");break;default:break}o.push("uniform ivec2 outTexShape;")}r.customUniforms&&r.customUniforms.forEach(h=>{o.push(`uniform ${h.type} ${h.name}${h.arrayIndex?`[${h.arrayIndex}]`:""};`)});let n=o.join(`
`),s=t.map(h=>cs(h,e,r.packedInputs,r.enableShapeUniforms)).join(`
`),i=e.texShape,a=N(),u=hs(a),l,c,p=xs(a);return e.isPacked?(l=ps(e.logicalShape,i,r.enableShapeUniforms),c=ms(a)):(l=ds(e.logicalShape,i,r.enableShapeUniforms),c=fs(a)),r.packedInputs&&(p+=$s),[p,u,c,n,l,s,r.userCode].join(`
`)}function Ee(t,e=!1){let r=t.shapeInfo.logicalShape;switch(r.length){case 0:return ys(t,e);case 1:return Ns(t,e);case 2:return Ls(t,e);case 3:return ks(t,e);case 4:return Ms(t,e);case 5:return Vs(t);case 6:return Ws(t);default:throw new Error(`${r.length}-D input sampling is not yet supported`)}}function ho(t,e){switch(t.shapeInfo.logicalShape.length){case 0:return Os(t);case 1:return Ds(t,e);case 2:return Ps(t,e);case 3:return Us(t,e);default:return Bs(t,e)}}function cs(t,e,r=!1,o){let n="";r?n+=ho(t,o):n+=Ee(t,o);let s=t.shapeInfo.logicalShape,i=e.logicalShape;return s.length<=i.length&&(r?n+=Gs(t,e):n+=zs(t,e)),n}function ps(t,e,r){switch(t.length){case 0:return fo();case 1:return Es(t,e,r);case 2:return As(t,e,r);case 3:return Ss(t,e,r);default:return Rs(t,e,r)}}function ds(t,e,r){switch(t.length){case 0:return fo();case 1:return vs(t,e,r);case 2:return Fs(t,e,r);case 3:return _s(t,e,r);case 4:return bs(t,e,r);case 5:return Is(t,e);case 6:return ws(t,e);default:throw new Error(`${t.length}-D output sampling is not yet supported`)}}function hs(t){return`
    float sampleTexture(sampler2D textureSampler, vec2 uv) {
      return ${t.texture2D}(textureSampler, uv).r;
    }
  `}function fs(t){return`
    void setOutput(float val) {
      ${t.output} = vec4(val, 0, 0, 0);
    }
  `}function ms(t){return`
    void setOutput(vec4 val) {
      ${t.output} = val;
    }
  `}function xs(t){return`${t.version}
    precision highp float;
    precision highp int;
    precision highp sampler2D;
    ${t.varyingFs} vec2 resultUV;
    ${t.defineOutput}
    const vec2 halfCR = vec2(0.5, 0.5);

    struct ivec5
    {
      int x;
      int y;
      int z;
      int w;
      int u;
    };

    struct ivec6
    {
      int x;
      int y;
      int z;
      int w;
      int u;
      int v;
    };

    uniform float NAN;
    ${t.defineSpecialNaN}
    ${t.defineSpecialInf}
    ${t.defineRound}

    int imod(int x, int y) {
      return x - y * (x / y);
    }

    int idiv(int a, int b, float sign) {
      int res = a / b;
      int mod = imod(a, b);
      if (sign < 0. && mod != 0) {
        res -= 1;
      }
      return res;
    }

    //Based on the work of Dave Hoskins
    //https://www.shadertoy.com/view/4djSRW
    #define HASHSCALE1 443.8975
    float random(float seed){
      vec2 p = resultUV * seed;
      vec3 p3  = fract(vec3(p.xyx) * HASHSCALE1);
      p3 += dot(p3, p3.yzx + 19.19);
      return fract((p3.x + p3.y) * p3.z);
    }

    ${gs}
    ${Cs}
    ${Ts}
  `}var gs=`
vec2 uvFromFlat(int texNumR, int texNumC, int index) {
  int texR = index / texNumC;
  int texC = index - texR * texNumC;
  return (vec2(texC, texR) + halfCR) / vec2(texNumC, texNumR);
}
vec2 packedUVfrom1D(int texNumR, int texNumC, int index) {
  int texelIndex = index / 2;
  int texR = texelIndex / texNumC;
  int texC = texelIndex - texR * texNumC;
  return (vec2(texC, texR) + halfCR) / vec2(texNumC, texNumR);
}
`,Cs=`
vec2 packedUVfrom2D(int texelsInLogicalRow, int texNumR,
  int texNumC, int row, int col) {
  int texelIndex = (row / 2) * texelsInLogicalRow + (col / 2);
  int texR = texelIndex / texNumC;
  int texC = texelIndex - texR * texNumC;
  return (vec2(texC, texR) + halfCR) / vec2(texNumC, texNumR);
}
`,Ts=`
vec2 packedUVfrom3D(int texNumR, int texNumC,
    int texelsInBatch, int texelsInLogicalRow, int b,
    int row, int col) {
  int index = b * texelsInBatch + (row / 2) * texelsInLogicalRow + (col / 2);
  int texR = index / texNumC;
  int texC = index - texR * texNumC;
  return (vec2(texC, texR) + halfCR) / vec2(texNumC, texNumR);
}
`,$s=`
  float getChannel(vec4 frag, vec2 innerDims) {
    vec2 modCoord = mod(innerDims, 2.);
    return modCoord.x == 0. ?
      (modCoord.y == 0. ? frag.r : frag.g) :
      (modCoord.y == 0. ? frag.b : frag.a);
  }
  float getChannel(vec4 frag, int dim) {
    float modCoord = mod(float(dim), 2.);
    return modCoord == 0. ? frag.r : frag.g;
  }
`;function fo(){return`
    int getOutputCoords() {
      return 0;
    }
  `}function Es(t,e,r){let o=[Math.ceil(e[0]/2),Math.ceil(e[1]/2)];return o[0]===1?r?`
      int getOutputCoords() {
        return 2 * int(resultUV.x * ceil(float(outTexShape[1]) / 2.0));
      }
    `:`
      int getOutputCoords() {
        return 2 * int(resultUV.x * ${o[1]}.0);
      }
    `:o[1]===1?r?`
      int getOutputCoords() {
        return 2 * int(resultUV.y * ceil(float(outTexShape[0]) / 2.0));
      }
    `:`
      int getOutputCoords() {
        return 2 * int(resultUV.y * ${o[0]}.0);
      }
    `:r?`
    int getOutputCoords() {
      ivec2 packedTexShape = ivec2(ceil(float(outTexShape[0]) / 2.0), ceil(float(outTexShape[1]) / 2.0));
      ivec2 resTexRC = ivec2(resultUV.yx *
                             vec2(packedTexShape[0], packedTexShape[1]));
      return 2 * (resTexRC.x * packedTexShape[1] + resTexRC.y);
    }
  `:`
    int getOutputCoords() {
      ivec2 resTexRC = ivec2(resultUV.yx *
                             vec2(${o[0]}, ${o[1]}));
      return 2 * (resTexRC.x * ${o[1]} + resTexRC.y);
    }
  `}function vs(t,e,r){return e[0]===1?r?`
      int getOutputCoords() {
        return int(resultUV.x * float(outTexShape[1]));
      }
    `:`
      int getOutputCoords() {
        return int(resultUV.x * ${e[1]}.0);
      }
    `:e[1]===1?r?`
      int getOutputCoords() {
        return int(resultUV.y * float(outTexShape[0]));
      }
    `:`
      int getOutputCoords() {
        return int(resultUV.y * ${e[0]}.0);
      }
    `:r?`
    int getOutputCoords() {
      ivec2 resTexRC = ivec2(resultUV.yx *
                             vec2(outTexShape[0], outTexShape[1]));
      return resTexRC.x * outTexShape[1] + resTexRC.y;
    }
  `:`
    int getOutputCoords() {
      ivec2 resTexRC = ivec2(resultUV.yx *
                             vec2(${e[0]}, ${e[1]}));
      return resTexRC.x * ${e[1]} + resTexRC.y;
    }
  `}function Ss(t,e,r){if(r)return`
    ivec3 getOutputCoords() {
      ivec2 packedTexShape = ivec2(ceil(float(outTexShape[0]) / 2.0), ceil(float(outTexShape[1]) / 2.0));
      int texelsInLogicalRow = int(ceil(float(outShape[2]) / 2.0));
      int texelsInBatch = texelsInLogicalRow * int(ceil(float(outShape[1]) / 2.0));
      ivec2 resTexRC = ivec2(resultUV.yx *
                             vec2(packedTexShape[0], packedTexShape[1]));
      int index = resTexRC.x * packedTexShape[1] + resTexRC.y;

      int b = index / texelsInBatch;
      index -= b * texelsInBatch;

      int r = 2 * (index / texelsInLogicalRow);
      int c = imod(index, texelsInLogicalRow) * 2;

      return ivec3(b, r, c);
    }
  `;let o=[Math.ceil(e[0]/2),Math.ceil(e[1]/2)],n=Math.ceil(t[2]/2),s=n*Math.ceil(t[1]/2);return`
    ivec3 getOutputCoords() {
      ivec2 resTexRC = ivec2(resultUV.yx *
                             vec2(${o[0]}, ${o[1]}));
      int index = resTexRC.x * ${o[1]} + resTexRC.y;

      int b = index / ${s};
      index -= b * ${s};

      int r = 2 * (index / ${n});
      int c = imod(index, ${n}) * 2;

      return ivec3(b, r, c);
    }
  `}function _s(t,e,r){if(r)return`
  ivec3 getOutputCoords() {
    ivec2 resTexRC = ivec2(resultUV.yx *
                           vec2(outTexShape[0], outTexShape[1]));
    int index = resTexRC.x * outTexShape[1] + resTexRC.y;
    ${ce(["r","c","d"],t)}
    return ivec3(r, c, d);
  }
`;let o=z(["r","c","d"],t);return`
    ivec3 getOutputCoords() {
      ivec2 resTexRC = ivec2(resultUV.yx *
                             vec2(${e[0]}, ${e[1]}));
      int index = resTexRC.x * ${e[1]} + resTexRC.y;
      ${o}
      return ivec3(r, c, d);
    }
  `}function Rs(t,e,r){if(r)return`
    ivec4 getOutputCoords() {
      ivec2 packedTexShape = ivec2(ceil(float(outTexShape[0]) / 2.0), ceil(float(outTexShape[1]) / 2.0));
      ivec2 resTexRC = ivec2(resultUV.yx *
                             vec2(packedTexShape[0], packedTexShape[1]));
      int index = resTexRC.x * packedTexShape[1] + resTexRC.y;

      int texelsInLogicalRow = int(ceil(float(outShape[3]) / 2.0));
      int texelsInBatch = texelsInLogicalRow * int(ceil(float(outShape[2]) / 2.0));
      int texelsInBatchN = texelsInBatch * outShape[1];

      int b2 = index / texelsInBatchN;
      index -= b2 * texelsInBatchN;

      int b = index / texelsInBatch;
      index -= b * texelsInBatch;

      int r = 2 * (index / texelsInLogicalRow);
      int c = imod(index, texelsInLogicalRow) * 2;

      return ivec4(b2, b, r, c);
    }
  `;let o=[Math.ceil(e[0]/2),Math.ceil(e[1]/2)],n=Math.ceil(t[t.length-1]/2),s=n*Math.ceil(t[t.length-2]/2),i=s,a="",u="b, r, c";for(let l=2;l<t.length-1;l++)i*=t[t.length-l-1],a=`
      int b${l} = index / ${i};
      index -= b${l} * ${i};
    `+a,u=`b${l}, `+u;return`
    ivec${t.length} getOutputCoords() {
      ivec2 resTexRC = ivec2(resultUV.yx *
                             vec2(${o[0]}, ${o[1]}));
      int index = resTexRC.x * ${o[1]} + resTexRC.y;

      ${a}

      int b = index / ${s};
      index -= b * ${s};

      int r = 2 * (index / ${n});
      int c = imod(index, ${n}) * 2;

      return ivec${t.length}(${u});
    }
  `}function bs(t,e,r){if(r)return`
    ivec4 getOutputCoords() {
      ivec2 resTexRC = ivec2(resultUV.yx *
        vec2(outTexShape[0], outTexShape[1]));
      int index = resTexRC.x * outTexShape[1] + resTexRC.y;
      ${ce(["r","c","d","d2"],t)}
      return ivec4(r, c, d, d2);
    }
  `;let o=z(["r","c","d","d2"],t);return`
    ivec4 getOutputCoords() {
      ivec2 resTexRC = ivec2(resultUV.yx *
        vec2(${e[0]}, ${e[1]}));
      int index = resTexRC.x * ${e[1]} + resTexRC.y;
      ${o}
      return ivec4(r, c, d, d2);
    }
  `}function Is(t,e){let r=z(["r","c","d","d2","d3"],t);return`
    ivec5 getOutputCoords() {
      ivec2 resTexRC = ivec2(resultUV.yx * vec2(${e[0]},
                             ${e[1]}));

      int index = resTexRC.x * ${e[1]} + resTexRC.y;

      ${r}

      ivec5 outShape = ivec5(r, c, d, d2, d3);
      return outShape;
    }
  `}function ws(t,e){let r=z(["r","c","d","d2","d3","d4"],t);return`
    ivec6 getOutputCoords() {
      ivec2 resTexRC = ivec2(resultUV.yx *
        vec2(${e[0]}, ${e[1]}));
      int index = resTexRC.x * ${e[1]} + resTexRC.y;

      ${r}

      ivec6 result = ivec6(r, c, d, d2, d3, d4);
      return result;
    }
  `}function As(t,e,r){let o=[Math.ceil(e[0]/2),Math.ceil(e[1]/2)];if(x.arraysEqual(t,e))return r?`
      ivec2 getOutputCoords() {
        ivec2 packedTexShape = ivec2(ceil(float(outTexShape[0]) / 2.0), ceil(float(outTexShape[1]) / 2.0));
        return 2 * ivec2(resultUV.yx * vec2(packedTexShape[0], packedTexShape[1]));
      }
    `:`
      ivec2 getOutputCoords() {
        return 2 * ivec2(resultUV.yx * vec2(${o[0]}, ${o[1]}));
      }
    `;let n=Math.ceil(t[1]/2);return r?`
    ivec2 getOutputCoords() {
      ivec2 packedTexShape = ivec2(ceil(float(outTexShape[0]) / 2.0), ceil(float(outTexShape[1]) / 2.0));
      int texelsInLogicalRow = int(ceil(float(outShape[1]) / 2.0));
      ivec2 resTexRC = ivec2(resultUV.yx *
                             vec2(packedTexShape[0], packedTexShape[1]));

      int index = resTexRC.x * packedTexShape[1] + resTexRC.y;
      int r = 2 * (index / texelsInLogicalRow);
      int c = imod(index, texelsInLogicalRow) * 2;

      return ivec2(r, c);
    }
  `:`
    ivec2 getOutputCoords() {
      ivec2 resTexRC = ivec2(resultUV.yx *
                             vec2(${o[0]}, ${o[1]}));

      int index = resTexRC.x * ${o[1]} + resTexRC.y;
      int r = 2 * (index / ${n});
      int c = imod(index, ${n}) * 2;

      return ivec2(r, c);
    }
  `}function Fs(t,e,r){return x.arraysEqual(t,e)?r?`
      ivec2 getOutputCoords() {
        return ivec2(resultUV.yx * vec2(outTexShape[0], outTexShape[1]));
      }
    `:`
      ivec2 getOutputCoords() {
        return ivec2(resultUV.yx * vec2(${e[0]}, ${e[1]}));
      }
    `:t[1]===1?r?`
      ivec2 getOutputCoords() {
        ivec2 resTexRC = ivec2(resultUV.yx *
                               vec2(outTexShape[0], outTexShape[1]));
        int index = resTexRC.x * outTexShape[1] + resTexRC.y;
        return ivec2(index, 0);
      }
    `:`
      ivec2 getOutputCoords() {
        ivec2 resTexRC = ivec2(resultUV.yx *
                               vec2(${e[0]}, ${e[1]}));
        int index = resTexRC.x * ${e[1]} + resTexRC.y;
        return ivec2(index, 0);
      }
    `:t[0]===1?r?`
      ivec2 getOutputCoords() {
        ivec2 resTexRC = ivec2(resultUV.yx *
                               vec2(outTexShape[0], outTexShape[1]));
        int index = resTexRC.x * outTexShape[1] + resTexRC.y;
        return ivec2(0, index);
      }
    `:`
      ivec2 getOutputCoords() {
        ivec2 resTexRC = ivec2(resultUV.yx *
                               vec2(${e[0]}, ${e[1]}));
        int index = resTexRC.x * ${e[1]} + resTexRC.y;
        return ivec2(0, index);
      }
    `:r?`
    ivec2 getOutputCoords() {
      ivec2 resTexRC = ivec2(resultUV.yx *
                             vec2(outTexShape[0], outTexShape[1]));
      int index = resTexRC.x * outTexShape[1] + resTexRC.y;
      int r = index / outShape[1];
      int c = index - r * outShape[1];
      return ivec2(r, c);
    }
  `:`
    ivec2 getOutputCoords() {
      ivec2 resTexRC = ivec2(resultUV.yx *
                             vec2(${e[0]}, ${e[1]}));
      int index = resTexRC.x * ${e[1]} + resTexRC.y;
      int r = index / ${t[1]};
      int c = index - r * ${t[1]};
      return ivec2(r, c);
    }
  `}function pe(t){return`offset${t}`}function Os(t){let e=t.name,r="get"+e.charAt(0).toUpperCase()+e.slice(1),o=N();return`
    vec4 ${r}() {
      return ${o.texture2D}(${e}, halfCR);
    }
  `}function ys(t,e){let r=t.name,o="get"+r.charAt(0).toUpperCase()+r.slice(1);if(t.shapeInfo.isUniform)return`float ${o}() {return ${r};}`;let[n,s]=t.shapeInfo.texShape;if(n===1&&s===1)return`
      float ${o}() {
        return sampleTexture(${r}, halfCR);
      }
    `;let i=pe(r);if(e)return`
    float ${o}() {
      vec2 uv = uvFromFlat(${r}TexShape[0], ${r}TexShape[1], ${i});
      return sampleTexture(${r}, uv);
    }
  `;let[a,u]=t.shapeInfo.texShape;return`
    float ${o}() {
      vec2 uv = uvFromFlat(${a}, ${u}, ${i});
      return sampleTexture(${r}, uv);
    }
  `}function Ds(t,e){let r=t.name,o="get"+r.charAt(0).toUpperCase()+r.slice(1),n=t.shapeInfo.texShape,s=N();if(e)return`
    vec4 ${o}(int index) {
      ivec2 packedTexShape = ivec2(ceil(float(${r}TexShape[0]) / 2.0), ceil(float(${r}TexShape[1]) / 2.0));
      vec2 uv = packedUVfrom1D(
        packedTexShape[0], packedTexShape[1], index);
      return ${s.texture2D}(${r}, uv);
    }
  `;let i=[Math.ceil(n[0]/2),Math.ceil(n[1]/2)];return`
    vec4 ${o}(int index) {
      vec2 uv = packedUVfrom1D(
        ${i[0]}, ${i[1]}, index);
      return ${s.texture2D}(${r}, uv);
    }
  `}function Ns(t,e){let r=t.name,o="get"+r.charAt(0).toUpperCase()+r.slice(1);if(t.shapeInfo.isUniform)return`
      float ${o}(int index) {
        ${ve(t)}
      }
    `;let n=t.shapeInfo.texShape,s=n[0],i=n[1];if(i===1&&s===1)return`
      float ${o}(int index) {
        return sampleTexture(${r}, halfCR);
      }
    `;let a=pe(r);return i===1?e?`
      float ${o}(int index) {
        vec2 uv = vec2(0.5, (float(index + ${a}) + 0.5) / float(${r}TexShape[0]));
        return sampleTexture(${r}, uv);
      }
    `:`
      float ${o}(int index) {
        vec2 uv = vec2(0.5, (float(index + ${a}) + 0.5) / ${s}.0);
        return sampleTexture(${r}, uv);
      }
    `:s===1?e?`
      float ${o}(int index) {
        vec2 uv = vec2((float(index + ${a}) + 0.5) / float(${r}TexShape[1]), 0.5);
        return sampleTexture(${r}, uv);
      }
    `:`
      float ${o}(int index) {
        vec2 uv = vec2((float(index + ${a}) + 0.5) / ${i}.0, 0.5);
        return sampleTexture(${r}, uv);
      }
    `:e?`
    float ${o}(int index) {
      vec2 uv = uvFromFlat(${r}TexShape[0], ${r}TexShape[1], index + ${a});
      return sampleTexture(${r}, uv);
    }
  `:`
    float ${o}(int index) {
      vec2 uv = uvFromFlat(${s}, ${i}, index + ${a});
      return sampleTexture(${r}, uv);
    }
  `}function Ps(t,e){let r=t.shapeInfo.logicalShape,o=t.name,n="get"+o.charAt(0).toUpperCase()+o.slice(1),s=t.shapeInfo.texShape,i=s[0],a=s[1],u=N();if(s!=null&&x.arraysEqual(r,s))return e?`
      vec4 ${n}(int row, int col) {
        vec2 uv = (vec2(col, row) + halfCR) / vec2(${o}TexShape[1], ${o}TexShape[0]);

        return ${u.texture2D}(${o}, uv);
      }
    `:`
      vec4 ${n}(int row, int col) {
        vec2 uv = (vec2(col, row) + halfCR) / vec2(${a}.0, ${i}.0);

        return ${u.texture2D}(${o}, uv);
      }
    `;if(e)return`
    vec4 ${n}(int row, int col) {
      ivec2 packedTexShape = ivec2(ceil(float(${o}TexShape[0]) / 2.0), ceil(float(${o}TexShape[1]) / 2.0));
      int valuesPerRow = int(ceil(float(${o}Shape[1]) / 2.0));
      vec2 uv = packedUVfrom2D(valuesPerRow, packedTexShape[0], packedTexShape[1], row, col);
      return ${u.texture2D}(${o}, uv);
    }
  `;let l=[Math.ceil(s[0]/2),Math.ceil(s[1]/2)],c=Math.ceil(r[1]/2);return`
    vec4 ${n}(int row, int col) {
      vec2 uv = packedUVfrom2D(${c}, ${l[0]}, ${l[1]}, row, col);
      return ${u.texture2D}(${o}, uv);
    }
  `}function Ls(t,e){let r=t.shapeInfo.logicalShape,o=t.name,n="get"+o.charAt(0).toUpperCase()+o.slice(1),s=t.shapeInfo.texShape;if(s!=null&&x.arraysEqual(r,s)){if(e)return`
      float ${n}(int row, int col) {
        vec2 uv = (vec2(col, row) + halfCR) / vec2(${o}TexShape[1], ${o}TexShape[0]);
        return sampleTexture(${o}, uv);
      }
    `;let d=s[0],h=s[1];return`
    float ${n}(int row, int col) {
      vec2 uv = (vec2(col, row) + halfCR) / vec2(${h}.0, ${d}.0);
      return sampleTexture(${o}, uv);
    }
  `}let{newShape:i,keptDims:a}=x.squeezeShape(r),u=i;if(u.length<r.length){let d=Se(t,u),h=["row","col"];return`
      ${Ee(d,e)}
      float ${n}(int row, int col) {
        return ${n}(${_e(h,a)});
      }
    `}if(t.shapeInfo.isUniform)return`
      float ${n}(int row, int col) {
        int index = round(dot(vec2(row, col), vec2(${r[1]}, 1)));
        ${ve(t)}
      }
    `;let l=s[0],c=s[1],p=pe(o);return c===1?e?`
      float ${n}(int row, int col) {
        float index = dot(vec3(row, col, ${p}), vec3(${o}Shape[1], 1, 1));
        vec2 uv = vec2(0.5, (index + 0.5) / float(${o}TexShape[0]));
        return sampleTexture(${o}, uv);
      }
    `:`
    float ${n}(int row, int col) {
      float index = dot(vec3(row, col, ${p}), vec3(${r[1]}, 1, 1));
      vec2 uv = vec2(0.5, (index + 0.5) / ${l}.0);
      return sampleTexture(${o}, uv);
    }
  `:l===1?e?`
      float ${n}(int row, int col) {
        float index = dot(vec3(row, col, ${p}), vec3(${o}Shape[1], 1, 1));
        vec2 uv = vec2((index + 0.5) / float(${o}TexShape[1]), 0.5);
        return sampleTexture(${o}, uv);
      }
    `:`
    float ${n}(int row, int col) {
      float index = dot(vec3(row, col, ${p}), vec3(${r[1]}, 1, 1));
      vec2 uv = vec2((index + 0.5) / ${c}.0, 0.5);
      return sampleTexture(${o}, uv);
    }
  `:e?`
      float ${n}(int row, int col) {
        // Explicitly use integer operations as dot() only works on floats.
        int index = row * ${o}Shape[1] + col + ${p};
        vec2 uv = uvFromFlat(${o}TexShape[0], ${o}TexShape[1], index);
        return sampleTexture(${o}, uv);
      }
    `:`
  float ${n}(int row, int col) {
    // Explicitly use integer operations as dot() only works on floats.
    int index = row * ${r[1]} + col + ${p};
    vec2 uv = uvFromFlat(${l}, ${c}, index);
    return sampleTexture(${o}, uv);
  }
`}function Us(t,e){let r=t.shapeInfo.logicalShape,o=t.name,n="get"+o.charAt(0).toUpperCase()+o.slice(1),s=t.shapeInfo.texShape,i=[Math.ceil(s[0]/2),Math.ceil(s[1]/2)];if(r[0]===1){let d=r.slice(1),h=[1,2],f=Se(t,d),g=["b","row","col"];return`
        ${ho(f,e)}
        vec4 ${n}(int b, int row, int col) {
          return ${n}(${_e(g,h)});
        }
      `}let a=N();if(e)return`
    vec4 ${n}(int b, int row, int col) {
      ivec2 packedTexShape = ivec2(ceil(float(${o}TexShape[0]) / 2.0), ceil(float(${o}TexShape[1]) / 2.0));
      int valuesPerRow = int(ceil(float(${o}Shape[2]) / 2.0));
      int texelsInBatch = valuesPerRow * int(ceil(float(${o}Shape[1]) / 2.0));
      vec2 uv = packedUVfrom3D(
        packedTexShape[0], packedTexShape[1], texelsInBatch, valuesPerRow, b, row, col);
      return ${a.texture2D}(${o}, uv);
    }
  `;let u=i[0],l=i[1],c=Math.ceil(r[2]/2),p=c*Math.ceil(r[1]/2);return`
    vec4 ${n}(int b, int row, int col) {
      vec2 uv = packedUVfrom3D(
        ${u}, ${l}, ${p}, ${c}, b, row, col);
      return ${a.texture2D}(${o}, uv);
    }
  `}function ks(t,e){let r=t.shapeInfo.logicalShape,o=t.name,n="get"+o.charAt(0).toUpperCase()+o.slice(1),s=r[1]*r[2],i=r[2],{newShape:a,keptDims:u}=x.squeezeShape(r),l=a;if(l.length<r.length){let g=Se(t,l),C=["row","col","depth"];return`
        ${Ee(g,e)}
        float ${n}(int row, int col, int depth) {
          return ${n}(${_e(C,u)});
        }
      `}if(t.shapeInfo.isUniform)return`
      float ${n}(int row, int col, int depth) {
        int index = round(dot(vec3(row, col, depth),
                          vec3(${s}, ${i}, 1)));
        ${ve(t)}
      }
    `;let c=t.shapeInfo.texShape,p=c[0],d=c[1],h=t.shapeInfo.flatOffset;if(d===s&&h==null)return e?`
      float ${n}(int row, int col, int depth) {
        int stride1 = ${o}Shape[2];
        float texR = float(row);
        float texC = dot(vec2(col, depth), vec2(stride1, 1));
        vec2 uv = (vec2(texC, texR) + halfCR) /
                   vec2(${o}TexShape[1], ${o}TexShape[0]);
        return sampleTexture(${o}, uv);
      }
    `:`
        float ${n}(int row, int col, int depth) {
          float texR = float(row);
          float texC = dot(vec2(col, depth), vec2(${i}, 1));
          vec2 uv = (vec2(texC, texR) + halfCR) /
                     vec2(${d}.0, ${p}.0);
          return sampleTexture(${o}, uv);
        }
      `;if(d===i&&h==null)return e?`
      float ${n}(int row, int col, int depth) {
        float texR = dot(vec2(row, col), vec2(${o}Shape[1], 1));
        float texC = float(depth);
        vec2 uv = (vec2(texC, texR) + halfCR) / vec2(${o}TexShape[1], ${o}TexShape[0]);
        return sampleTexture(${o}, uv);
      }
    `:`
    float ${n}(int row, int col, int depth) {
      float texR = dot(vec2(row, col), vec2(${r[1]}, 1));
      float texC = float(depth);
      vec2 uv = (vec2(texC, texR) + halfCR) / vec2(${d}.0, ${p}.0);
      return sampleTexture(${o}, uv);
    }
  `;let f=pe(o);return e?`
    float ${n}(int row, int col, int depth) {
      // Explicitly use integer operations as dot() only works on floats.
      int stride0 = ${o}Shape[1] * ${o}Shape[2];
      int stride1 = ${o}Shape[2];
      int index = row * stride0 + col * stride1 + depth + ${f};
      vec2 uv = uvFromFlat(${o}TexShape[0], ${o}TexShape[1], index);
      return sampleTexture(${o}, uv);
    }
    `:`
      float ${n}(int row, int col, int depth) {
        // Explicitly use integer operations as dot() only works on floats.
        int index = row * ${s} + col * ${i} + depth + ${f};
        vec2 uv = uvFromFlat(${p}, ${d}, index);
        return sampleTexture(${o}, uv);
      }
  `}function Bs(t,e){let r=t.name,o="get"+r.charAt(0).toUpperCase()+r.slice(1),n=N();if(e)return`
    vec4 ${o}(int b2, int b, int row, int col) {
      int valuesPerRow = int(ceil(float(${r}Shape[3]) / 2.0));
      int texelsInBatch = valuesPerRow * int(ceil(float(${r}Shape[2]) / 2.0));
      int index = b * texelsInBatch + (row / 2) * valuesPerRow + (col / 2);
      texelsInBatch *= ${r}Shape[1];
      index = b2 * texelsInBatch + index;
      ivec2 packedTexShape = ivec2(ceil(float(${r}TexShape[0]) / 2.0), ceil(float(${r}TexShape[1]) / 2.0));
      int texR = index / packedTexShape[1];
      int texC = index - texR * packedTexShape[1];
      vec2 uv = (vec2(texC, texR) + halfCR) / vec2(packedTexShape[1], packedTexShape[0]); return ${n.texture2D}(${r}, uv);
    }
  `;let s=t.shapeInfo.logicalShape,i=s.length,a=t.shapeInfo.texShape,u=[Math.ceil(a[0]/2),Math.ceil(a[1]/2)],l=u[0],c=u[1],p=Math.ceil(s[i-1]/2),d=p*Math.ceil(s[i-2]/2),h="int b, int row, int col",f=`b * ${d} + (row / 2) * ${p} + (col / 2)`;for(let g=2;g<i-1;g++)h=`int b${g}, `+h,d*=s[i-g-1],f=`b${g} * ${d} + `+f;return`
    vec4 ${o}(${h}) {
      int index = ${f};
      int texR = index / ${c};
      int texC = index - texR * ${c};
      vec2 uv = (vec2(texC, texR) + halfCR) / vec2(${c}, ${l});
      return ${n.texture2D}(${r}, uv);
    }
  `}function Ms(t,e){let r=t.shapeInfo.logicalShape,o=t.name,n="get"+o.charAt(0).toUpperCase()+o.slice(1),s=r[3],i=r[2]*s,a=r[1]*i,{newShape:u,keptDims:l}=x.squeezeShape(r);if(u.length<r.length){let v=Se(t,u),b=["row","col","depth","depth2"];return`
      ${Ee(v,e)}
      float ${n}(int row, int col, int depth, int depth2) {
        return ${n}(${_e(b,l)});
      }
    `}if(t.shapeInfo.isUniform)return`
      float ${n}(int row, int col, int depth, int depth2) {
        int index = round(dot(vec4(row, col, depth, depth2),
                          vec4(${a}, ${i}, ${s}, 1)));
        ${ve(t)}
      }
    `;let c=t.shapeInfo.flatOffset,p=t.shapeInfo.texShape,d=p[0],h=p[1],f=`int stride2 = ${o}Shape[3];`,g=`int stride1 = ${o}Shape[2] * stride2;`,C=`int stride0 = ${o}Shape[1] * stride1;`;if(h===a&&c==null)return e?`
      float ${n}(int row, int col, int depth, int depth2) {
        ${f}
        ${g}
        float texR = float(row);
        float texC =
            dot(vec3(col, depth, depth2),
                vec3(stride1, stride2, 1));
        vec2 uv = (vec2(texC, texR) + halfCR) /
                   vec2(${o}TexShape[1], ${o}TexShape[0]);
        return sampleTexture(${o}, uv);
      }
    `:`
      float ${n}(int row, int col, int depth, int depth2) {
        float texR = float(row);
        float texC =
            dot(vec3(col, depth, depth2),
                vec3(${i}, ${s}, 1));
        vec2 uv = (vec2(texC, texR) + halfCR) /
                   vec2(${h}.0, ${d}.0);
        return sampleTexture(${o}, uv);
      }
    `;if(h===s&&c==null)return e?`
      float ${n}(int row, int col, int depth, int depth2) {
        float texR = dot(vec3(row, col, depth),
                         vec3(${o}Shape[1] * ${o}Shape[2], ${o}Shape[2], 1));
        float texC = float(depth2);
        vec2 uv = (vec2(texC, texR) + halfCR) /
                  vec2(${o}TexShape[1], ${o}TexShape[0]);
        return sampleTexture(${o}, uv);
      }
    `:`
      float ${n}(int row, int col, int depth, int depth2) {
        float texR = dot(vec3(row, col, depth),
                         vec3(${r[1]*r[2]}, ${r[2]}, 1));
        float texC = float(depth2);
        vec2 uv = (vec2(texC, texR) + halfCR) /
                  vec2(${h}.0, ${d}.0);
        return sampleTexture(${o}, uv);
      }
    `;let m=pe(o);return e?`
    float ${n}(int row, int col, int depth, int depth2) {
      // Explicitly use integer operations as dot() only works on floats.
      ${f}
      ${g}
      ${C}
      int index = row * stride0 + col * stride1 +
          depth * stride2 + depth2;
      vec2 uv = uvFromFlat(${o}TexShape[0], ${o}TexShape[1], index + ${m});
      return sampleTexture(${o}, uv);
    }
  `:`
    float ${n}(int row, int col, int depth, int depth2) {
      // Explicitly use integer operations as dot() only works on floats.
      int index = row * ${a} + col * ${i} +
          depth * ${s} + depth2;
      vec2 uv = uvFromFlat(${d}, ${h}, index + ${m});
      return sampleTexture(${o}, uv);
    }
  `}function Vs(t){let e=t.shapeInfo.logicalShape,r=t.name,o="get"+r.charAt(0).toUpperCase()+r.slice(1),n=e[4],s=e[3]*n,i=e[2]*s,a=e[1]*i,{newShape:u,keptDims:l}=x.squeezeShape(e);if(u.length<e.length){let g=Se(t,u),C=["row","col","depth","depth2","depth3"];return`
      ${Ee(g)}
      float ${o}(int row, int col, int depth, int depth2, int depth3) {
        return ${o}(${_e(C,l)});
      }
    `}if(t.shapeInfo.isUniform)return`
      float ${o}(int row, int col, int depth, int depth2, int depth3) {
        float index = dot(
          vec4(row, col, depth, depth2),
          vec4(${a}, ${i}, ${s}, ${n})) +
          depth3;
        ${ve(t)}
      }
    `;let c=t.shapeInfo.flatOffset,p=t.shapeInfo.texShape,d=p[0],h=p[1];if(h===a&&c==null)return`
      float ${o}(int row, int col, int depth, int depth2, int depth3) {
        int texR = row;
        float texC = dot(vec4(col, depth, depth2, depth3),
                         vec4(${i}, ${s}, ${n}, 1));
        vec2 uv = (vec2(texC, texR) + halfCR) /
                   vec2(${h}.0, ${d}.0);
        return sampleTexture(${r}, uv);
      }
    `;if(h===n&&c==null)return`
      float ${o}(int row, int col, int depth, int depth2, int depth3) {
        float texR = dot(
          vec4(row, col, depth, depth2),
          vec4(${e[1]*e[2]*e[3]},
               ${e[2]*e[3]}, ${e[3]}, 1));
        int texC = depth3;
        vec2 uv = (vec2(texC, texR) + halfCR) /
                  vec2(${h}.0, ${d}.0);
        return sampleTexture(${r}, uv);
      }
    `;let f=pe(r);return`
    float ${o}(int row, int col, int depth, int depth2, int depth3) {
      // Explicitly use integer operations as dot() only works on floats.
      int index = row * ${a} + col * ${i} + depth * ${s} +
          depth2 * ${n} + depth3 + ${f};
      vec2 uv = uvFromFlat(${d}, ${h}, index);
      return sampleTexture(${r}, uv);
    }
  `}function Ws(t){let e=t.shapeInfo.logicalShape,r=t.name,o="get"+r.charAt(0).toUpperCase()+r.slice(1),{newShape:n,keptDims:s}=x.squeezeShape(e);if(n.length<e.length){let C=Se(t,n),m=["row","col","depth","depth2","depth3","depth4"];return`
      ${Ee(C)}
      float ${o}(int row, int col, int depth,
                    int depth2, int depth3, int depth4) {
        return ${o}(${_e(m,s)});
      }
    `}let i=e[5],a=e[4]*i,u=e[3]*a,l=e[2]*u,c=e[1]*l;if(t.shapeInfo.isUniform)return`
      float ${o}(int row, int col, int depth,
                  int depth2, int depth3, int depth4) {
        int index = round(dot(
          vec4(row, col, depth, depth2),
          vec4(${c}, ${l}, ${u}, ${a})) +
          dot(
            vec2(depth3, depth4),
            vec2(${i}, 1)));
        ${ve(t)}
      }
    `;let p=t.shapeInfo.flatOffset,d=t.shapeInfo.texShape,h=d[0],f=d[1];if(f===c&&p==null)return`
      float ${o}(int row, int col, int depth,
                    int depth2, int depth3, int depth4) {
        int texR = row;
        float texC = dot(vec4(col, depth, depth2, depth3),
          vec4(${l}, ${u}, ${a}, ${i})) +
               float(depth4);
        vec2 uv = (vec2(texC, texR) + halfCR) /
                   vec2(${f}.0, ${h}.0);
        return sampleTexture(${r}, uv);
      }
    `;if(f===i&&p==null)return`
      float ${o}(int row, int col, int depth,
                    int depth2, int depth3, int depth4) {
        float texR = dot(vec4(row, col, depth, depth2),
          vec4(${e[1]*e[2]*e[3]*e[4]},
               ${e[2]*e[3]*e[4]},
               ${e[3]*e[4]},
               ${e[4]})) + float(depth3);
        int texC = depth4;
        vec2 uv = (vec2(texC, texR) + halfCR) /
                  vec2(${f}.0, ${h}.0);
        return sampleTexture(${r}, uv);
      }
    `;let g=pe(r);return`
    float ${o}(int row, int col, int depth,
                  int depth2, int depth3, int depth4) {
      // Explicitly use integer operations as dot() only works on floats.
      int index = row * ${c} + col * ${l} + depth * ${u} +
          depth2 * ${a} + depth3 * ${i} + depth4 + ${g};
      vec2 uv = uvFromFlat(${h}, ${f}, index);
      return sampleTexture(${r}, uv);
    }
  `}function ve(t){let e=t.name,r=x.sizeFromShape(t.shapeInfo.logicalShape);return r<2?`return ${e};`:`
    for (int i = 0; i < ${r}; i++) {
      if (i == index) {
        return ${e}[i];
      }
    }
  `}function Gs(t,e){let r=t.name,o=r.charAt(0).toUpperCase()+r.slice(1),n="get"+o+"AtOutCoords",s=t.shapeInfo.logicalShape.length,i=e.logicalShape.length,a=co(t.shapeInfo.logicalShape,e.logicalShape),u=F(i),l=i-s,c,p=["x","y","z","w","u","v"];s===0?c="":i<2&&a.length>=1?c="coords = 0;":c=a.map(v=>`coords.${p[v+l]} = 0;`).join(`
`);let d="";i<2&&s>0?d="coords":d=t.shapeInfo.logicalShape.map((v,b)=>`coords.${p[b+l]}`).join(", ");let h="return outputValue;",g=x.sizeFromShape(t.shapeInfo.logicalShape)===1,m=x.sizeFromShape(e.logicalShape)===1;if(s===1&&!g&&!m)h=`
      return vec4(outputValue.xy, outputValue.xy);
    `;else if(g&&!m)i===1?h=`
        return vec4(outputValue.x, outputValue.x, 0., 0.);
      `:h=`
        return vec4(outputValue.x);
      `;else if(a.length){let v=s-2,b=s-1;a.indexOf(v)>-1&&a.indexOf(b)>-1?h="return vec4(outputValue.x);":a.indexOf(v)>-1?h="return vec4(outputValue.x, outputValue.y, outputValue.x, outputValue.y);":a.indexOf(b)>-1&&(h="return vec4(outputValue.xx, outputValue.zz);")}return`
    vec4 ${n}() {
      ${u} coords = getOutputCoords();
      ${c}
      vec4 outputValue = get${o}(${d});
      ${h}
    }
  `}function zs(t,e){let r=t.name,o=r.charAt(0).toUpperCase()+r.slice(1),n="get"+o+"AtOutCoords",s=e.texShape,i=t.shapeInfo.texShape,a=t.shapeInfo.logicalShape.length,u=e.logicalShape.length;if(!t.shapeInfo.isUniform&&a===u&&t.shapeInfo.flatOffset==null&&x.arraysEqual(i,s))return`
      float ${n}() {
        return sampleTexture(${r}, resultUV);
      }
    `;let l=F(u),c=co(t.shapeInfo.logicalShape,e.logicalShape),p=u-a,d,h=["x","y","z","w","u","v"];a===0?d="":u<2&&c.length>=1?d="coords = 0;":d=c.map(g=>`coords.${h[g+p]} = 0;`).join(`
`);let f="";return u<2&&a>0?f="coords":f=t.shapeInfo.logicalShape.map((g,C)=>`coords.${h[C+p]}`).join(", "),`
    float ${n}() {
      ${l} coords = getOutputCoords();
      ${d}
      return get${o}(${f});
    }
  `}function F(t){if(t<=1)return"int";if(t===2)return"ivec2";if(t===3)return"ivec3";if(t===4)return"ivec4";if(t===5)return"ivec5";if(t===6)return"ivec6";throw Error(`GPU for rank ${t} is not yet supported`)}function nt(t,e,r){let{newShape:o,keptDims:n}=x.squeezeShape(e),s=e.length,i=t&&s===3&&e[0]===1,a=i?e.slice(1):o,u=!t&&s>1&&!x.arraysEqual(e,r)&&o.length<s||i;return{useSqueezeShape:u,uniformShape:u?a:e,keptDims:n}}function Se(t,e){let r=JSON.parse(JSON.stringify(t));return r.shapeInfo.logicalShape=e,r}function _e(t,e){return e.map(r=>t[r]).join(", ")}function xo(t,e,r,o){let n=r.map((c,p)=>{let d={logicalShape:c.shape,texShape:c.isUniform?null:c.texData.texShape,isUniform:c.isUniform,isPacked:c.isUniform?!1:c.texData.isPacked,flatOffset:null};return c.texData!=null&&c.texData.slice!=null&&c.texData.slice.flatOffset>0&&(d.flatOffset=c.texData.slice.flatOffset),{name:e.variableNames[p],shapeInfo:d}}),s=n.map(c=>c.shapeInfo),i={logicalShape:o.shape,texShape:o.texData.texShape,isUniform:!1,isPacked:o.texData.isPacked,flatOffset:null},a=po(n,i,e),u=zr(t.gl,a),l=t.createProgram(u);return T().get("ENGINE_COMPILE_ONLY")?{program:e,fragmentShader:u,source:a,webGLProgram:l,inShapeInfos:s,outShapeInfo:i,variablesLocations:null,customUniformLocations:null,infLoc:null,nanLoc:null,outShapeLocation:null,outShapeStridesLocation:null,outTexShapeLocation:null}:(t.buildVao(l),Object.assign({program:e,fragmentShader:u,source:a,webGLProgram:l,inShapeInfos:s,outShapeInfo:i},Yt(t,e,l)))}function Yt(t,e,r){let o=[],n=[],s,i,a,u=null,l=null;l=t.getUniformLocation(r,"NAN",!1),T().getNumber("WEBGL_VERSION")===1&&(u=t.getUniformLocation(r,"INFINITY",!1));let c=!1;for(let p of e.variableNames){let d={name:p,uniform:t.getUniformLocation(r,p,c),offset:t.getUniformLocation(r,`offset${p}`,c)};e.enableShapeUniforms&&(d.shape=t.getUniformLocation(r,`${p}Shape`,c),d.texShape=t.getUniformLocation(r,`${p}TexShape`,c)),o.push(d)}if(e.enableShapeUniforms&&(s=t.getUniformLocation(r,"outShape",c),a=t.getUniformLocation(r,"outShapeStrides",c),i=t.getUniformLocation(r,"outTexShape",c)),e.customUniforms)for(let p of e.customUniforms)n.push(t.getUniformLocation(r,p.name,c));return{variablesLocations:o,customUniformLocations:n,infLoc:u,nanLoc:l,outShapeLocation:s,outShapeStridesLocation:a,outTexShapeLocation:i}}function mo(t,e){if(t.length!==e.length)throw Error(`Binary was compiled with ${t.length} inputs, but was executed with ${e.length} inputs`);t.forEach((r,o)=>{let n=r.logicalShape,s=e[o],i=s.shape;if(!x.arraysEqual(n,i))throw Error(`Binary was compiled with different shapes than the current args. Shapes ${n} and ${i} must match`);if(r.isUniform&&s.isUniform)return;let a=r.texShape,u=s.isUniform?null:s.texData.texShape;if(!x.arraysEqual(a,u))throw Error(`Binary was compiled with different texture shapes than the current args. Shape ${a} and ${u} must match`)})}function go(t,e,r,o,n){e.program.enableShapeUniforms||(mo(e.inShapeInfos,r),mo([e.outShapeInfo],[o]));let s=o.texData.texture,i=o.texData.texShape;o.texData.isPacked?t.setOutputPackedMatrixTexture(s.texture,i[0],i[1]):t.setOutputMatrixTexture(s.texture,i[0],i[1]),t.setProgram(e.webGLProgram),t.bindVertexArray(e.webGLProgram.vao),T().getNumber("WEBGL_VERSION")===1&&e.infLoc!==null&&t.gl.uniform1f(e.infLoc,1/0),e.nanLoc!==null&&t.gl.uniform1f(e.nanLoc,NaN);for(let u=0;u<r.length;++u){let l=r[u],{uniform:c,offset:p,shape:d,texShape:h}=e.variablesLocations[u];if(d){let{uniformShape:f}=nt(e.program.packedInputs,l.shape,l.texData.texShape);switch(f.length){case 1:t.gl.uniform1iv(d,new Int32Array(f));break;case 2:t.gl.uniform2iv(d,new Int32Array(f));break;case 3:t.gl.uniform3iv(d,new Int32Array(f));break;case 4:t.gl.uniform4iv(d,new Int32Array(f));break;default:break}}if(h&&t.gl.uniform2i(h,l.texData.texShape[0],l.texData.texShape[1]),c!=null){if(l.isUniform){if(x.sizeFromShape(l.shape)<2)t.gl.uniform1f(c,l.uniformValues[0]);else{let f=l.uniformValues;f instanceof Float32Array||(f=new Float32Array(f)),t.gl.uniform1fv(c,f)}continue}l.texData.slice!=null&&p!=null&&t.gl.uniform1i(p,l.texData.slice.flatOffset),t.setInputMatrixTexture(l.texData.texture.texture,c,u)}}let a=e.outShapeLocation;if(a)switch(o.shape.length){case 1:t.gl.uniform1iv(a,new Int32Array(o.shape));break;case 2:t.gl.uniform2iv(a,new Int32Array(o.shape));break;case 3:t.gl.uniform3iv(a,new Int32Array(o.shape));break;case 4:t.gl.uniform4iv(a,new Int32Array(o.shape));break;default:break}if(e.outShapeStridesLocation){let u=x.computeStrides(o.shape);switch(o.shape.length){case 2:t.gl.uniform1iv(e.outShapeStridesLocation,new Int32Array(u));break;case 3:t.gl.uniform2iv(e.outShapeStridesLocation,new Int32Array(u));break;case 4:t.gl.uniform3iv(e.outShapeStridesLocation,new Int32Array(u));break;default:break}}if(e.outTexShapeLocation&&t.gl.uniform2i(e.outTexShapeLocation,o.texData.texShape[0],o.texData.texShape[1]),e.program.customUniforms&&n)for(let u=0;u<e.program.customUniforms.length;++u){let l=e.program.customUniforms[u],c=e.customUniformLocations[u],p=n[u];if(l.type==="float")t.gl.uniform1fv(c,p);else if(l.type==="vec2")t.gl.uniform2fv(c,p);else if(l.type==="vec3")t.gl.uniform3fv(c,p);else if(l.type==="vec4")t.gl.uniform4fv(c,p);else if(l.type==="int")t.gl.uniform1iv(c,p);else if(l.type==="ivec2")t.gl.uniform2iv(c,p);else if(l.type==="ivec3")t.gl.uniform3iv(c,p);else if(l.type==="ivec4")t.gl.uniform4iv(c,p);else throw Error(`uniform type ${l.type} is not supported yet.`)}t.executeProgram()}function Co(t,e,r){let o="";e.concat(r).forEach(i=>{let a=i.texData!=null&&i.texData.slice!=null&&i.texData.slice.flatOffset>0;if(t.enableShapeUniforms&&!i.isUniform){let u=i.texData.texShape,{useSqueezeShape:l,uniformShape:c,keptDims:p}=nt(t.packedInputs,i.shape,u),d="",h="",f="";if(c.length===1&&t.packedInputs){let R=[Math.ceil(u[0]/2),Math.ceil(u[1]/2)];d=`${R[0]>1}_${R[1]>1}`}else if(c.length===2&&!t.packedInputs)h=`${c[0]>1}_${c[1]>1}`;else if(c.length>2&&!t.packedInputs){let R=x.computeStrides(c);f=`${R[0]===u[1]}_${R[R.length-1]===u[1]}`}let g=i.shape.length,C=c.length===2&&x.arraysEqual(i.shape,u),m=x.sizeFromShape(i.shape)===1,v=_.getBroadcastDims(i.shape,r.shape),b=!t.packedInputs&&g===r.shape.length&&x.arraysEqual(u,r.texData.texShape),E=t.packedInputs||c.length>2?"":`${u[0]>1}_${u[1]>1}`;o+=`${g}_${b}_${l?p:""}_${c.length}_${m}_${v}_${C}_${d}_${h}_${f}_${E}_${a}`}else{let u=i.isUniform?"uniform":i.texData.texShape;o+=`${i.shape}_${u}_${a}`}});let n=t.userCode,s=t.constructor.name;return s+="_"+o+"_"+n+`${T().getNumber("WEBGL_VERSION")}`,s}function O(t){return T().getBool("WEBGL_USE_SHAPES_UNIFORMS")&&t<=4}var st=class{constructor(e){this.variableNames=["A"],this.packedInputs=!1,this.packedOutput=!0,this.outPackingScheme=ee.DENSE,this.customUniforms=[{name:"texShape",type:"ivec2"}];let r=N();this.outputShape=e,this.enableShapeUniforms=O(this.outputShape.length),this.userCode=`
      ivec3 outCoordsFromFlatIndex(int index) {
        ${this.enableShapeUniforms?ce(["r","c","d"],e):z(["r","c","d"],e)}
        return ivec3(r, c, d);
      }

      void main() {
        ivec2 resTexRC = ivec2(resultUV.yx * vec2(texShape[0], texShape[1]));
        int index = 4 * (resTexRC.x * texShape[1] + resTexRC.y);

        vec4 result = vec4(0.);

        for (int i=0; i<4; i++) {
          int flatIndex = index + i;
          ivec3 rc = outCoordsFromFlatIndex(flatIndex);
          result[i] = getA(rc.x, rc.y, rc.z);
        }

        ${r.output} = result;
      }
    `}};var it=class{constructor(e){this.variableNames=["A"],this.packedInputs=!0,this.packedOutput=!0,this.outPackingScheme=ee.DENSE,this.customUniforms=[{name:"texShape",type:"ivec2"}];let r=N();this.outputShape=e,this.enableShapeUniforms=O(this.outputShape.length),this.userCode=`
      ivec3 outCoordsFromFlatIndex(int index) {
        ${this.enableShapeUniforms?ce(["r","c","d"],e):z(["r","c","d"],e)}
        return ivec3(r, c, d);
      }

      void main() {
        ivec2 resTexRC = ivec2(resultUV.yx * vec2(texShape[0], texShape[1]));
        int index = 4 * (resTexRC.x * texShape[1] + resTexRC.y);

        vec4 result = vec4(0.);

        for (int i=0; i<4; i++) {
          int flatIndex = index + i;
          ivec3 rc = outCoordsFromFlatIndex(flatIndex);
          result[i] = getChannel(getA(rc.x, rc.y, rc.z), vec2(rc.y, rc.z));
        }

        ${r.output} = result;
      }
    `}};var at=class{constructor(e){this.variableNames=["A"],this.outTexUsage=k.DOWNLOAD;let r=N();this.outputShape=e,this.userCode=`
      ${ot}

      void main() {
        float x = getAAtOutCoords();
        ${r.output} = encode_float(x);
      }
    `}};var ut=class{constructor(e){this.variableNames=["A"],this.packedInputs=!0,this.packedOutput=!1,this.outTexUsage=k.DOWNLOAD;let r=N();this.outputShape=e,this.userCode=`
      ${ot}

      void main() {
        ivec3 coords = getOutputCoords();
        float x = getChannel(getAAtOutCoords(), vec2(coords.y, coords.z));
        ${r.output} = encode_float(x);
      }
    `}};var Ks={R:0,G:1,B:2,A:3},Ge=class{constructor(e,r=!1,o="RGBA"){this.variableNames=["A"],this.customUniforms=[{name:"texShape",type:"ivec2"}];let n=N();this.outputShape=e,this.enableShapeUniforms=O(this.outputShape.length);let s="result";r&&(s="floor(result * 255. + 0.5)");let i="";for(let a=0;a<o.length;a++){let u=o[a];i+=`
          if(offset == ${a}) {
            result = values[${Ks[u]}];
          }`}this.userCode=`
      ${this.enableShapeUniforms?Te():Ce(e)}

      void main() {
        ivec3 coords = getOutputCoords();
        int flatIndex = getFlatIndex(coords);
        float result = 0.;
        int offset = imod(flatIndex, ${o.length});

        flatIndex = idiv(flatIndex, ${o.length}, 1.);

        int r = flatIndex / texShape[1];
        if (r < texShape[0]) {
          int c = imod(flatIndex, texShape[1]);
          vec2 uv = (vec2(c, r) + halfCR) / vec2(texShape[1], texShape[0]);
          vec4 values = ${n.texture2D}(A, uv);
          ${i}
        }
        ${n.output} = vec4(${s}, 0., 0., 0.);
      }
    `}};var lt=class{constructor(e,r=!1){this.variableNames=["A"],this.packedInputs=!1,this.packedOutput=!0,this.customUniforms=[{name:"texShape",type:"ivec2"}];let o=N();this.outputShape=e,this.enableShapeUniforms=O(this.outputShape.length);let n="",s="result";r&&(s="floor(result * 255. + 0.5)");for(let i=0;i<=1;i++)for(let a=0;a<=1;a++){let u=i*2+a;n+=`
          localCoords = coords;
          if(localCoords[2] + ${a} < ${this.enableShapeUniforms?"outShape[2]":`${e[2]}`}) {
          localCoords[2] += ${a};
          if (localCoords[1] + ${i} < ${this.enableShapeUniforms?"outShape[1]":`${e[1]}`}) {
            localCoords[1] += ${i};

            flatIndex = getFlatIndex(localCoords);
            offset = imod(flatIndex, 4);

            flatIndex = idiv(flatIndex, 4, 1.);

            int r = flatIndex / texShape[1];
            int c = imod(flatIndex, texShape[1]);
            vec2 uv = (vec2(c, r) + halfCR) / vec2(texShape[1], texShape[0]);
            values = ${o.texture2D}(A, uv);

            if (offset == 0) {
              result[${u}] = values[0];
            } else if (offset == 1) {
              result[${u}] = values[1];
            } else if (offset == 2) {
              result[${u}] = values[2];
            } else {
              result[${u}] = values[3];
            }
          }
        }
        `}this.userCode=`
        ${this.enableShapeUniforms?Te():Ce(e)}

        void main() {
          ivec3 coords = getOutputCoords();

          vec4 result = vec4(0.);
          int flatIndex, r, c, offset;
          ivec3 localCoords;
          vec2 uv;
          vec4 values;

          ${n}

          ${o.output} = ${s};
        }
    `}};function To(t){let e=N(),r=`${e.version}
    precision highp float;
    ${e.attribute} vec3 clipSpacePos;
    ${e.attribute} vec2 uv;
    ${e.varyingVs} vec2 resultUV;

    void main() {
      gl_Position = vec4(clipSpacePos, 1);
      resultUV = uv;
    }`;return Gr(t,r)}function $o(t){let e=new Float32Array([-1,1,0,0,1,-1,-1,0,0,0,1,1,0,1,1,1,-1,0,1,0]);return Kr(t,e)}function Eo(t){let e=new Uint16Array([0,1,2,2,1,3]);return Yr(t,e)}function ze(t,e,r,o,n,s){jr(e,r);let i=qr(t),a=t.TEXTURE_2D;return $(t,()=>t.bindTexture(a,i)),$(t,()=>t.texParameteri(a,t.TEXTURE_WRAP_S,t.CLAMP_TO_EDGE)),$(t,()=>t.texParameteri(a,t.TEXTURE_WRAP_T,t.CLAMP_TO_EDGE)),$(t,()=>t.texParameteri(a,t.TEXTURE_MIN_FILTER,t.NEAREST)),$(t,()=>t.texParameteri(a,t.TEXTURE_MAG_FILTER,t.NEAREST)),T().getNumber("WEBGL_VERSION")===1?$(t,()=>t.texImage2D(a,0,o,e,r,0,n,s,null)):$(t,()=>t.texStorage2D(a,1,o,e,r)),$(t,()=>t.bindTexture(t.TEXTURE_2D,null)),{texture:i,texShape:[r,e]}}function qt(t){return t.internalFormatFloat}function vo(t,e,r,o){let[n,s]=ue(e,r);return ze(t,n,s,qt(o),o.textureFormatFloat,t.FLOAT)}function jt(t){return t.internalFormatHalfFloat}function So(t,e,r,o){let[n,s]=ue(e,r);return ze(t,n,s,jt(o),o.textureFormatFloat,o.textureTypeHalfFloat)}function Qt(t){return t.downloadTextureFormat}function _o(t,e,r,o){let[n,s]=ue(e,r);return ze(t,n,s,Qt(o),t.RGBA,t.UNSIGNED_BYTE)}function Zt(t){return t.internalFormatPackedFloat}function Ro(t,e,r,o){let[n,s]=K(e,r);return ze(t,n,s,Zt(o),t.RGBA,t.FLOAT)}function Jt(t){return t.internalFormatPackedHalfFloat}function bo(t,e,r,o){let[n,s]=K(e,r);return ze(t,n,s,Jt(o),t.RGBA,o.textureTypeHalfFloat)}function Io(t,e,r){return $(t,()=>t.bindBuffer(t.ARRAY_BUFFER,r)),Xt(t,e,"clipSpacePos",r,3,20,0)&&Xt(t,e,"uv",r,2,20,12)}function wo(t,e,r,o,n,s){$(t,()=>t.bindTexture(t.TEXTURE_2D,e));let i,a,u;n instanceof Uint8Array?(i=new Uint8Array(r*o*4),a=t.UNSIGNED_BYTE,u=t.RGBA):(i=new Float32Array(r*o*4),a=t.FLOAT,u=s.internalFormatPackedFloat),i.set(n),T().getNumber("WEBGL_VERSION")===2?$(t,()=>t.texSubImage2D(t.TEXTURE_2D,0,0,0,r,o,t.RGBA,a,i)):$(t,()=>t.texImage2D(t.TEXTURE_2D,0,u,r,o,0,t.RGBA,a,i)),$(t,()=>t.bindTexture(t.TEXTURE_2D,null))}function Ao(t,e,r){$(t,()=>t.bindTexture(t.TEXTURE_2D,e)),r.data instanceof Uint8Array?T().getNumber("WEBGL_VERSION")===2?$(t,()=>t.texSubImage2D(t.TEXTURE_2D,0,0,0,r.width,r.height,t.RGBA,t.UNSIGNED_BYTE,r.data)):$(t,()=>t.texImage2D(t.TEXTURE_2D,0,t.RGBA,r.width,r.height,0,t.RGBA,t.UNSIGNED_BYTE,r.data)):T().getNumber("WEBGL_VERSION")===2?$(t,()=>t.texSubImage2D(t.TEXTURE_2D,0,0,0,t.RGBA,t.UNSIGNED_BYTE,r)):$(t,()=>t.texImage2D(t.TEXTURE_2D,0,t.RGBA,t.RGBA,t.UNSIGNED_BYTE,r)),$(t,()=>t.bindTexture(t.TEXTURE_2D,null))}function Fo(t,e,r,o){let n=t.createBuffer();$(t,()=>t.bindBuffer(t.PIXEL_PACK_BUFFER,n));let a=4*4*e*r;return $(t,()=>t.bufferData(t.PIXEL_PACK_BUFFER,a,t.STREAM_READ)),$(t,()=>t.readPixels(0,0,r,e,t.RGBA,t.FLOAT,0)),$(t,()=>t.bindBuffer(t.PIXEL_PACK_BUFFER,null)),n}function Oo(t,e,r){let o=t,n=new Float32Array(r);return o.bindBuffer(o.PIXEL_PACK_BUFFER,e),o.getBufferSubData(o.PIXEL_PACK_BUFFER,0,n),o.bindBuffer(o.PIXEL_PACK_BUFFER,null),n}function yo(t,e,r,o){let[n,s]=ue(e,r),i=4,a=new Uint8Array(Mr(e*r,i));return $(t,()=>t.readPixels(0,0,n,s,o.downloadTextureFormat,t.UNSIGNED_BYTE,a)),new Float32Array(a.buffer)}function Do(t,e,r,o,n,s,i,a){let u=t,l=new Float32Array(Vr(s,i));return u.bindBuffer(u.PIXEL_PACK_BUFFER,e),u.getBufferSubData(u.PIXEL_PACK_BUFFER,0,l),u.bindBuffer(u.PIXEL_PACK_BUFFER,null),l}function No(t,e,r){let o=new Float32Array(e*r*4);return $(t,()=>t.readPixels(0,0,r,e,t.RGBA,t.FLOAT,o)),o}var Re=class{constructor(e){this.outputTexture=null,this.program=null,this.disposed=!1,this.itemsToPoll=[];let r=T().getNumber("WEBGL_VERSION");if(e!=null?(this.gl=e,Br(r,e)):this.gl=M(r),e=this.gl,T().getNumber("WEBGL_VERSION")===2){let s=e;this.createVertexArray=()=>$(s,()=>s.createVertexArray()),this.bindVertexArray=i=>$(s,()=>s.bindVertexArray(i)),this.deleteVertexArray=i=>$(s,()=>s.deleteVertexArray(i)),this.getVertexArray=()=>$(s,()=>s.getParameter(s.VERTEX_ARRAY_BINDING))}else if(e!=null){let s=e.getExtension("OES_vertex_array_object");if(s==null)throw new Error("All WebGL1 implementations are expected to offer OES_vertex_array_object.");this.createVertexArray=()=>$(e,()=>s.createVertexArrayOES()),this.bindVertexArray=i=>$(e,()=>s.bindVertexArrayOES(i)),this.deleteVertexArray=i=>$(e,()=>s.deleteVertexArrayOES(i)),this.getVertexArray=()=>$(e,()=>e.getParameter(s.VERTEX_ARRAY_BINDING_OES))}let o="WEBGL_color_buffer_float",n="EXT_color_buffer_half_float";if(this.parallelCompilationExtension=this.gl.getExtension("KHR_parallel_shader_compile"),T().getNumber("WEBGL_VERSION")===1){let s="OES_texture_float",i="OES_texture_half_float";if(this.textureFloatExtension=Me(this.gl,s),V(this.gl,i))this.textureHalfFloatExtension=Me(this.gl,i);else if(T().get("WEBGL_FORCE_F16_TEXTURES"))throw new Error("GL context does not support half float textures, yet the environment flag WEBGL_FORCE_F16_TEXTURES is set to true.");if(this.colorBufferFloatExtension=this.gl.getExtension(o),V(this.gl,n))this.colorBufferHalfFloatExtension=Me(this.gl,n);else if(T().get("WEBGL_FORCE_F16_TEXTURES"))throw new Error("GL context does not support color renderable half floats, yet the environment flag WEBGL_FORCE_F16_TEXTURES is set to true.")}else if(o="EXT_color_buffer_float",V(this.gl,o))this.colorBufferFloatExtension=this.gl.getExtension(o);else if(V(this.gl,n))this.colorBufferHalfFloatExtension=this.gl.getExtension(n);else throw new Error("GL context does not support color renderable floats");this.vertexBuffer=$o(this.gl),this.indexBuffer=Eo(this.gl),this.framebuffer=Qr(this.gl),this.textureConfig=Be(this.gl,this.textureHalfFloatExtension)}get debug(){return T().getBool("DEBUG")}dispose(){if(this.disposed)return;this.program!=null&&console.warn("Disposing a GPGPUContext that still has a bound WebGLProgram. This is probably a resource leak, delete the program with GPGPUContext.deleteProgram before disposing."),this.outputTexture!=null&&console.warn("Disposing a GPGPUContext that still has a bound output matrix texture.  This is probably a resource leak, delete the output matrix texture with GPGPUContext.deleteMatrixTexture before disposing.");let e=this.gl;$(e,()=>e.finish()),$(e,()=>e.bindFramebuffer(e.FRAMEBUFFER,null)),$(e,()=>e.deleteFramebuffer(this.framebuffer)),$(e,()=>e.bindBuffer(e.ARRAY_BUFFER,null)),$(e,()=>e.bindBuffer(e.ELEMENT_ARRAY_BUFFER,null)),$(e,()=>e.deleteBuffer(this.indexBuffer)),this.disposed=!0}createFloat32MatrixTexture(e,r){return this.throwIfDisposed(),vo(this.gl,e,r,this.textureConfig)}createFloat16MatrixTexture(e,r){return this.throwIfDisposed(),So(this.gl,e,r,this.textureConfig)}createUnsignedBytesMatrixTexture(e,r){return this.throwIfDisposed(),_o(this.gl,e,r,this.textureConfig)}uploadPixelDataToTexture(e,r){this.throwIfDisposed(),Ao(this.gl,e,r)}uploadDenseMatrixToTexture(e,r,o,n){this.throwIfDisposed(),wo(this.gl,e,r,o,n,this.textureConfig)}createFloat16PackedMatrixTexture(e,r){return this.throwIfDisposed(),bo(this.gl,e,r,this.textureConfig)}createPackedMatrixTexture(e,r){return this.throwIfDisposed(),Ro(this.gl,e,r,this.textureConfig)}deleteMatrixTexture(e){this.throwIfDisposed(),this.outputTexture===e&&(Ht(this.gl,this.framebuffer),this.outputTexture=null),$(this.gl,()=>this.gl.deleteTexture(e))}downloadByteEncodedFloatMatrixFromOutputTexture(e,r,o){return this.downloadMatrixDriver(e,()=>yo(this.gl,r,o,this.textureConfig))}downloadPackedMatrixFromBuffer(e,r,o,n,s,i){return Do(this.gl,e,r,o,n,s,i,this.textureConfig)}downloadFloat32MatrixFromBuffer(e,r){return Oo(this.gl,e,r)}createBufferFromTexture(e,r,o){this.bindTextureToFrameBuffer(e);let n=Fo(this.gl,r,o,this.textureConfig);return this.unbindTextureToFrameBuffer(),n}createAndWaitForFence(){let e=this.createFence(this.gl);return this.pollFence(e)}createFence(e){let r,o;if(T().getBool("WEBGL_FENCE_API_ENABLED")){let n=e,s=n.fenceSync(n.SYNC_GPU_COMMANDS_COMPLETE,0);e.flush(),o=()=>{let i=n.clientWaitSync(s,0,0);return i===n.ALREADY_SIGNALED||i===n.CONDITION_SATISFIED},r=s}else T().getNumber("WEBGL_DISJOINT_QUERY_TIMER_EXTENSION_VERSION")>0?(r=this.beginQuery(),this.endQuery(),o=()=>this.isQueryAvailable(r,T().getNumber("WEBGL_DISJOINT_QUERY_TIMER_EXTENSION_VERSION"))):o=()=>!0;return{query:r,isFencePassed:o}}downloadMatrixFromPackedTexture(e,r,o){return this.downloadMatrixDriver(e,()=>No(this.gl,r,o))}createProgram(e){this.throwIfDisposed();let r=this.gl;this.vertexShader==null&&(this.vertexShader=To(r));let o=Xr(r);$(r,()=>r.attachShader(o,this.vertexShader)),$(r,()=>r.attachShader(o,e)),Hr(r,o);let n=Object.assign(o,{vao:this.createVertexArray()});return this.debug&&et(r,n),n}buildVao(e){this.setProgram(e),this.bindVertexArray(e.vao);let r=this.gl;$(r,()=>r.bindBuffer(r.ELEMENT_ARRAY_BUFFER,this.indexBuffer)),Io(r,e,this.vertexBuffer)}deleteProgram(e){this.throwIfDisposed(),e===this.program&&(this.program=null),e!=null&&($(this.gl,()=>this.gl.deleteProgram(e)),this.deleteVertexArray(e.vao))}setProgram(e){this.throwIfDisposed(),this.program=e,this.program!=null&&this.debug&&et(this.gl,this.program),$(this.gl,()=>this.gl.useProgram(e))}getUniformLocation(e,r,o=!0){return this.throwIfDisposed(),o?Zr(this.gl,e,r):Jr(this.gl,e,r)}getAttributeLocation(e,r){return this.throwIfDisposed(),$(this.gl,()=>this.gl.getAttribLocation(e,r))}getUniformLocationNoThrow(e,r){return this.throwIfDisposed(),this.gl.getUniformLocation(e,r)}setInputMatrixTexture(e,r,o){this.throwIfDisposed(),this.throwIfNoProgram(),eo(this.gl,e,r,o)}setOutputMatrixTexture(e,r,o){this.setOutputMatrixTextureDriver(e,o,r)}setOutputPackedMatrixTexture(e,r,o){this.throwIfDisposed();let[n,s]=K(r,o);this.setOutputMatrixTextureDriver(e,n,s)}setOutputMatrixWriteRegion(e,r,o,n){this.setOutputMatrixWriteRegionDriver(o,e,n,r)}setOutputPackedMatrixWriteRegion(e,r,o,n){throw new Error("setOutputPackedMatrixWriteRegion not implemented.")}debugValidate(){this.program!=null&&et(this.gl,this.program),Ve(this.gl)}executeProgram(){this.throwIfDisposed(),this.throwIfNoProgram();let e=this.gl;if(this.debug){let r=this.getVertexArray();console.assert(r===this.program.vao,"VAO changed between setProgram and executeProgram!"),this.debugValidate()}$(e,()=>e.drawElements(e.TRIANGLES,6,e.UNSIGNED_SHORT,0))}blockUntilAllProgramsCompleted(){this.throwIfDisposed(),$(this.gl,()=>this.gl.finish())}getQueryTimerExtension(){return this.disjointQueryTimerExtension==null&&(this.disjointQueryTimerExtension=Me(this.gl,T().getNumber("WEBGL_DISJOINT_QUERY_TIMER_EXTENSION_VERSION")===2?"EXT_disjoint_timer_query_webgl2":"EXT_disjoint_timer_query")),this.disjointQueryTimerExtension}getQueryTimerExtensionWebGL2(){return this.getQueryTimerExtension()}getQueryTimerExtensionWebGL1(){return this.getQueryTimerExtension()}beginQuery(){if(T().getNumber("WEBGL_DISJOINT_QUERY_TIMER_EXTENSION_VERSION")===2){let o=this.gl,n=this.getQueryTimerExtensionWebGL2(),s=o.createQuery();return o.beginQuery(n.TIME_ELAPSED_EXT,s),s}let e=this.getQueryTimerExtensionWebGL1(),r=e.createQueryEXT();return e.beginQueryEXT(e.TIME_ELAPSED_EXT,r),r}endQuery(){if(T().getNumber("WEBGL_DISJOINT_QUERY_TIMER_EXTENSION_VERSION")===2){let r=this.gl,o=this.getQueryTimerExtensionWebGL2();r.endQuery(o.TIME_ELAPSED_EXT);return}let e=this.getQueryTimerExtensionWebGL1();e.endQueryEXT(e.TIME_ELAPSED_EXT)}async waitForQueryAndGetTime(e){return await x.repeatedTry(()=>this.disposed||this.isQueryAvailable(e,T().getNumber("WEBGL_DISJOINT_QUERY_TIMER_EXTENSION_VERSION"))),this.getQueryTime(e,T().getNumber("WEBGL_DISJOINT_QUERY_TIMER_EXTENSION_VERSION"))}getQueryTime(e,r){if(r===0)return null;if(r===2){let o=this.gl;return o.getQueryParameter(e,o.QUERY_RESULT)/1e6}else{let o=this.getQueryTimerExtensionWebGL1();return o.getQueryObjectEXT(e,o.QUERY_RESULT_EXT)/1e6}}isQueryAvailable(e,r){if(r===0)return!0;if(r===2){let o=this.gl,n=this.getQueryTimerExtensionWebGL2(),s=o.getQueryParameter(e,o.QUERY_RESULT_AVAILABLE);return this.disjoint==null&&(this.disjoint=this.gl.getParameter(n.GPU_DISJOINT_EXT)),s&&!this.disjoint}else{let o=this.getQueryTimerExtensionWebGL1(),n=o.getQueryObjectEXT(e,o.QUERY_RESULT_AVAILABLE_EXT);return this.disjoint==null&&(this.disjoint=this.gl.getParameter(o.GPU_DISJOINT_EXT)),n&&!this.disjoint}}pollFence(e){return new Promise(r=>{this.addItemToPoll(()=>e.isFencePassed(),()=>r())})}pollItems(){let e=qs(this.itemsToPoll.map(r=>r.isDoneFn));for(let r=0;r<=e;++r){let{resolveFn:o}=this.itemsToPoll[r];o()}this.itemsToPoll=this.itemsToPoll.slice(e+1)}addItemToPoll(e,r){if(this.itemsToPoll.push({isDoneFn:e,resolveFn:r}),this.itemsToPoll.length>1)return;let o;"setTimeoutCustom"in T().platform&&(o=T().platform.setTimeoutCustom.bind(T().platform)),x.repeatedTry(()=>(this.pollItems(),this.itemsToPoll.length===0),()=>0,null,o)}bindTextureToFrameBuffer(e){this.throwIfDisposed(),tt(this.gl,e,this.framebuffer),this.debug&&Ve(this.gl)}unbindTextureToFrameBuffer(){this.outputTexture!=null?(tt(this.gl,this.outputTexture,this.framebuffer),this.debug&&Ve(this.gl)):Ht(this.gl,this.framebuffer)}downloadMatrixDriver(e,r){this.bindTextureToFrameBuffer(e);let o=r();return this.unbindTextureToFrameBuffer(),o}setOutputMatrixTextureDriver(e,r,o){this.throwIfDisposed();let n=this.gl;tt(n,e,this.framebuffer),this.debug&&Ve(n),this.outputTexture=e,$(n,()=>n.viewport(0,0,r,o)),$(n,()=>n.scissor(0,0,r,o))}setOutputMatrixWriteRegionDriver(e,r,o,n){this.throwIfDisposed(),$(this.gl,()=>this.gl.scissor(e,r,o,n))}throwIfDisposed(){if(this.disposed)throw new Error("Attempted to use disposed GPGPUContext.")}throwIfNoProgram(){if(this.program==null)throw new Error("No GPU program is currently set.")}};function qs(t){let e=0;for(;e<t.length&&t[e]();++e);return e-1}var{addImpl:Po,bincountImpl:Ma,bincountReduceImpl:Va,bitwiseAndImpl:Wa,castImpl:Lo,ceilImpl:Ga,concatImpl:Uo,equalImpl:za,expImpl:ko,expm1Impl:Xa,floorImpl:Ha,gatherNdImpl:Ka,gatherV2Impl:Ya,greaterImpl:qa,greaterEqualImpl:ja,lessImpl:Qa,lessEqualImpl:Za,linSpaceImpl:Ja,logImpl:eu,maxImpl:Bo,maximumImpl:tu,minimumImpl:ru,multiplyImpl:Mo,negImpl:ou,notEqualImpl:Vo,prodImpl:nu,raggedGatherImpl:su,raggedRangeImpl:iu,raggedTensorToTensorImpl:au,rangeImpl:uu,rsqrtImpl:Wo,scatterImpl:lu,sigmoidImpl:Go,simpleAbsImpl:zo,sliceImpl:Xo,sparseFillEmptyRowsImpl:cu,sparseReshapeImpl:pu,sparseSegmentReductionImpl:du,sqrtImpl:hu,staticRegexReplaceImpl:fu,stridedSliceImpl:mu,stringNGramsImpl:xu,stringSplitImpl:gu,stringToHashBucketFastImpl:Cu,subImpl:Ho,tileImpl:Ko,topKImpl:Tu,transposeImpl:Xe,uniqueImpl:$u}=kr;function er(t,e){return["x","y","z","w","u","v"].slice(0,e).map(r=>`${t}.${r}`)}function B(t,e){return e===1?[t]:er(t,e)}function Yo(t,e){if(t===1)return"rc";let r="";for(let o=0;o<t;o++)r+=e[o],o<t-1&&(r+=",");return r}var ct=class{constructor(e){if(this.variableNames=["A"],this.packedInputs=!1,this.packedOutput=!0,this.outputShape=e,this.rank=e.length,this.enableShapeUniforms=O(this.outputShape.length),this.rank===0)this.userCode=`
        void main() {
          setOutput(vec4(getA(), 0., 0., 0.));
        }
      `;else{let r=B("rc",this.rank),o=F(this.rank),n=this.getOutOfBoundsCondition(r),s=this.getSetup(r),i=this.getOutput(r);this.userCode=`
        void main() {
          ${o} rc = getOutputCoords();

          if(${n}) {
            setOutput(vec4(0));
          } else {
            ${s}

            setOutput(vec4(${i}));
          }
        }
      `}}getSourceCoordsArr(e){let r=[];for(let o=0;o<=1;o++)for(let n=0;n<=1;n++){let s=`${o===0?"r":"rp1"}, ${n===0?"c":"cp1"}`;for(let i=2;i<this.rank;i++)s=`${e[e.length-1-i]},`+s;r.push(s)}return r}getOutOfBoundsCondition(e){if(this.rank===1)return`rc > ${this.enableShapeUniforms?"outShape":this.outputShape[0]}`;let r="";for(let o=this.rank-2;o<this.rank;o++)r+=`${e[o]} >= ${this.enableShapeUniforms?`outShape[${o}]`:this.outputShape[o]}`,o<this.rank-1&&(r+="||");return r}getSetup(e){if(this.rank===1)return"";let r=e.slice(-2),o=this.enableShapeUniforms?`outShape[${this.rank} - 1]`:this.outputShape[this.rank-1],n=this.enableShapeUniforms?`outShape[${this.rank} - 2]`:this.outputShape[this.rank-2];return`
      int r = ${r[0]};
      int c = ${r[1]};
      int rp1 = r + 1;
      int cp1 = c + 1;

      bool cEdge = cp1 >= ${o};
      bool rEdge = rp1 >= ${n};
    `}getOutput(e){let r=this.getSourceCoordsArr(e);return this.rank===1?`getA(rc), (rc + 1 >= ${this.enableShapeUniforms?"outShape":this.outputShape[0]} ? 0. : getA(rc + 1)), 0, 0`:`getA(${r[0]}),
            cEdge ? 0. : getA(${r[1]}),
            rEdge ? 0. : getA(${r[2]}),
            rEdge || cEdge ? 0. : getA(${r[3]})`}};var be=class{constructor(e,r){this.variableNames=["A"],this.packedInputs=!0,this.packedOutput=!0,this.customUniforms=[{name:"inputShape",type:"ivec3"}],this.outputShape=e,this.enableShapeUniforms=O(this.outputShape.length);let o="";for(let n=0;n<4;n++){let s="thisRC = rc;";n%2===1&&(s+="thisRC.z += 1;"),n>1&&(s+="thisRC.y += 1;"),o+=`
        ${s}
        ${n>0?"if(thisRC.y < rows && thisRC.z < cols){":""}
          int flatIndex = getFlatIndex(thisRC);

          ivec3 inputRC = inputCoordsFromReshapedOutCoords(flatIndex);
          vec2 inputRCInnerDims = vec2(float(inputRC.y),float(inputRC.z));

          result[${n}] =
            getChannel(getA(inputRC.x, inputRC.y, inputRC.z), inputRCInnerDims);
        ${n>0?"}":""}
      `}this.userCode=`
      ${js(r,this.enableShapeUniforms)}
      ${this.enableShapeUniforms?Te():Ce(e)}

      void main() {
        ivec3 rc = getOutputCoords();

        vec4 result = vec4(0.);

        ivec3 thisRC;
        int rows = ${this.enableShapeUniforms?"outShape[1]":e[1]};
        int cols = ${this.enableShapeUniforms?"outShape[2]":e[2]};

        ${o}

        setOutput(result);
      }
    `}};function js(t,e){return`
    ivec3 inputCoordsFromReshapedOutCoords(int index) {
      ${e?lo(["r","c","d"],"inputShape"):z(["r","c","d"],t)}
      return ivec3(r, c, d);
    }
  `}var pt=class{constructor(e){this.gpgpu=e,this.numUsedTextures=0,this.numFreeTextures=0,this._numBytesAllocated=0,this._numBytesFree=0,this.freeTextures={},this.usedTextures={},this.logEnabled=!1}acquireTexture(e,r,o){let n=jo(r,o),s=Qo(e,n,o);s in this.freeTextures||(this.freeTextures[s]=[]),s in this.usedTextures||(this.usedTextures[s]=[]);let i=qo(e,n,this.gpgpu.gl,this.gpgpu.textureConfig,o);if(this.freeTextures[s].length>0){this.numFreeTextures--,this.numUsedTextures++,this._numBytesFree-=i,this.log();let u=this.freeTextures[s].pop();return this.usedTextures[s].push(u),u}let a;return n===P.PACKED_2X2_FLOAT32?a=this.gpgpu.createPackedMatrixTexture(e[0],e[1]):n===P.PACKED_2X2_FLOAT16?a=this.gpgpu.createFloat16PackedMatrixTexture(e[0],e[1]):n===P.UNPACKED_FLOAT32?a=this.gpgpu.createFloat32MatrixTexture(e[0],e[1]):n===P.UNPACKED_FLOAT16?a=this.gpgpu.createFloat16MatrixTexture(e[0],e[1]):n===P.PACKED_4X1_UNSIGNED_BYTE&&(a=this.gpgpu.createUnsignedBytesMatrixTexture(e[0],e[1])),this.usedTextures[s].push(a),this.numUsedTextures++,this._numBytesAllocated+=i,this.log(),a}releaseTexture(e,r,o,n){if(this.freeTextures==null)return;let s=jo(o,n),i=Qo(r,s,n);i in this.freeTextures||(this.freeTextures[i]=[]);let a=qo(r,s,this.gpgpu.gl,this.gpgpu.textureConfig,n),u=T().getNumber("WEBGL_DELETE_TEXTURE_THRESHOLD");u!==-1&&this._numBytesAllocated>u?(this.gpgpu.deleteMatrixTexture(e.texture),this._numBytesAllocated-=a):(this.freeTextures[i].push(e),this.numFreeTextures++,this._numBytesFree+=a),this.numUsedTextures--;let l=this.usedTextures[i],c=l&&l.indexOf(e);if(c==null||c<0)throw new Error("Cannot release a texture that was never provided by this texture manager");l[c]=l[l.length-1],l.pop(),this.log()}log(){if(!this.logEnabled)return;let e=this.numFreeTextures+this.numUsedTextures;console.log("Free/Used",`${this.numFreeTextures} / ${this.numUsedTextures}`,`(${e})`);let r=this._numBytesFree/this._numBytesAllocated;console.log(`Bytes allocated: ${this._numBytesAllocated}`),console.log(`Bytes unused: ${this._numBytesFree} (${Math.round(100*r)}%)`)}get numBytesAllocated(){return this._numBytesAllocated}get numBytesFree(){return this._numBytesFree}getNumUsedTextures(){return this.numUsedTextures}getNumFreeTextures(){return this.numFreeTextures}dispose(){if(this.freeTextures!=null){for(let e in this.freeTextures)this.freeTextures[e].forEach(r=>{this.gpgpu.deleteMatrixTexture(r.texture)});for(let e in this.usedTextures)this.usedTextures[e].forEach(r=>{this.gpgpu.deleteMatrixTexture(r.texture)});this.freeTextures=null,this.usedTextures=null,this.numUsedTextures=0,this.numFreeTextures=0,this._numBytesAllocated=0,this._numBytesFree=0}}};function Qs(t,e){let r=t;if(e===r.R32F)return 4;if(e===r.R16F)return 2;if(e===r.RGBA32F)return 16;if(e===t.RGBA)return 16;if(e===r.RGBA16F)return 8;if(e===r.RGBA8)return 4;throw new Error(`Unknown internal format ${e}`)}function qo(t,e,r,o,n){let s=Zs(e,o),i;if(n){let[u,l]=K(t[0],t[1]);i=u*l}else{let[u,l]=ue(t[0],t[1]);i=u*l}let a=Qs(r,s);return i*a}function Zs(t,e){switch(t){case P.PACKED_2X2_FLOAT32:return Zt(e);case P.PACKED_2X2_FLOAT16:return Jt(e);case P.UNPACKED_FLOAT32:return qt(e);case P.UNPACKED_FLOAT16:return jt(e);case P.PACKED_4X1_UNSIGNED_BYTE:return Qt(e);default:throw new Error(`Unknown physical texture type ${t}`)}}function Js(t){return T().getBool("WEBGL_RENDER_FLOAT32_ENABLED")?t?P.PACKED_2X2_FLOAT32:P.UNPACKED_FLOAT32:t?P.PACKED_2X2_FLOAT16:P.UNPACKED_FLOAT16}function jo(t,e){if(t===k.UPLOAD)return P.PACKED_2X2_FLOAT32;if(t===k.RENDER||t==null)return Js(e);if(t===k.DOWNLOAD||t===k.PIXELS)return P.PACKED_4X1_UNSIGNED_BYTE;throw new Error(`Unknown logical texture type ${t}`)}function Qo(t,e,r){return`${t[0]}_${t[1]}_${e}_${r}`}var W=class{constructor(e,r){this.variableNames=["A"],this.outputShape=e,this.enableShapeUniforms=O(this.outputShape.length),this.userCode=`
      float unaryOperation(float x) {
        ${r}
      }

      void main() {
        float x = getAAtOutCoords();
        float y = unaryOperation(x);

        setOutput(y);
      }
    `}},Zo="if (isnan(x)) return x;",Jo="return x;",tr="return abs(x);";var en="return (x >= 0.0) ? x : (exp(x) - 1.0);",tn=Zo+`
  return (x < 0.0) ? 0.0 : x;
`,rn=Zo+`
  return (x < 0.0) ? 0.0 : min(6.0, x);
`,Y="return x;",on="return 1.0 / (1.0 + exp(-1.0 * x));";var sn="return x;",an=`
  vec4 result;

  result.r = (x.r >= 0.0) ? x.r : (exp(x.r) - 1.0);
  result.g = (x.g >= 0.0) ? x.g : (exp(x.g) - 1.0);
  result.b = (x.b >= 0.0) ? x.b : (exp(x.b) - 1.0);
  result.a = (x.a >= 0.0) ? x.a : (exp(x.a) - 1.0);

  return result;
`,un=`
  vec4 result = x * vec4(greaterThanEqual(x, vec4(0.0)));
  bvec4 isNaN = isnan(x);

  result.r = isNaN.r ? x.r : result.r;
  result.g = isNaN.g ? x.g : result.g;
  result.b = isNaN.b ? x.b : result.b;
  result.a = isNaN.a ? x.a : result.a;

  return result;
`,ln=`
  vec4 result = min(x, vec4(6.)) * vec4(greaterThanEqual(x, vec4(0.0)));
  bvec4 isNaN = isnan(x);

  result.r = isNaN.r ? x.r : result.r;
  result.g = isNaN.g ? x.g : result.g;
  result.b = isNaN.b ? x.b : result.b;
  result.a = isNaN.a ? x.a : result.a;

  return result;
`,cn="return 1.0 / (1.0 + exp(-1.0 * x));",X=class{constructor(e,r){this.variableNames=["A"],this.packedInputs=!0,this.packedOutput=!0,this.outputShape=e,this.enableShapeUniforms=O(this.outputShape.length),this.userCode=`
      vec4 unaryOperation(vec4 x) {
        ${r}
      }

      void main() {
        vec4 x = getAAtOutCoords();
        vec4 y = unaryOperation(x);

        setOutput(y);
      }
    `}};var dt=class{constructor(e){this.variableNames=["A"],this.packedInputs=!0,this.packedOutput=!1,this.outputShape=e,this.enableShapeUniforms=O(this.outputShape.length);let r=e.length,o=B("rc",r),n=F(r),s=Yo(r,o),i=o.slice(-2),a=r<=1?"rc":`vec2(${i.join(",")})`;this.userCode=`
      void main() {
        ${n} rc = getOutputCoords();
        vec4 packedInput = getA(${s});

        setOutput(getChannel(packedInput, ${a}));
      }
    `}};var ti=Ur.whereImpl,ri=1e-7,oi=1e-4,ht={};function ni(t){return t in ht||(ht[t]={}),ht[t]}var si=T().getNumber("CPU_HANDOFF_SIZE_THRESHOLD"),ii=600;function ai(){return T().global.screen==null?1024:T().global.screen.height*T().global.screen.width*window.devicePixelRatio*ii/1024/1024}var He=class t extends cr{nextDataId(){return t.nextDataId++}constructor(e){if(super(),this.pendingRead=new WeakMap,this.pendingDisposal=new WeakSet,this.dataRefCount=new WeakMap,this.numBytesInGPU=0,this.uploadWaitMs=0,this.downloadWaitMs=0,this.lastGlFlushTime=0,this.warnedAboutMemory=!1,this.pendingDeletes=0,this.disposed=!1,!T().getBool("HAS_WEBGL"))throw new Error("WebGL is not supported on this device");let r;if(e!=null){if(e instanceof Re)r=e;else{let o=M(T().getNumber("WEBGL_VERSION"),e);r=new Re(o)}this.binaryCache={},this.gpgpuCreatedLocally=!1}else{let o=M(T().getNumber("WEBGL_VERSION"));r=new Re(o),this.binaryCache=ni(T().getNumber("WEBGL_VERSION")),this.gpgpuCreatedLocally=!0}this.gpgpu=r,this.canvas=this.gpgpu.gl.canvas,this.textureManager=new pt(this.gpgpu),this.numMBBeforeWarning=ai(),this.texData=new lr(this,j())}numDataIds(){return this.texData.numDataIds()-this.pendingDeletes}writeTexture(e,r,o,n,s,i){let a=this.makeTensorInfo(r,o),u=this.texData.get(a.dataId);u.isPacked=!1,u.texture={texture:e,texShape:[n,s]},u.texShape=[n,s];let l=We(r),c=new Ge(l,!1,i),p=this.runWebGLProgram(c,[a],o,[[n,s]]);return p.shape=r,u.texture=null,this.disposeIntermediateTensorInfo(a),p.dataId}write(e,r,o){if((T().getBool("WEBGL_CHECK_NUMERICAL_PROBLEMS")||T().getBool("DEBUG"))&&this.checkNumericalProblems(e),o==="complex64"&&e!=null)throw new Error("Cannot write to a complex64 dtype. Please use tf.complex(real, imag).");let n={id:this.nextDataId()};return this.texData.set(n,{shape:r,dtype:o,values:e,usage:k.UPLOAD,refCount:1}),n}refCount(e){return this.texData.has(e)?this.texData.get(e).refCount:0}incRef(e){let r=this.texData.get(e);r.refCount++}decRef(e){if(this.texData.has(e)){let r=this.texData.get(e);r.refCount--}}move(e,r,o,n,s){if(T().getBool("DEBUG")&&this.checkNumericalProblems(r),n==="complex64")throw new Error("Cannot write to a complex64 dtype. Please use tf.complex(real, imag).");this.texData.set(e,{shape:o,dtype:n,values:r,usage:k.UPLOAD,refCount:s})}disposeIntermediateTensorInfo(e){this.disposeData(e.dataId)}readSync(e){let r=this.texData.get(e),{values:o,dtype:n,complexTensorInfos:s,slice:i,shape:a,isPacked:u}=r;if(i!=null){let d;u?d=new X(a,Y):d=new W(a,Y);let h=this.runWebGLProgram(d,[{dataId:e,shape:a,dtype:n}],n),f=this.readSync(h.dataId);return this.disposeIntermediateTensorInfo(h),f}if(o!=null)return this.convertAndCacheOnCPU(e);if(n==="string")return o;let l=this.activeTimers!=null,c;l&&(c=x.now());let p;if(n==="complex64"){let d=this.readSync(s.real.dataId),h=this.readSync(s.imag.dataId);p=_.mergeRealAndImagArrays(d,h)}else p=this.getValuesFromTexture(e);return l&&(this.downloadWaitMs+=x.now()-c),this.convertAndCacheOnCPU(e,p)}async read(e){if(this.pendingRead.has(e)){let f=this.pendingRead.get(e);return new Promise(g=>f.push(g))}let r=this.texData.get(e),{values:o,shape:n,slice:s,dtype:i,complexTensorInfos:a,isPacked:u}=r;if(s!=null){let f;u?f=new X(n,Y):f=new W(n,Y);let g=this.runWebGLProgram(f,[{dataId:e,shape:n,dtype:i}],i),C=this.read(g.dataId);return this.disposeIntermediateTensorInfo(g),C}if(o!=null)return this.convertAndCacheOnCPU(e);if(T().getBool("DEBUG")&&!T().getBool("WEBGL_DOWNLOAD_FLOAT_ENABLED")&&T().getNumber("WEBGL_VERSION")===2)throw new Error("tensor.data() with WEBGL_DOWNLOAD_FLOAT_ENABLED=false and WEBGL_VERSION=2 not yet supported.");let l=null,c;if(i!=="complex64"&&T().get("WEBGL_BUFFER_SUPPORTED")){c=this.decode(e);let f=this.texData.get(c.dataId);l=this.gpgpu.createBufferFromTexture(f.texture.texture,...ke(n))}this.pendingRead.set(e,[]),i!=="complex64"&&await this.gpgpu.createAndWaitForFence();let p;if(i==="complex64"){let f=await Promise.all([this.read(a.real.dataId),this.read(a.imag.dataId)]),g=f[0],C=f[1];p=_.mergeRealAndImagArrays(g,C)}else if(l==null)p=this.getValuesFromTexture(e);else{let f=x.sizeFromShape(n);p=this.gpgpu.downloadFloat32MatrixFromBuffer(l,f)}if(c!=null&&this.disposeIntermediateTensorInfo(c),l!=null){let f=this.gpgpu.gl;$(f,()=>f.deleteBuffer(l))}let d=this.convertAndCacheOnCPU(e,p),h=this.pendingRead.get(e);return this.pendingRead.delete(e),h.forEach(f=>f(d)),this.pendingDisposal.has(e)&&(this.pendingDisposal.delete(e),this.disposeData(e)&&j().removeDataId(e,this),this.pendingDeletes--),d}readToGPU(e,r={}){let o=this.texData.get(e),{values:n,shape:s,slice:i,dtype:a,isPacked:u,texture:l}=o;if(a==="complex64")throw new Error("Does not support reading texture for complex64 dtype.");if(i!=null){let h;u?h=new X(s,Y):h=new W(s,Y);let f=this.runWebGLProgram(h,[{dataId:e,shape:s,dtype:a}],a),g=this.readToGPU(f,r);return this.disposeIntermediateTensorInfo(f),g}if(l==null)throw n!=null?new Error("Data is not on GPU but on CPU."):new Error("There is no data on GPU or CPU.");let c=this.decode(e,r.customTexShape),p=j().makeTensorFromTensorInfo(c),d=this.texData.get(c.dataId);return Object.assign({tensorRef:p},d.texture)}bufferSync(e){let r=this.readSync(e.dataId);if(e.dtype==="string")try{let o=r.map(n=>x.decodeString(n));return Le(e.shape,e.dtype,o)}catch{throw new Error("Failed to decode encoded string bytes into utf-8")}return Le(e.shape,e.dtype,r)}checkNumericalProblems(e){if(e!=null)for(let r=0;r<e.length;r++){let o=e[r];if(!Wr(o))throw T().getBool("WEBGL_RENDER_FLOAT32_CAPABLE")?Error(`The value ${o} cannot be represented with your current settings. Consider enabling float32 rendering: 'tf.env().set('WEBGL_RENDER_FLOAT32_ENABLED', true);'`):Error(`The value ${o} cannot be represented on this device.`)}}getValuesFromTexture(e){let{shape:r,dtype:o,isPacked:n}=this.texData.get(e),s=x.sizeFromShape(r);if(T().getBool("WEBGL_DOWNLOAD_FLOAT_ENABLED")){let d=this.decode(e),h=this.texData.get(d.dataId),f=this.gpgpu.downloadMatrixFromPackedTexture(h.texture.texture,...ke(r)).subarray(0,s);return this.disposeIntermediateTensorInfo(d),f}let i=T().getBool("WEBGL_PACK")&&n===!0,a=i?We(r):r,u=i?new ut(a):new at(a),l=this.runWebGLProgram(u,[{shape:a,dtype:o,dataId:e}],"float32"),c=this.texData.get(l.dataId),p=this.gpgpu.downloadByteEncodedFloatMatrixFromOutputTexture(c.texture.texture,c.texShape[0],c.texShape[1]).subarray(0,s);return this.disposeIntermediateTensorInfo(l),p}timerAvailable(){return T().getNumber("WEBGL_DISJOINT_QUERY_TIMER_EXTENSION_RELIABLE")>0}time(e){let r=this.activeTimers,o=[],n=!1;this.programTimersStack==null?(this.programTimersStack=o,n=!0):this.activeTimers.push(o),this.activeTimers=o,e();let s=x.flatten(this.activeTimers.map(u=>u.query)).filter(u=>u!=null),i=x.flatten(this.activeTimers.map(u=>u.name)).filter(u=>u!=null);this.activeTimers=r,n&&(this.programTimersStack=null);let a={uploadWaitMs:this.uploadWaitMs,downloadWaitMs:this.downloadWaitMs,kernelMs:null,wallMs:null};return(async()=>{if(T().getNumber("WEBGL_DISJOINT_QUERY_TIMER_EXTENSION_RELIABLE")>0){let u=await Promise.all(s);a.kernelMs=x.sum(u),a.getExtraProfileInfo=()=>u.map((l,c)=>({name:i[c],ms:l})).map(l=>`${l.name}: ${l.ms}`).join(", ")}else a.kernelMs={error:"WebGL query timers are not supported in this environment."};return this.uploadWaitMs=0,this.downloadWaitMs=0,a})()}memory(){return{unreliable:!1,numBytesInGPU:this.numBytesInGPU,numBytesInGPUAllocated:this.textureManager.numBytesAllocated,numBytesInGPUFree:this.textureManager.numBytesFree}}startTimer(){return T().getNumber("WEBGL_DISJOINT_QUERY_TIMER_EXTENSION_RELIABLE")>0?this.gpgpu.beginQuery():{startMs:x.now(),endMs:null}}endTimer(e){return T().getNumber("WEBGL_DISJOINT_QUERY_TIMER_EXTENSION_RELIABLE")>0?(this.gpgpu.endQuery(),e):(e.endMs=x.now(),e)}async getQueryTime(e){if(T().getNumber("WEBGL_DISJOINT_QUERY_TIMER_EXTENSION_RELIABLE")>0)return this.gpgpu.waitForQueryAndGetTime(e);let r=e;return r.endMs-r.startMs}disposeData(e,r=!1){if(this.pendingDisposal.has(e))return!1;if(!this.texData.has(e))return!0;if(r?this.texData.get(e).refCount=0:this.texData.get(e).refCount--,!r&&this.texData.get(e).refCount>0)return!1;if(this.pendingRead.has(e))return this.pendingDisposal.add(e),this.pendingDeletes++,!1;this.releaseGPUData(e);let{complexTensorInfos:o}=this.texData.get(e);return o!=null&&(this.disposeData(o.real.dataId,r),this.disposeData(o.imag.dataId,r)),this.texData.delete(e),!0}releaseGPUData(e){let{texture:r,dtype:o,texShape:n,usage:s,isPacked:i,slice:a}=this.texData.get(e),u=a&&a.origDataId||e,l=this.dataRefCount.get(u);l>1?this.dataRefCount.set(u,l-1):(this.dataRefCount.delete(u),r!=null&&(this.numBytesInGPU-=this.computeBytes(n,o),this.textureManager.releaseTexture(r,n,s,i)));let c=this.texData.get(e);c.texture=null,c.texShape=null,c.isPacked=!1,c.slice=null}getTexture(e){return this.uploadToGPU(e),this.texData.get(e).texture.texture}getDataInfo(e){return this.texData.get(e)}shouldExecuteOnCPU(e,r=si){return T().getBool("WEBGL_CPU_FORWARD")&&e.every(o=>this.texData.get(o.dataId).texture==null&&x.sizeFromShape(o.shape)<r)}getGPGPUContext(){return this.gpgpu}where(e){_.warn("tf.where() in webgl locks the UI thread. Call tf.whereAsync() instead");let r=e.dataSync();return ti(e.shape,r)}packedUnaryOp(e,r,o){let n=new X(e.shape,r),s=this.compileAndRun(n,[e],o);return j().makeTensorFromTensorInfo(s)}abs(e){if(this.shouldExecuteOnCPU([e])&&e.dtype!=="complex64"){let n=zo(this.texData.get(e.dataId).values);return this.makeOutput(e.shape,e.dtype,n)}if(T().getBool("WEBGL_PACK_UNARY_OPERATIONS"))return this.packedUnaryOp(e,tr,e.dtype);let r=new W(e.shape,tr),o=this.compileAndRun(r,[e]);return j().makeTensorFromTensorInfo(o)}makeTensorInfo(e,r,o){let n;if(r==="string"&&o!=null&&o.length>0&&x.isString(o[0])){let s=o.map(i=>x.encodeString(i));n=this.write(s,e,r)}else n=this.write(o,e,r);return this.texData.get(n).usage=null,{dataId:n,shape:e,dtype:r}}makeOutput(e,r,o){return j().makeTensorFromTensorInfo(this.makeTensorInfo(e,r,o),this)}unpackTensor(e){let r=new dt(e.shape);return this.runWebGLProgram(r,[e],e.dtype)}packTensor(e){let r=new ct(e.shape);return this.runWebGLProgram(r,[e],e.dtype,null,!0)}packedReshape(e,r){let o=[te(e.shape),...re(e.shape)],n={dtype:e.dtype,shape:o,dataId:e.dataId},s=[te(r),...re(r)],i=new be(s,o),a=!0,u=[o],l=this.runWebGLProgram(i,[n],e.dtype,u,a);return{dataId:l.dataId,shape:r,dtype:l.dtype}}decode(e,r){let o=this.texData.get(e),{isPacked:n,shape:s,dtype:i}=o;if(r!=null){let d=x.sizeFromShape(s),h=r[0]*r[1]*4;x.assert(d<=h,()=>"customTexShape is too small. Row * Column * 4 should be equal or larger than the size of the tensor data.")}let a=We(s),u;n?u=new it(a):u=new st(a);let l=!0,c=[r??ke(a)],p=this.runWebGLProgram(u,[{shape:a,dtype:i,dataId:e}],i,c,l,r);return{dtype:i,shape:s,dataId:p.dataId}}runWebGLProgram(e,r,o,n,s=!1,i){let a=this.makeTensorInfo(e.outputShape,o),u=this.texData.get(a.dataId);if(e.packedOutput&&(u.isPacked=!0),e.outPackingScheme===ee.DENSE){let m=i??ke(e.outputShape);u.texShape=m.map(v=>v*2)}if(e.outTexUsage!=null&&(u.usage=e.outTexUsage),x.sizeFromShape(a.shape)===0)return u.values=x.getTypedArrayFromDType(a.dtype,0),a;let l=[],c=r.map(m=>{if(m.dtype==="complex64")throw new Error("GPGPUProgram does not support complex64 input. For complex64 dtypes, please separate the program into real and imaginary parts.");let v=this.texData.get(m.dataId);if(v.texture==null){if(!e.packedInputs&&x.sizeFromShape(m.shape)<=T().getNumber("WEBGL_SIZE_UPLOAD_UNIFORM"))return{shape:m.shape,texData:null,isUniform:!0,uniformValues:v.values};e.packedInputs&&(v.isPacked=!0,v.shape=m.shape)}if(this.uploadToGPU(m.dataId),!!v.isPacked!=!!e.packedInputs)m=v.isPacked?this.unpackTensor(m):this.packTensor(m),l.push(m),v=this.texData.get(m.dataId);else if(v.isPacked&&!le(v.shape,m.shape)){let b=m,E=m.shape;m.shape=v.shape,m=this.packedReshape(m,E),l.push(m),v=this.texData.get(m.dataId),b.shape=E}return{shape:m.shape,texData:v,isUniform:!1}});this.uploadToGPU(a.dataId);let p={shape:a.shape,texData:u,isUniform:!1},d=Co(e,c,p),h=this.getAndSaveBinary(d,()=>xo(this.gpgpu,e,c,p)),f=this.activeTimers!=null,g;f&&(g=this.startTimer()),T().get("ENGINE_COMPILE_ONLY")||go(this.gpgpu,h,c,p,n),l.forEach(m=>this.disposeIntermediateTensorInfo(m)),f&&(g=this.endTimer(g),this.activeTimers.push({name:e.constructor.name,query:this.getQueryTime(g)}));let C=T().getNumber("WEBGL_FLUSH_THRESHOLD");if(C>0){let m=x.now();m-this.lastGlFlushTime>C&&(this.gpgpu.gl.flush(),this.lastGlFlushTime=m)}if(!T().getBool("WEBGL_LAZILY_UNPACK")&&u.isPacked&&s===!1){let m=this.unpackTensor(a);return this.disposeIntermediateTensorInfo(a),m}return a}compileAndRun(e,r,o,n,s=!1){return o=o||r[0].dtype,this.runWebGLProgram(e,r,o,n,s)}getAndSaveBinary(e,r){return e in this.binaryCache||(this.binaryCache[e]=r()),this.binaryCache[e]}getTextureManager(){return this.textureManager}dispose(){this.disposed||(T().getBool("IS_TEST")||Object.keys(this.binaryCache).forEach(r=>{this.gpgpu.deleteProgram(this.binaryCache[r].webGLProgram),delete this.binaryCache[r]}),this.textureManager.dispose(),this.canvas!=null&&typeof HTMLCanvasElement<"u"&&this.canvas instanceof HTMLCanvasElement?this.canvas.remove():this.canvas=null,this.gpgpuCreatedLocally&&(this.gpgpu.program=null,this.gpgpu.dispose()),this.disposed=!0)}floatPrecision(){return this.floatPrecisionValue==null&&(this.floatPrecisionValue=Or(()=>{if(!T().get("WEBGL_RENDER_FLOAT32_ENABLED")){let e=T().getBool("DEBUG");T().set("DEBUG",!1);let r=this.abs(Nr(1e-8)).dataSync()[0];if(T().set("DEBUG",e),r>0)return 32}return 16})),this.floatPrecisionValue}epsilon(){return this.floatPrecision()===32?ri:oi}uploadToGPU(e){let r=this.texData.get(e),{shape:o,dtype:n,values:s,texture:i,usage:a,isPacked:u}=r;if(i!=null)return;let l=this.activeTimers!=null,c;l&&(c=x.now());let p=r.texShape;if(p==null&&(p=to(o,u),r.texShape=p),s!=null){let d=We(o),h,f=p[1],g=p[0],C=s instanceof Uint8Array||s instanceof Uint8ClampedArray;(u||!C)&&([f,g]=K(p[0],p[1])),u?h=new lt(d,C):h=new Ge(d,C);let m=C?[g,f]:p,v=this.makeTensorInfo(m,n),b=this.texData.get(v.dataId);C?b.usage=k.PIXELS:b.usage=k.UPLOAD,b.texShape=m,this.gpgpu.uploadDenseMatrixToTexture(this.getTexture(v.dataId),f,g,s);let E=[[g,f]],A=this.runWebGLProgram(h,[v],n,E,!0),w=this.texData.get(A.dataId);r.texShape=w.texShape,r.isPacked=w.isPacked,r.usage=w.usage,T().get("ENGINE_COMPILE_ONLY")?this.disposeData(A.dataId):(r.texture=w.texture,r.values=null,this.texData.delete(A.dataId)),this.disposeIntermediateTensorInfo(v),l&&(this.uploadWaitMs+=x.now()-c)}else{let d=this.acquireTexture(p,a,n,u);r.texture=d}}convertAndCacheOnCPU(e,r){let o=this.texData.get(e),{dtype:n}=o;return r!=null&&(o.values=ui(r,n)),o.values}acquireTexture(e,r,o,n){if(this.numBytesInGPU+=this.computeBytes(e,o),!this.warnedAboutMemory&&this.numBytesInGPU>this.numMBBeforeWarning*1024*1024){let s=(this.numBytesInGPU/1024/1024).toFixed(2);this.warnedAboutMemory=!0,console.warn(`High memory usage in GPU: ${s} MB, most likely due to a memory leak`)}return this.textureManager.acquireTexture(e,r,n)}computeBytes(e,r){return e[0]*e[1]*x.bytesPerElement(r)}checkCompileCompletion(){for(let[,e]of Object.entries(this.binaryCache))this.checkCompletion_(e)}async checkCompileCompletionAsync(){let e=[];if(this.gpgpu.parallelCompilationExtension){for(let[,r]of Object.entries(this.binaryCache))e.push(this.checkCompletionAsync_(r));return Promise.all(e)}else{for(let[,r]of Object.entries(this.binaryCache)){let o=new Promise(n=>{try{this.checkCompletion_(r),n(!0)}catch(s){throw s}});e.push(o)}return Promise.all(e)}}async checkCompletionAsync_(e){return this.gpgpu.gl.getProgramParameter(e.webGLProgram,this.gpgpu.parallelCompilationExtension.COMPLETION_STATUS_KHR)?this.checkCompletion_(e):(await Lr(),this.checkCompletionAsync_(e))}checkCompletion_(e){if(this.gpgpu.gl.getProgramParameter(e.webGLProgram,this.gpgpu.gl.LINK_STATUS)===!1)throw console.log(this.gpgpu.gl.getProgramInfoLog(e.webGLProgram)),this.gpgpu.gl.getShaderParameter(e.fragmentShader,this.gpgpu.gl.COMPILE_STATUS)===!1?(zt(e.source,this.gpgpu.gl.getShaderInfoLog(e.fragmentShader)),new Error("Failed to compile fragment shader.")):new Error("Failed to link vertex and fragment shaders.");return!0}getUniformLocations(){for(let e of Object.values(this.binaryCache)){this.gpgpu.buildVao(e.webGLProgram);let{variablesLocations:r,customUniformLocations:o,infLoc:n,nanLoc:s,outShapeLocation:i,outShapeStridesLocation:a,outTexShapeLocation:u}=Yt(this.gpgpu,e.program,e.webGLProgram);e.variablesLocations=r,e.customUniformLocations=o,e.infLoc=n,e.nanLoc=s,e.outShapeLocation=i,e.outShapeStridesLocation=a,e.outTexShapeLocation=u}}createTensorFromGPUData(e,r,o){e.channels=e.channels||"RGBA";let{texture:n,height:s,width:i,channels:a}=e,u=j().backend;if(!u.gpgpu.gl.isTexture(n))throw new Error("The texture is invalid. Also, please make sure the texture and the TFJS WebGL backend are using the same canvas. If you want to use your own custom canvas, you have to create and use the custom TFJS WebGL backend created from the canvas through 'new tf.MathBackendWebGL(customCanvas)'.");let l=u.writeTexture(n,r,o,s,i,a);return j().makeTensorFromDataId(l,r,o,u)}};He.nextDataId=0;function ui(t,e){if(e==="float32"||e==="complex64")return t;if(e==="int32"||e==="bool"){let r=e==="int32"?new Int32Array(t.length):new Uint8Array(t.length);for(let o=0;o<r.length;++o)r[o]=Math.round(t[o]);return r}else throw new Error(`Unknown dtype ${e}`)}var de=class{constructor(e,r,o){this.variableNames=["A","B"],this.outputShape=_.assertAndGetBroadcastShape(r,o),this.enableShapeUniforms=O(this.outputShape.length),this.userCode=`
      float binaryOperation(float a, float b) {
        ${e}
      }

      void main() {
        float a = getAAtOutCoords();
        float b = getBAtOutCoords();
        setOutput(binaryOperation(a, b));
      }
    `}};var ft=`
  result.r = isNaN.r ? NAN : result.r;
  result.g = isNaN.g ? NAN : result.g;
  result.b = isNaN.b ? NAN : result.b;
  result.a = isNaN.a ? NAN : result.a;
`;var Ie=class{constructor(e,r,o,n=!1){this.variableNames=["A","B"],this.supportsBroadcasting=!0,this.packedInputs=!0,this.packedOutput=!0,this.outputShape=_.assertAndGetBroadcastShape(r,o);let s=this.outputShape.length;this.enableShapeUniforms=O(s);let i="";if(n)if(s===0||x.sizeFromShape(this.outputShape)===1)i=`
          result.y = 0.;
          result.z = 0.;
          result.w = 0.;
        `;else if(i=`
          ${F(s)} coords = getOutputCoords();
        `,s===1)this.enableShapeUniforms?i+=`
            result.y = (coords + 1) >= outShape ? 0. : result.y;
            result.z = 0.;
            result.w = 0.;
          `:i+=`
            result.y = (coords + 1) >= ${this.outputShape[0]} ? 0. : result.y;
            result.z = 0.;
            result.w = 0.;
          `;else{let u=B("coords",s);this.enableShapeUniforms?i+=`
            bool nextRowOutOfBounds =
              (${u[s-2]} + 1) >= outShape[${s} - 2];
            bool nextColOutOfBounds =
              (${u[s-1]} + 1) >= outShape[${s} - 1];
            result.y = nextColOutOfBounds ? 0. : result.y;
            result.z = nextRowOutOfBounds ? 0. : result.z;
            result.w = nextColOutOfBounds || nextRowOutOfBounds ? 0. : result.w;
          `:i+=`
            bool nextRowOutOfBounds =
              (${u[s-2]} + 1) >= ${this.outputShape[s-2]};
            bool nextColOutOfBounds =
              (${u[s-1]} + 1) >= ${this.outputShape[s-1]};
            result.y = nextColOutOfBounds ? 0. : result.y;
            result.z = nextRowOutOfBounds ? 0. : result.z;
            result.w = nextColOutOfBounds || nextRowOutOfBounds ? 0. : result.w;
          `}this.userCode=`
      vec4 binaryOperation(vec4 a, vec4 b) {
        ${e}
      }

      void main() {
        vec4 a = getAAtOutCoords();
        vec4 b = getBAtOutCoords();

        vec4 result = binaryOperation(a, b);
        ${i}

        setOutput(result);
      }
    `}};function L(t){let{inputs:e,backend:r}=t,{x:o}=e;return r.incRef(o.dataId),{dataId:o.dataId,shape:o.shape,dtype:o.dtype}}var pn={kernelName:xr,backendName:"webgl",kernelFunc:L};function oe(t){let{inputs:e,backend:r}=t,{real:o,imag:n}=e,s=r.makeTensorInfo(o.shape,"complex64"),i=r.texData.get(s.dataId),a=L({inputs:{x:o},backend:r}),u=L({inputs:{x:n},backend:r});return i.complexTensorInfos={real:a,imag:u},s}var dn="return (a < 0.) ? b * a : a;",hn=`
  vec4 aLessThanZero = vec4(lessThan(a, vec4(0.)));
  return (aLessThanZero * (b * a)) + ((vec4(1.0) - aLessThanZero) * a);
`;var fn="return (a < 0.) ? b * a : a;",mn=`
  vec4 aLessThanZero = vec4(lessThan(a, vec4(0.)));
  return (aLessThanZero * (b * a)) + ((vec4(1.0) - aLessThanZero) * a);
`;var ne="if (isnan(x)) return x;";function q({opSnippet:t,packedOpSnippet:e,cpuKernelImpl:r,dtype:o}){return({inputs:n,backend:s})=>{let{x:i}=n,a=s,u=o||i.dtype;if(a.shouldExecuteOnCPU([i])&&r!=null){let p=a.texData.get(i.dataId),d=r(p.values,u);return a.makeTensorInfo(i.shape,u,d)}let l=T().getBool("WEBGL_PACK_UNARY_OPERATIONS")&&e!=null,c;return l?c=new X(i.shape,e):c=new W(i.shape,t),a.runWebGLProgram(c,[i],u)}}function se({opSnippet:t,packedOpSnippet:e,checkOutOfBounds:r=!1,supportsComplex:o=!1,cpuKernelImpl:n,dtype:s}){return({inputs:i,backend:a})=>{let{a:u,b:l}=i,c=a;if(o&&u.dtype==="complex64"){let f=c.texData.get(u.dataId),g=c.texData.get(l.dataId),[C,m]=[[f.complexTensorInfos.real,g.complexTensorInfos.real],[f.complexTensorInfos.imag,g.complexTensorInfos.imag]].map(b=>{let[E,R]=b,A={dataId:E.dataId,dtype:E.dtype,shape:u.shape},w={dataId:R.dataId,dtype:R.dtype,shape:l.shape},y=new de(t,u.shape,l.shape);return c.runWebGLProgram(y,[A,w],Pe(E.dtype,R.dtype))}),v=oe({inputs:{real:C,imag:m},backend:c});return c.disposeIntermediateTensorInfo(C),c.disposeIntermediateTensorInfo(m),v}let p=s||Pe(u.dtype,l.dtype);if((u.dtype==="string"||l.dtype==="string"||c.shouldExecuteOnCPU([u,l]))&&n!=null){let f=c.texData.get(u.dataId).values,g=c.texData.get(l.dataId).values,C=u.dtype==="string"?_.fromUint8ToStringArray(f):f,m=u.dtype==="string"?_.fromUint8ToStringArray(g):g,[v,b]=n(u.shape,l.shape,C,m,p),E=c.makeTensorInfo(b,p),R=c.texData.get(E.dataId);return R.values=v,E}let d=T().getBool("WEBGL_PACK_BINARY_OPERATIONS")&&e!=null,h;return d?h=new Ie(e,u.shape,l.shape,r):h=new de(t,u.shape,l.shape),c.runWebGLProgram(h,[u,l],p)}}function he(t,e=!1){if(t==="linear")return e?sn:Jo;if(t==="relu")return e?un:tn;if(t==="elu")return e?an:en;if(t==="relu6")return e?ln:rn;if(t==="prelu")return e?mn:fn;if(t==="leakyrelu")return e?hn:dn;if(t==="sigmoid")return e?cn:on;throw new Error(`Activation ${t} has not been implemented for the WebGL backend.`)}var we=class{constructor(e,r,o,n=!1,s=!1,i=!1,a=null,u=!1,l=!1){this.variableNames=["matrixA","matrixB"],this.packedInputs=!0,this.packedOutput=!0,this.outputShape=o,this.enableShapeUniforms=O(this.outputShape.length);let c=n?e[1]:e[2],p=Math.ceil(c/2),d=n?"i * 2, rc.y":"rc.y, i * 2",h=s?"rc.z, i * 2":"i * 2, rc.z",f=n?["a.xxyy","a.zzww"]:["a.xxzz","a.yyww"],g=s?["b.xzxz","b.ywyw"]:["b.xyxy","b.zwzw"],C="",m="";a&&(u?C=`vec4 activation(vec4 a) {
          vec4 b = getPreluActivationWeightsAtOutCoords();
          ${a}
        }`:l?C=`vec4 activation(vec4 a) {
          vec4 b = getLeakyreluAlphaAtOutCoords();
          ${a}
        }`:C=`vec4 activation(vec4 x) {
          ${a}
        }`,m="result = activation(result);");let v=i?"result += getBiasAtOutCoords();":"";i&&this.variableNames.push("bias"),u&&this.variableNames.push("preluActivationWeights"),l&&this.variableNames.push("leakyreluAlpha");let b="rc.x",E="rc.x";e[0]<r[0]?b=`imod(rc.x, ${e[0]})`:r[0]<e[0]&&(E=`imod(rc.x, ${r[0]})`),this.userCode=`
      ${C}
      // Don't use uniform for sharedDimensionPacked for performance.
      const float sharedDimension = ${p}.0;

      vec4 dot2x2ARowBCol(ivec3 rc) {
        vec4 result = vec4(0);
        int batchA = ${b};
        int batchB = ${E};
        for (int i = 0; i < ${p}; i++) {
          vec4 a = getMatrixA(batchA, ${d});
          vec4 b = getMatrixB(batchB, ${h});

          // These swizzled products need to be separately added.
          // See: https://github.com/tensorflow/tfjs/issues/1735
          result += (${f[0]} * ${g[0]});
          result += (${f[1]} * ${g[1]});
        }
        return result;
      }

      void main() {
        ivec3 rc = getOutputCoords();
        vec4 result = dot2x2ARowBCol(rc);

        ${v}

        ${m}

        setOutput(result);
      }
    `}};var rr={REAL:"return areal * breal - aimag * bimag;",IMAG:"return areal * bimag + aimag * breal;"},Ke=class{constructor(e,r,o){this.variableNames=["AReal","AImag","BReal","BImag"],this.outputShape=_.assertAndGetBroadcastShape(r,o),this.userCode=`
      float binaryOpComplex(
          float areal, float aimag, float breal, float bimag) {
        ${e}
      }

      void main() {
        float areal = getARealAtOutCoords();
        float aimag = getAImagAtOutCoords();
        float breal = getBRealAtOutCoords();
        float bimag = getBImagAtOutCoords();
        setOutput(binaryOpComplex(areal, aimag, breal, bimag));
      }
    `}};var xn="return a * b;";function or(t){let{inputs:e,backend:r}=t,{a:o,b:n}=e,s=_.upcastType(o.dtype,n.dtype);if(o.dtype==="complex64"){let a=r.texData.get(o.dataId),u=r.texData.get(n.dataId),l=new Ke(rr.REAL,o.shape,n.shape),c=new Ke(rr.IMAG,o.shape,n.shape),p=[{dataId:a.complexTensorInfos.real.dataId,dtype:a.complexTensorInfos.real.dtype,shape:o.shape},{dataId:a.complexTensorInfos.imag.dataId,dtype:a.complexTensorInfos.imag.dtype,shape:o.shape},{dataId:u.complexTensorInfos.real.dataId,dtype:u.complexTensorInfos.real.dtype,shape:n.shape},{dataId:u.complexTensorInfos.imag.dataId,dtype:u.complexTensorInfos.imag.dtype,shape:n.shape}],d=r.runWebGLProgram(l,p,"float32"),h=r.runWebGLProgram(c,p,"float32"),f=oe({inputs:{real:d,imag:h},backend:r});return r.disposeIntermediateTensorInfo(d),r.disposeIntermediateTensorInfo(h),f}if(r.shouldExecuteOnCPU([o,n])){let a=r.texData.get(o.dataId),u=r.texData.get(n.dataId),[l,c]=Mo(o.shape,n.shape,a.values,u.values,s),p=r.makeTensorInfo(c,s),d=r.texData.get(p.dataId);return d.values=l,p}let i;return T().getBool("WEBGL_PACK_BINARY_OPERATIONS")?i=new Ie(xn,o.shape,n.shape):i=new de(xn,o.shape,n.shape),r.runWebGLProgram(i,[o,n],s)}var gn={kernelName:gr,backendName:"webgl",kernelFunc:or};function Cn(t,e,r){let o=[te(t.shape),...re(t.shape)],n={dtype:t.dtype,shape:o,dataId:t.dataId},s=[te(e),...re(e)],i=new be(s,o),a=!0,u=[o],l=r.runWebGLProgram(i,[n],t.dtype,u,a);return{dataId:l.dataId,shape:e,dtype:l.dtype}}function I(t){let{inputs:e,backend:r,attrs:o}=t,{x:n}=e,{shape:s}=o,i=r,a=x.sizeFromShape(n.shape),u=x.inferFromImplicitShape(s,a),l=x.sizeFromShape(u);x.assert(a===l,()=>`The new shape (${u}) has ${l} elements and the old shape (${n.shape}) has ${a} elements. The new shape and old shape must have the same number of elements.`);let c=i.texData.get(n.dataId);return c.isPacked&&!le(n.shape,u)&&!(c.texture!==null&&le(c.shape,u))?Cn(n,u,i):(i.incRef(n.dataId),{dataId:n.dataId,shape:u,dtype:n.dtype})}var Tn={kernelName:Tr,backendName:"webgl",kernelFunc:I};var Ye=class{constructor(e,r){this.variableNames=["x"];let{windowSize:o,batchSize:n,inSize:s,outSize:i}=e;this.outputShape=[n,i];let a=Math.floor(o/4)*4,u=o%4,l="sumValue += dot(values, ones);";if(r!=null){let p=1/r;l=`sumValue += dot(values * ${x.isInt(p)?p.toPrecision(2):p}, ones);`}let c="";s%o>0&&(c=`
        if (inIdx < 0 || inIdx >= ${s}) {
          return 0.0;
        }
      `),this.userCode=`
      const vec4 ones = vec4(1.0, 1.0, 1.0, 1.0);

      float getValue(int batch, int inIdx) {
        ${c}
        return getX(batch, inIdx);
      }

      void main() {
        ivec2 coords = getOutputCoords();
        int batch = coords[0];
        int outIdx = coords[1];
        int inOffset = outIdx * ${o};

        float sumValue = 0.0;

        for (int i = 0; i < ${a}; i += 4) {
          int inIdx = inOffset + i;
          vec4 values = vec4(
            getValue(batch, inIdx),
            getValue(batch, inIdx + 1),
            getValue(batch, inIdx + 2),
            getValue(batch, inIdx + 3)
          );

          ${l}
        }

        int inIdx = inOffset + ${a};
        if (${u===1}) {
          vec4 values = vec4(getValue(batch, inIdx), 0.0, 0.0, 0.0);

          ${l}
        } else if (${u===2}) {
          vec4 values = vec4(
            getValue(batch, inIdx),
            getValue(batch, inIdx + 1), 0.0, 0.0);

          ${l}
        } else if (${u===3}) {
          vec4 values = vec4(
            getValue(batch, inIdx),
            getValue(batch, inIdx + 1),
            getValue(batch, inIdx + 2), 0.0);

          ${l}
        }
        setOutput(sumValue);
      }
    `}};var mt=class{constructor(e,r){this.variableNames=["x"];let{windowSize:o,batchSize:n,inSize:s,outSize:i}=e;this.outputShape=[n,i];let a="0.0",u="";r==="prod"?a="1.0":r==="min"?(a="1.0 / 1e-20",u="min"):r==="max"&&(a="-1.0 / 1e-20",u="max");let l=`${r}(${r}(${r}(minMaxValue[0], minMaxValue[1]), minMaxValue[2]), minMaxValue[3])`;r==="sum"?l="sumValue":r==="prod"?l="prodValue":r==="all"?l="allValue":r==="any"&&(l="anyValue");let c=Math.floor(o/4)*4,p=o%4,d=`
      if (${r==="sum"}) {
        sumValue += dot(values, ones);
      } else if (${r==="prod"}) {
        vec2 tmp = vec2(values[0], values[1]) * vec2(values[2], values[3]);
        prodValue *= tmp[0] * tmp[1];
      } else {
        minMaxValue = ${u}(values, minMaxValue);
        if (${r==="min"} || ${r==="max"}) {
          minMaxValue = ${u}(values, minMaxValue);
          bvec4 isNaN = isnan(values);
          if (isNaN.r || isNaN.g || isNaN.b || isNaN.a) {
            minMaxValue = vec4(NAN);
          }
        }
      }
    `,h="vec4";r==="all"?(a="1.0",d=`
        bool reducedAllValue = all(values);
        float floatedReducedAllValue = float(reducedAllValue);
        allValue = float(allValue >= 1.0 && floatedReducedAllValue >= 1.0);
      `,h="bvec4"):r==="any"&&(a="0.0",d=`
        bool reducedAnyValue = any(values);
        float floatedReducedAnyValue = float(reducedAnyValue);
        anyValue = float(anyValue >= 1.0 || floatedReducedAnyValue >= 1.0);
      `,h="bvec4");let f="";s%o>0&&(f=`
        if (inIdx < 0 || inIdx >= ${s}) {
          return initializationValue;
        }
      `),this.userCode=`
      const float initializationValue = ${a};
      const vec4 ones = vec4(1.0, 1.0, 1.0, 1.0);

      float getValue(int batch, int inIdx) {
        ${f}
        return getX(batch, inIdx);
      }

      void main() {
        ivec2 coords = getOutputCoords();
        int batch = coords[0];
        int outIdx = coords[1];
        int inOffset = outIdx * ${o};

        vec4 minMaxValue = vec4(${a});
        float prodValue = 1.0;
        float sumValue = 0.0;
        float allValue = 1.0;
        float anyValue = 0.0;

        for (int i = 0; i < ${c}; i += 4) {
          int inIdx = inOffset + i;
          ${h} values = ${h}(
            getValue(batch, inIdx),
            getValue(batch, inIdx + 1),
            getValue(batch, inIdx + 2),
            getValue(batch, inIdx + 3)
          );

          ${d}
        }

        int inIdx = inOffset + ${c};
        if (${p===1}) {
          ${h} values = ${h}(
            getValue(batch, inIdx),
            initializationValue,
            initializationValue,
            initializationValue
          );

          ${d}
        } else if (${p===2}) {
          ${h} values = ${h}(
            getValue(batch, inIdx),
            getValue(batch, inIdx + 1),
            initializationValue,
            initializationValue
          );

          ${d}
        } else if (${p===3}) {
          ${h} values = ${h}(
            getValue(batch, inIdx),
            getValue(batch, inIdx + 1),
            getValue(batch, inIdx + 2),
            initializationValue
          );

          ${d}
        }
        setOutput(${l});
      }
    `}};function ci(t){let e=[];for(;e.length===0||e[e.length-1].outSize!==1;){let r=e.length?e[e.length-1].outSize:t[1],o=_.computeOptimalWindowSize(r);e.push({inSize:r,windowSize:o,outSize:Math.ceil(r/o)})}return e}function xt(t,e,r,o){let n=ci(t.shape),s=t;for(let i=0;i<n.length;i++){let{inSize:a,windowSize:u,outSize:l}=n[i],c,p;r==="mean"?c=i===0?new Ye({windowSize:u,inSize:a,batchSize:t.shape[0],outSize:l},a):new Ye({windowSize:u,inSize:a,batchSize:t.shape[0],outSize:l}):c=new mt({windowSize:u,inSize:a,batchSize:t.shape[0],outSize:l},r),p=s,s=o.runWebGLProgram(c,[s],e),p.dataId!==t.dataId&&o.disposeIntermediateTensorInfo(p)}return s}var gt=class{constructor(e,r){this.variableNames=["A"];let o=new Array(e.length);for(let i=0;i<o.length;i++)o[i]=e[r[i]];this.outputShape=o,this.rank=o.length;let n=F(this.rank),s=pi(r);this.userCode=`
    void main() {
      ${n} resRC = getOutputCoords();
      setOutput(getA(${s}));
    }
    `}};function pi(t){let e=t.length;if(e>6)throw Error(`Transpose for rank ${e} is not yet supported`);let r=["resRC.x","resRC.y","resRC.z","resRC.w","resRC.u","resRC.v"],o=new Array(e);for(let n=0;n<t.length;n++)o[t[n]]=r[n];return o.join()}var Ct=class{constructor(e,r){this.variableNames=["A"],this.packedInputs=!0,this.packedOutput=!0;let o=new Array(e.length);for(let c=0;c<o.length;c++)o[c]=e[r[c]];if(this.outputShape=o,this.rank=o.length,this.rank>6)throw Error(`Packed transpose for rank ${this.rank} is not yet supported.`);let n=F(this.rank),s=er("rc",this.rank),i=new Array(this.rank);for(let c=0;c<r.length;c++)i[r[c]]=s[c];let a=`vec2(${i.slice(-2).join()})`,u=`++${s[this.rank-1]} < ${o[this.rank-1]}`,l=`getChannel(getA(${i.join()}), ${a})`;this.userCode=`
    void main() {
      ${n} rc = getOutputCoords();
      vec4 result = vec4(0.);
      result[0] = ${l};
      if(${u}) {
        result[1] = ${l};
      }
      --${s[this.rank-1]};
      if(++${s[this.rank-2]} < ${o[this.rank-2]}) {
        result[2] = ${l};
        if(${u}) {
          result[3] = ${l};
        }
      }
      setOutput(result);
    }
    `}};function Ae(t,e,r){let o=T().getBool("WEBGL_PACK_ARRAY_OPERATIONS")?new Ct(t.shape,e):new gt(t.shape,e);return r.runWebGLProgram(o,[t],t.dtype)}function $n(t,e,r,o){let n=e,s=t.shape.length,i=x.parseAxisParam(n,t.shape),a=i,u=_.getAxesPermutation(a,s),l=u!=null,c=t;l&&(c=Ae(t,u,o),a=_.getInnerMostAxes(a.length,s)),_.assertAxesAreInnerMostDims("sum",a,s);let[p,d]=_.computeOutAndReduceShapes(c.shape,a),h=p;r&&(h=_.expandShapeToKeepDim(p,i));let f=x.sizeFromShape(d),C=x.sizeFromShape(t.shape)/f,m=I({inputs:{x:c},attrs:{shape:[C,f]},backend:o}),v=Fr(t.dtype),b=xt(m,v,"sum",o),E=I({inputs:{x:b},attrs:{shape:h},backend:o});return o.disposeIntermediateTensorInfo(m),o.disposeIntermediateTensorInfo(b),l&&o.disposeIntermediateTensorInfo(c),E}function qe(t){let{inputs:e,backend:r,attrs:o}=t,{x:n}=e,{axis:s,keepDims:i}=o;return $n(n,s,i,r)}var En={kernelName:"Sum",backendName:"webgl",kernelFunc:qe};function Tt(t){let{inputs:e,backend:r,attrs:o}=t,{x:n}=e,{perm:s}=o,i=r,a=n.shape.length,u=new Array(a);for(let c=0;c<u.length;c++)u[c]=n.shape[s[c]];let l;if(i.shouldExecuteOnCPU([n])){let p=i.texData.get(n.dataId).values,d=Xe(p,n.shape,n.dtype,s,u);l=i.makeTensorInfo(u,n.dtype);let h=i.texData.get(l.dataId);h.values=d}else l=Ae(n,s,i);return l}var vn={kernelName:br,backendName:"webgl",kernelFunc:Tt};var nr=1e3;function fe({a:t,b:e,transposeA:r,transposeB:o,backend:n,bias:s=null,preluActivationWeights:i=null,leakyreluAlpha:a=0,activation:u=null}){let l=t.shape.length,c=e.shape.length,p=r?t.shape[l-2]:t.shape[l-1],d=o?e.shape[c-1]:e.shape[c-2],h=r?t.shape[l-1]:t.shape[l-2],f=o?e.shape[c-2]:e.shape[c-1],g=t.shape.slice(0,-2),C=e.shape.slice(0,-2),m=x.sizeFromShape(g),v=x.sizeFromShape(C),E=Dr.assertAndGetBroadcastShape(t.shape.slice(0,-2),e.shape.slice(0,-2)).concat([h,f]);x.assert(p===d,()=>`Error in matMul: inner shapes (${p}) and (${d}) of Tensors with shapes ${t.shape} and ${e.shape} and transposeA=${r} and transposeB=${o} must match.`);let R=r?[m,p,h]:[m,h,p],A=o?[v,f,d]:[v,d,f],w=I({inputs:{x:t},backend:n,attrs:{shape:R}}),y=I({inputs:{x:e},backend:n,attrs:{shape:A}}),D=[w,y],U=Math.max(m,v),H=r?w.shape[1]:w.shape[2],Z=s!=null,De=i!=null,Ne=u==="leakyrelu",ie=u!=null?he(u,!0):null,je=Z||De||Ne||ie!=null,me;if((h===1||f===1)&&H>nr&&je===!1){let J=w,xe=y;r&&(J=Tt({inputs:{x:w},backend:n,attrs:{perm:[0,2,1]}}),D.push(J)),o&&(xe=Tt({inputs:{x:y},backend:n,attrs:{perm:[0,2,1]}}),D.push(xe));let ge=f!==1,Qe=f===1,Ut=J;ge&&(Ut=I({inputs:{x:J},backend:n,attrs:{shape:[U,H,1]}}),D.push(Ut));let Qn=f===1?2:1,kt=xe;Qe&&(kt=I({inputs:{x:xe},backend:n,attrs:{shape:[U,1,H]}}),D.push(kt));let ur=or({inputs:{a:Ut,b:kt},backend:n});me=qe({inputs:{x:ur},backend:n,attrs:{axis:Qn,keepDims:!0}}),D.push(ur)}else{let J=Pe(t.dtype,e.dtype),xe=new we(R,A,[U,h,f],r,o,Z,ie,De,Ne),ge=[w,y];if(s!=null&&ge.push(s),De&&ge.push(i),Ne){let Qe=n.makeTensorInfo([],"float32",x.createScalarValue(a,"float32"));ge.push(Qe),D.push(Qe)}me=n.runWebGLProgram(xe,ge,J)}let G=I({inputs:{x:me},backend:n,attrs:{shape:E}});D.push(me);for(let J of D)n.disposeIntermediateTensorInfo(J);return G}function hi(t){let{inputs:e,backend:r,attrs:o}=t,{a:n,b:s,bias:i,preluActivationWeights:a}=e,{transposeA:u,transposeB:l,activation:c,leakyreluAlpha:p}=o;return fe({a:n,b:s,transposeA:u,transposeB:l,backend:r,bias:i,preluActivationWeights:a,leakyreluAlpha:p,activation:c})}var Sn={kernelName:Ir,backendName:"webgl",kernelFunc:hi};var _n="return a + b;",mi=se({opSnippet:_n,packedOpSnippet:_n,supportsComplex:!0,cpuKernelImpl:Po}),Rn={kernelName:"Add",backendName:"webgl",kernelFunc:mi};var $t=class{constructor(e,r,o,n=!1,s=!1){if(this.variableNames=["x"],r==="avg"&&o)throw new Error("Cannot compute positions for average pool.");let i=e.filterWidth,a=e.strideHeight,u=e.strideWidth,l=e.dilationHeight,c=e.dilationWidth,p=e.effectiveFilterHeight,d=e.effectiveFilterWidth,h=e.padInfo.top,f=e.padInfo.left;this.outputShape=e.outShape;let g=r==="avg",C=`((batch  * ${e.inHeight} + xR) * ${e.inWidth} + xC) * ${e.inChannels} + d`,m=`(xR * ${e.inWidth} + xC) * ${e.inChannels} + d`,v="0.0";if(g||(v="-1.0 / 1e-20"),o){this.userCode=`
        const ivec2 strides = ivec2(${a}, ${u});
        const ivec2 pads = ivec2(${h}, ${f});

        void main() {
          ivec4 coords = getOutputCoords();
          int batch = coords[0];
          int d = coords[3];

          ivec2 xRCCorner = coords.yz * strides - pads;
          int xRCorner = xRCCorner.x;
          int xCCorner = xRCCorner.y;

          // max/min x(?, ?, d) to get y(yR, yC, d).
          // ? = to be determined
          float minMaxValue = 0.0;
          float minMaxValueFound = 0.0;
          int minMaxPosition = 0;
          float avgValue = 0.0;

          for (int wR = 0; wR < ${p};
              wR += ${l}) {
            int xR = xRCorner + wR;

            if (xR < 0 || xR >= ${e.inHeight}) {
              continue;
            }

            for (int wC = 0; wC < ${d};
                wC += ${c}) {
              int xC = xCCorner + wC;

              if (xC < 0 || xC >= ${e.inWidth}) {
                continue;
              }

              float value = getX(batch, xR, xC, d);

              // If a min / max value has already been found, use it. If not,
              // use the current value.
              float currMinMaxValue = mix(
                  value, minMaxValue, minMaxValueFound);
              if (value >= currMinMaxValue) {
                minMaxValue = value;
                minMaxValueFound = 1.0;
                minMaxPosition = ${n?s?C:m:`wR * ${d} + wC`};
              }
            }
          }
          setOutput(float(minMaxPosition));
        }
      `;return}let b="max",E=`${r}(${r}(${r}(minMaxValue[0], minMaxValue[1]), minMaxValue[2]), minMaxValue[3])`;r==="avg"&&(E="avgValue / max(count, 1.0)");let R=Math.floor(i/4)*4,A=i%4,w=`
      if (${g}) {
        avgValue += dot(values, ones);
      } else {
        minMaxValue = ${b}(values, minMaxValue);
      }
    `;this.userCode=`
      const ivec2 strides = ivec2(${a}, ${u});
      const ivec2 pads = ivec2(${h}, ${f});
      const float initializationValue = ${v};
      const vec4 ones = vec4(1.0, 1.0, 1.0, 1.0);

      float count = 0.0;

      float getValue(int batch, int xR, int xC, int d) {
        if (xC < 0 || xC >= ${e.inWidth}) {
          return initializationValue;
        }
        count += 1.0;
        return getX(batch, xR, xC, d);
      }

      void main() {
        ivec4 coords = getOutputCoords();
        int batch = coords[0];
        int d = coords[3];

        ivec2 xRCCorner = coords.yz * strides - pads;
        int xRCorner = xRCCorner.x;
        int xCCorner = xRCCorner.y;

        // max/min x(?, ?, d) to get y(yR, yC, d).
        // ? = to be determined
        vec4 minMaxValue = vec4(${v});
        float avgValue = 0.0;
        count = 0.0;

        for (int wR = 0; wR < ${p};
            wR += ${l}) {
          int xR = xRCorner + wR;

          if (xR < 0 || xR >= ${e.inHeight}) {
            continue;
          }

          for (int wC = 0; wC < ${R}; wC += 4) {
            int xC = xCCorner + wC * ${c};

            vec4 values = vec4(
              getValue(batch, xR, xC, d),
              getValue(batch, xR, xC + ${c}, d),
              getValue(batch, xR, xC + 2 * ${c}, d),
              getValue(batch, xR, xC + 3 * ${c}, d)
            );

            ${w}
          }

          int xC = xCCorner + ${R};
          if (${A===1}) {
            vec4 values = vec4(
              getValue(batch, xR, xC, d),
              initializationValue,
              initializationValue,
              initializationValue
            );

            ${w}
          } else if (${A===2}) {
            vec4 values = vec4(
              getValue(batch, xR, xC, d),
              getValue(batch, xR, xC + ${c}, d),
              initializationValue,
              initializationValue
            );

            ${w}
          } else if (${A===3}) {
            vec4 values = vec4(
              getValue(batch, xR, xC, d),
              getValue(batch, xR, xC + ${c}, d),
              getValue(batch, xR, xC + 2 * ${c}, d),
              initializationValue
            );

            ${w}
          }
        }
        setOutput(${E});
      }
    `}};function xi(t){let{inputs:e,backend:r,attrs:o}=t,{x:n}=e;uo(n,"avgPool");let{filterSize:s,strides:i,pad:a,dimRoundingMode:u}=o,l=1;x.assert(_.eitherStridesOrDilationsAreOne(i,l),()=>`Error in avgPool: Either strides or dilations must be 1. Got strides ${i} and dilations '${l}'`);let c=_.computePool2DInfo(n.shape,s,i,l,a,u);if(c.filterWidth===1&&c.filterHeight===1&&x.arraysEqual(c.inShape,c.outShape))return L({inputs:{x:n},backend:r});let p=new $t(c,"avg",!1);return r.runWebGLProgram(p,[n],"float32")}var bn={kernelName:pr,backendName:"webgl",kernelFunc:xi};function gi(t){let{inputs:e,backend:r,attrs:o}=t,{a:n,b:s}=e,{transposeA:i,transposeB:a}=o;return fe({a:n,b:s,transposeA:i,transposeB:a,backend:r})}var In={kernelName:dr,backendName:"webgl",kernelFunc:gi};var Ci="return float(a != b);",wn=se({opSnippet:Ci,cpuKernelImpl:Vo,dtype:"bool"});function Et(t){let{inputs:e,backend:r}=t,{input:o}=e,n=r.texData.get(o.dataId);return L({inputs:{x:n.complexTensorInfos.real},backend:r})}var Ti="return float(int(x));";function An(t,e){let r=new W(t.shape,Ti),o=e.runWebGLProgram(r,[t],"int32");return{dataId:o.dataId,shape:o.shape,dtype:o.dtype}}function sr(t){let{inputs:e,backend:r,attrs:o}=t,{x:n}=e,{dtype:s}=o;if(s==="complex64"){if(n.dtype==="complex64")return L({inputs:{x:n},backend:r});let i=Pr(n.shape),a=sr({inputs:{x:n},backend:r,attrs:{dtype:"float32"}}),u=oe({inputs:{real:a,imag:i},backend:r});return i.dispose(),r.disposeIntermediateTensorInfo(a),u}if(n.dtype==="complex64"){let i=Et({inputs:{input:n},backend:r}),a=sr({inputs:{x:i},backend:r,attrs:{dtype:s}});return r.disposeIntermediateTensorInfo(i),a}if(!x.hasEncodingLoss(n.dtype,s)){let i=L({inputs:{x:n},backend:r});return{dataId:i.dataId,shape:i.shape,dtype:s}}if(r.shouldExecuteOnCPU([n])){let i=r.texData.get(n.dataId).values,[a,u,l]=Lo(i,n.shape,n.dtype,s);return r.makeTensorInfo(a,u,l)}if(s==="int32")return An(n,r);if(s==="bool"){let i=r.makeTensorInfo([],"bool",x.getTypedArrayFromDType("bool",1)),u=wn({inputs:{a:n,b:i},backend:r});return r.disposeIntermediateTensorInfo(i),u}throw new Error(`Error in Cast: failed to cast ${n.dtype} to ${s}`)}var Fn={kernelName:hr,backendName:"webgl",kernelFunc:sr};var vt=class{constructor(e){this.outputShape=[],this.outputShape=_.computeOutShape(e,1),this.variableNames=e.map((i,a)=>`T${a}`);let r=new Array(e.length-1);r[0]=e[0][1];for(let i=1;i<r.length;i++)r[i]=r[i-1]+e[i][1];let o=[`if (yC < ${r[0]}) setOutput(getT0(yR, yC));`];for(let i=1;i<r.length;i++){let a=r[i-1];o.push(`else if (yC < ${r[i]}) setOutput(getT${i}(yR, yC-${a}));`)}let n=r.length,s=r[r.length-1];o.push(`else setOutput(getT${n}(yR, yC-${s}));`),this.userCode=`
      void main() {
        ivec2 coords = getOutputCoords();
        int yR = coords.x;
        int yC = coords.y;

        ${o.join(`
        `)}
      }
    `}};var _t=class{constructor(e,r){this.packedInputs=!0,this.packedOutput=!0,this.outputShape=[],this.outputShape=_.computeOutShape(e,r);let o=this.outputShape,n=o.length,s=F(n),i=B("coords",n),a=["x","y","z","w","u","v"].slice(0,n);this.variableNames=e.map((g,C)=>`T${C}`);let u=new Array(e.length-1);u[0]=e[0][r];for(let g=1;g<u.length;g++)u[g]=u[g-1]+e[g][r];let l=a[r],c=a.slice(-2),p=a.join(),d=`if (${l} < ${u[0]}) {
        return getChannel(
            getT0(${p}), vec2(${c.join()}));
        }`;for(let g=1;g<u.length;g++){let C=u[g-1];d+=`
        if (${l} < ${u[g]}  && ${l} >= ${u[g-1]}) {
          return getChannel(
            getT${g}(${St(a,l,C)}),
            vec2(${St(c,l,C)}));
        }`}let h=u.length,f=u[u.length-1];d+=`
        return getChannel(
          getT${h}(${St(a,l,f)}),
          vec2(${St(c,l,f)}));`,this.userCode=`
      float getValue(${a.map(g=>"int "+g)}) {
        ${d}
      }

      void main() {
        ${s} coords = getOutputCoords();
        vec4 result = vec4(getValue(${i}), 0., 0., 0.);

        ${i[n-1]} = ${i[n-1]} + 1;
        if (${i[n-1]} < ${o[n-1]}) {
          result.g = getValue(${i});
        }

        ${i[n-2]} = ${i[n-2]} + 1;
        if (${i[n-2]} < ${o[n-2]}) {
          result.a = getValue(${i});
        }

        ${i[n-1]} = ${i[n-1]} - 1;
        if (${i[n-2]} < ${o[n-2]} &&
            ${i[n-1]} < ${o[n-1]}) {
          result.b = getValue(${i});
        }
        setOutput(result);
      }
    `}};function St(t,e,r){let o=t.indexOf(e);return t.map((s,i)=>i===o?`${s} - ${r}`:s).join()}function On(t){let{inputs:e,backend:r}=t,{input:o}=e,n=r.texData.get(o.dataId);return L({inputs:{x:n.complexTensorInfos.imag},backend:r})}function Fe(t,e,r){let o=t[0].dtype;if(o==="complex64"){let h=t.map(v=>Et({inputs:{input:v},backend:r})),f=t.map(v=>On({inputs:{input:v},backend:r})),g=Fe(h,e,r),C=Fe(f,e,r),m=oe({inputs:{real:g,imag:C},backend:r});return h.forEach(v=>r.disposeIntermediateTensorInfo(v)),f.forEach(v=>r.disposeIntermediateTensorInfo(v)),r.disposeIntermediateTensorInfo(g),r.disposeIntermediateTensorInfo(C),m}let n=r.shouldExecuteOnCPU(t);if(o==="string"&&(n=!0),n){let h=t.map(E=>{let A=[-1,x.sizeFromShape(E.shape.slice(e))];return I({inputs:{x:E},backend:r,attrs:{shape:A}})}),f=h.map(E=>({vals:r.readSync(E.dataId),shape:E.shape})),g=_.computeOutShape(h.map(E=>E.shape),1),C=h[0].shape[0]===1,m=Uo(f,g,o,C),v=_.computeOutShape(t.map(E=>E.shape),e),b=r.makeTensorInfo(v,o,m);return h.forEach(E=>r.disposeIntermediateTensorInfo(E)),b}let s=t.filter(h=>x.sizeFromShape(h.shape)>0),i=T().getBool("WEBGL_PACK_ARRAY_OPERATIONS")&&s[0].shape.length>1;if(s.length===1){let h=i?new W(t[0].shape,Y):new X(t[0].shape,Y);return r.runWebGLProgram(h,t,o)}let a=T().getNumber("WEBGL_MAX_TEXTURES_IN_SHADER");if(s.length>a){let h=[];for(let g=0;g<s.length;g+=a){let C=s.slice(g,g+a);h.push(Fe(C,e,r))}let f=Fe(h,e,r);for(let g of h)r.disposeIntermediateTensorInfo(g);return f}if(i){let h=new _t(s.map(f=>f.shape),e);return r.runWebGLProgram(h,s,o)}let{tensors2D:u,outShape:l}=$i(s,e,r),c=new vt(u.map(h=>h.shape)),p=r.runWebGLProgram(c,u,o);u.forEach(h=>r.disposeIntermediateTensorInfo(h));let d=I({inputs:{x:p},attrs:{shape:l},backend:r});return r.disposeIntermediateTensorInfo(p),d}function $i(t,e,r){let o=_.computeOutShape(t.map(s=>s.shape),e);return{tensors2D:t.map(s=>I({inputs:{x:s},attrs:{shape:[-1,x.sizeFromShape(s.shape.slice(e))]},backend:r})),outShape:o}}function Ei(t){let{inputs:e,backend:r,attrs:o}=t,{axis:n}=o,s=x.parseAxisParam(n,e[0].shape)[0],i=e.map(l=>l.shape);_.assertParamsConsistent(i,s);let a=_.computeOutShape(e.map(l=>l.shape),s);if(x.sizeFromShape(a)===0)return r.makeTensorInfo(a,e[0].dtype,[]);let u=e.filter(l=>x.sizeFromShape(l.shape)>0);return u.length===1?L({inputs:{x:u[0]},backend:r}):Fe(u,s,r)}var yn={kernelName:fr,backendName:"webgl",kernelFunc:Ei};var Oe=class{constructor(e,r=!1,o=null,n=!1,s=!1){this.variableNames=["x","W"],this.outputShape=e.outShape;let i=e.padInfo.top,a=e.padInfo.left,u=e.strideHeight,l=e.strideWidth,c=e.dilationHeight,p=e.dilationWidth,d=e.filterHeight,h=e.filterWidth,f=Math.floor(e.inChannels/4)*4,g=e.inChannels%4,C=e.dataFormat==="channelsLast",m=C?1:2,v=C?2:3,b=C?3:1,E="",R="";o&&(n?E=`float activation(float a) {
          float b = getPreluActivationWeightsAtOutCoords();
          ${o}
        }`:s?E=`float activation(float a) {
          float b = getLeakyreluAlphaAtOutCoords();
          ${o}
        }`:E=`
          float activation(float x) {
            ${o}
          }
        `,R="result = activation(result);");let A=r?"result += getBiasAtOutCoords();":"";r&&this.variableNames.push("bias"),n&&this.variableNames.push("preluActivationWeights"),s&&this.variableNames.push("leakyreluAlpha"),this.userCode=`
      ${E}

      const ivec2 strides = ivec2(${u}, ${l});
      const ivec2 pads = ivec2(${i}, ${a});

      void main() {
        ivec4 coords = getOutputCoords();
        int batch = coords[0];
        int d2 = coords[${b}];

        ivec2 xRCCorner =
            ivec2(coords[${m}], coords[${v}]) * strides - pads;
        int xRCorner = xRCCorner.x;
        int xCCorner = xRCCorner.y;

        // Convolve x(?, ?, d1) with w(:, :, d1, d2) to get y(yR, yC, d2).
        // ? = to be determined. : = across all values in that axis.
        float dotProd = 0.0;
        for (int wR = 0; wR < ${d}; wR++) {
          int xR = xRCorner + wR * ${c};

          if (xR < 0 || xR >= ${e.inHeight}) {
            continue;
          }

          for (int wC = 0; wC < ${h}; wC++) {
            int xC = xCCorner + wC * ${p};

            if (xC < 0 || xC >= ${e.inWidth}) {
              continue;
            }

            for (int d1 = 0; d1 < ${f}; d1 += 4) {
              vec4 wValues = vec4(
                getW(wR, wC, d1, d2),
                getW(wR, wC, d1 + 1, d2),
                getW(wR, wC, d1 + 2, d2),
                getW(wR, wC, d1 + 3, d2)
              );

              if (${C}) {
                vec4 xValues = vec4(
                  getX(batch, xR, xC, d1),
                  getX(batch, xR, xC, d1 + 1),
                  getX(batch, xR, xC, d1 + 2),
                  getX(batch, xR, xC, d1 + 3)
                );
                dotProd += dot(xValues, wValues);
              } else {
                vec4 xValues = vec4(
                  getX(batch, d1, xR, xC),
                  getX(batch, d1 + 1, xR, xC),
                  getX(batch, d1 + 2, xR, xC),
                  getX(batch, d1 + 3, xR, xC)
                );
                dotProd += dot(xValues, wValues);
              }
            }

            if (${g===1}) {

              if (${C}) {
                dotProd +=
                    getX(batch, xR, xC, ${f}) *
                    getW(wR, wC, ${f}, d2);
              } else {
                dotProd +=
                    getX(batch, ${f}, xR, xC) *
                    getW(wR, wC, ${f}, d2);
              }

            } else if (${g===2}) {
              vec2 wValues = vec2(
                getW(wR, wC, ${f}, d2),
                getW(wR, wC, ${f} + 1, d2)
              );

              if (${C}) {
                vec2 xValues = vec2(
                  getX(batch, xR, xC, ${f}),
                  getX(batch, xR, xC, ${f} + 1)
                );
                dotProd += dot(xValues, wValues);
              } else {
                vec2 xValues = vec2(
                  getX(batch, ${f}, xR, xC),
                  getX(batch, ${f} + 1, xR, xC)
                );
                dotProd += dot(xValues, wValues);
              }

            } else if (${g===3}) {
              vec3 wValues = vec3(
                getW(wR, wC, ${f}, d2),
                getW(wR, wC, ${f} + 1, d2),
                getW(wR, wC, ${f} + 2, d2)
              );

              if (${C}) {
                vec3 xValues = vec3(
                  getX(batch, xR, xC, ${f}),
                  getX(batch, xR, xC, ${f} + 1),
                  getX(batch, xR, xC, ${f} + 2)
                );
                dotProd += dot(xValues, wValues);
              } else {
                vec3 xValues = vec3(
                  getX(batch, ${f}, xR, xC),
                  getX(batch, ${f} + 1, xR, xC),
                  getX(batch, ${f} + 2, xR, xC)
                );
                dotProd += dot(xValues, wValues);
              }

            }
          }
        }

        float result = dotProd;
        ${A}
        ${R}
        setOutput(result);
      }
    `}};var ye=class{constructor(e,r=!1,o=null,n=!1,s=!1){this.variableNames=["x","W"],this.packedInputs=!0,this.packedOutput=!0,this.customUniforms=[{name:"pads",type:"ivec2"},{name:"strides",type:"ivec2"},{name:"dilations",type:"ivec2"},{name:"inDims",type:"ivec2"}],this.outputShape=e.outShape,this.enableShapeUniforms=O(this.outputShape.length);let i=e.padInfo.left,a=e.strideWidth,u=e.dilationWidth,l=e.filterHeight,c=e.filterWidth,p=c,d=`
       int xR; int xC; int xCOffset;
       vec4 wTexel; vec4 previous; vec4 final;`;for(let C=0;C<c;C++)d+=`
           vec4 xTexelC${C*2};
           int xTexelC${C*2}Ready;
           vec4 xTexelC${C*2+1};
           int xTexelC${C*2+1}Ready;
           vec4 xC${C};`;d+=`
     for (int r = 0; r < ${l}; r++) {
      for (int d1 = 0; d1 < ${e.inChannels}; d1 += 2) {
       `;for(let C=0;C<c;C++)d+=`
           xTexelC${C*2} = vec4(0.0);
           xTexelC${C*2}Ready = 0;
           xTexelC${C*2+1} = vec4(0.0);
           xTexelC${C*2+1}Ready = 0;
           xC${C} = vec4(0.0);`;d+=`
         xR = xRCorner + r * dilations[0];
         if (xR >=0 && xR < inDims[0]) {
       `;for(let C=0;C<(p+1)/2;C++){let m=C*2;if(d+=`
           xC = xCCorner + ${m*u};
           `,a===1){if(m<c&&(i%2===1?(d+=`
                 xCOffset = xC + 1;
                 if (xCOffset >= 0 && xCOffset < inDims[1] && xTexelC${m}Ready == 0) {
                   xTexelC${m} = getX(batch, xR, xCOffset, d1);

                   // Need to manually clear unused channels in case
                   // we're reading from recycled texture.
                   if (xCOffset + 1 >= inDims[1]) {
                     xTexelC${m}.zw = vec2(0.0);
                   }
                   xTexelC${m}Ready = 1;
                 }
               `,u===1&&m>0?d+=`
                 xC${m} = vec4(xTexelC${m-2}.zw, xTexelC${m}.xy);
                 `:d+=`
                   xCOffset = xC + 1 - 2;

                   if (xCOffset >= 0 && xCOffset < inDims[1]) {
                     previous = getX(batch, xR, xCOffset, d1);

                     // Need to manually clear unused channels in case
                     // we're reading from recycled texture.
                     if (xCOffset + 1 >= inDims[1]) {
                       previous.zw = vec2(0.0);
                     }

                     xC${m} = vec4(previous.zw, xTexelC${m}.xy);
                   } else {
                     xC${m} = vec4(0.0, 0.0, xTexelC${m}.xy);
                   }
                   `):d+=`
                 if (xC >= 0 && xC < inDims[1] && xTexelC${m}Ready == 0) {
                   xTexelC${m} = getX(batch, xR, xC, d1);
                   if (xC + 1 >= inDims[1]) {
                     xTexelC${m}.zw = vec2(0.0);
                   }
                   xTexelC${m}Ready = 1;
                 }

                 xC${m} = xTexelC${m};
                 `,m+1<c)){let v=i%2===0?x.nearestLargerEven(u):u;u%2===0&&i%2===1||u%2!==0&&i%2!==1?(d+=`
                   xCOffset = xC + imod(pads[1], 2) + ${v};

                   if (xCOffset >= 0 && xCOffset < inDims[1] && xTexelC${m+1}Ready == 0) {
                     xTexelC${m+1} = getX(batch, xR, xCOffset, d1);

                     // Need to manually clear unused channels in case
                     // we're reading from recycled texture.
                     if (xCOffset + 1 >= inDims[1]) {
                       xTexelC${m+1}.zw = vec2(0.0);
                     }
                     xTexelC${m+1}Ready = 1;
                   }
                   `,u>1?d+=`
                     xCOffset -= 2;
                     if (xCOffset >= 0 && xCOffset < inDims[1]) {
                      previous = getX(batch, xR, xCOffset, d1);
                      xC${m+1} = vec4(previous.zw, xTexelC${m+1}.xy);
                     } else {
                      xC${m+1} = vec4(0.0, 0.0, xTexelC${m+1}.xy);
                     }
                     `:d+=`
                     xC${m+1} = vec4(xTexelC${m}.zw, xTexelC${m+1}.xy);
                     `):v===1?d+=`
                     xC${m+1} = xTexelC${m};
                     `:d+=`
                     xCOffset = xC + ${v};

                     if (xCOffset >= 0 && xCOffset < inDims[1] && xTexelC${m+1}Ready == 0) {
                       xTexelC${m+1} = getX(batch, xR, xCOffset, d1);
                       if (xCOffset + 1 >= inDims[1]) {
                         xTexelC${m+1}.zw = vec2(0.0);
                       }
                       xTexelC${m+1}Ready = 1;
                     }

                     xC${m+1} = xTexelC${m+1};
                     `}}else m<c&&(i%2===1?(d+=`
                 xCOffset = xC + 1 - strides[1];
                 if(xCOffset >= 0 && xCOffset < inDims[1] && xTexelC${m}Ready == 0) {
                   xTexelC${m} = getX(batch, xR, xCOffset, d1);
                   // Need to manually clear unused channels in case
                   // we're reading from recycled texture.
                   if (xCOffset + 1 >= inDims[1]) {
                     xTexelC${m}.zw = vec2(0.0);
                   }
                   xTexelC${m}Ready = 1;
                 }

                 if(xC + 1 >= 0 && xC + 1 < inDims[1] && xTexelC${m+1}Ready == 0) {
                   xTexelC${m+1} = getX(batch, xR, xC + 1, d1);
                   // Need to manually clear unused channels in case
                   // we're reading from recycled texture.
                   if (xC + 2 >= inDims[1]) {
                     xTexelC${m+1}.zw = vec2(0.0);
                   }
                   xTexelC${m+1}Ready = 1;
                 }

                 xC${m} = vec4(xTexelC${m}.zw, xTexelC${m+1}.zw);
               `,m+1<c&&(d+=`
                   final = vec4(0.0);
                   xCOffset = xC + 1 + strides[1];
                   if(xCOffset >= 0 && xCOffset < inDims[1]) {
                     final = getX(batch, xR, xCOffset, d1);
                   }
                   xC${m+1} = vec4(xTexelC${m+1}.xy, final.xy);
                 `)):(d+=`
                 if(xC >= 0 && xC < inDims[1] && xTexelC${m}Ready == 0) {
                   xTexelC${m} = getX(batch, xR, xC, d1);
                   if (xC + 1 >= inDims[1]) {
                     xTexelC${m}.zw = vec2(0.0);
                   }
                   xTexelC${m}Ready = 1;
                 }

                 xCOffset = xC + strides[1];
                 if(xCOffset >= 0 && xCOffset < inDims[1] && xTexelC${m+1}Ready == 0) {
                   xTexelC${m+1} = getX(batch, xR, xCOffset, d1);
                   if (xCOffset + 1 >= inDims[1]) {
                     xTexelC${m+1}.zw = vec2(0.);
                   }
                   xTexelC${m+1}Ready = 1;
                 }

                 xC${m} = vec4(
                   xTexelC${m}.xy, xTexelC${m+1}.xy);
               `,m+1<c&&(d+=`
                   xC${m+1} = vec4(xTexelC${m}.zw, xTexelC${m+1}.zw);
                 `)));m<c&&(d+=`
             wTexel = getW(r, ${m}, d1, d2);
             dotProd += xC${m}.xxzz * vec4(wTexel.xy, wTexel.xy);
             if(d1 + 1 < ${e.inChannels}) {
               dotProd += xC${m}.yyww * vec4(wTexel.zw, wTexel.zw);
             }
           `,m+1<c&&(d+=`
               wTexel = getW(r, ${m+1}, d1, d2);
               dotProd += xC${m+1}.xxzz * vec4(wTexel.xy, wTexel.xy);
               if(d1 + 1 < ${e.inChannels}) {
                 dotProd += xC${m+1}.yyww * vec4(wTexel.zw, wTexel.zw);
               }
             `))}d+=`
     }
   `,d+=`
     }
   `,d+=`
     }
   `;let h="",f="";o&&(n?h=`vec4 activation(vec4 a) {
           vec4 b = getPreluActivationWeightsAtOutCoords();
           ${o}
         }`:s?h=`vec4 activation(vec4 a) {
           vec4 b = getLeakyreluAlphaAtOutCoords();
           ${o}
         }`:h=`vec4 activation(vec4 x) {
           ${o}
         }`,f="result = activation(result);");let g=r?"result += getBiasAtOutCoords();":"";r&&this.variableNames.push("bias"),n&&this.variableNames.push("preluActivationWeights"),s&&this.variableNames.push("leakyreluAlpha"),this.userCode=`
       ${h}

       void main() {
         ivec4 coords = getOutputCoords();
         int batch = coords.x;
         ivec2 xRCCorner = coords.yz * strides - pads;
         int d2 = coords.w;
         int xRCorner = xRCCorner.x;
         int xCCorner = xRCCorner.y;

         //intialize dotProd with a small epsilon seems to reduce GPU accuracy loss.
         vec4 dotProd = vec4(0.000000000000001);

         ${d}

         vec4 result = dotProd - vec4(0.000000000000001);
         ${g}
         ${f}
         setOutput(result);
       }
     `}};var Rt=class{constructor(e,r){this.variableNames=["A"],this.packedInputs=!0,this.packedOutput=!0,this.customUniforms=[{name:"inputShape",type:"ivec4"},{name:"pad",type:"ivec2"},{name:"stride",type:"ivec2"},{name:"dilation",type:"ivec2"},{name:"inChannels",type:"int"},{name:"itemsPerBlockRow",type:"int"},{name:"outWidth",type:"int"}],this.outputShape=e,this.enableShapeUniforms=O(this.outputShape.length);let{dataFormat:o}=r,n=N(),s=o==="channelsLast",i=s?1:2,a=s?2:3,u=this.enableShapeUniforms?"if(blockIndex < outShape[2] && pos < outShape[1]) {":`if(blockIndex < ${e[2]} && pos < ${e[1]}) {`,l="";for(let c=0;c<=1;c++)for(let p=0;p<=1;p++)l+=`
          blockIndex = rc.z + ${p};
          pos = rc.y + ${c};

          ${u}
            offsetY = int(blockIndex / outWidth) * stride[0] - pad[0];
            d0 = offsetY + dilation[0] * (pos / itemsPerBlockRow);

            if(d0 < inputShape[${i}] && d0 >= 0) {
              // Use custom imod instead mod. On Intel GPU, mod may generate
              // unexpected value.
              // https://github.com/tensorflow/tfjs/issues/5447
              offsetX = imod(blockIndex, outWidth) * stride[1] - pad[1];
              d1 = offsetX + dilation[1] * (imod(pos, itemsPerBlockRow) /
                  inChannels);

              if(d1 < inputShape[${a}] && d1 >= 0) {

                ch = imod(pos, inChannels);

                if (${s}) {
                  innerDims = vec2(d1, ch);
                  result[${c*2+p}] = getChannel(
                    getA(rc.x, d0, int(innerDims.x),
                    int(innerDims.y)), innerDims);
                } else {
                  innerDims = vec2(d0, d1);
                  result[${c*2+p}] = getChannel(
                    getA(rc.x, ch, int(innerDims.x),
                    int(innerDims.y)), innerDims);
                }
              }
            }
          }
        `;this.userCode=`
      void main() {
        ivec3 rc = getOutputCoords();

        vec4 result = vec4(0);

        int blockIndex, pos, offsetY, d0, offsetX, d1, ch;
        vec2 innerDims;

        ${l}

        ${n.output} = result;
      }
    `}};function bt(t,e){let r=t.length;return r>=3?e?[...t.slice(0,-3),t[r-3]*t[r-2],t[r-1]]:[...t.slice(0,-3),t[r-3],t[r-2]*t[r-1]]:!e&&r===1&&t[0]>1?[t[0],1]:null}function It({x:t,filter:e,convInfo:r,backend:o,bias:n=null,preluActivationWeights:s=null,leakyreluAlpha:i=0,activation:a=null}){let u=t.shape,l=o.texData.get(t.dataId),c=r.inChannels,p=u[0]*u[1]*u[2],d=r.outChannels,h=r.dataFormat==="channelsLast",f=!1,g=!1,C,m=[];if(s!=null){let E=bt(s.shape,h);E!=null&&(s=I({inputs:{x:s},backend:o,attrs:{shape:E}}),m.push(s))}if(n!=null){let E=bt(n.shape,h);E!=null&&(n=I({inputs:{x:n},backend:o,attrs:{shape:E}}),m.push(n))}if(!((p===1||d===1)&&c>nr)&&l.isPacked&&h&&l.texture!=null&&u[2]%2!==0&&x.arraysEqual(l.shape.slice(-3),u.slice(-3))){let E=u[0]*u[1]*(u[2]+1),R={dataId:t.dataId,shape:[1,E,r.inChannels],dtype:t.dtype},A=l.shape;l.shape=l.shape.slice(),l.shape[l.shape.length-2]++,x.assert(le(l.shape,R.shape),()=>`packed reshape ${l.shape} to ${R.shape} isn't free`);let w=I({inputs:{x:e},backend:o,attrs:{shape:[1,r.inChannels,r.outChannels]}});m.push(w);let y=fe({a:R,b:w,backend:o,transposeA:f,transposeB:g,bias:n,activation:a,preluActivationWeights:s,leakyreluAlpha:i}),D=o.texData.get(y.dataId);x.assert(D.isPacked,()=>"batchMatMul result is expected to be packed"),l.shape=A,D.shape=r.outShape,C=L({inputs:{x:y},backend:o}),C.shape=r.outShape,m.push(y)}else{let E=r.outHeight*r.outWidth,R=I({inputs:{x:t},backend:o,attrs:{shape:h?[r.batchSize,E,r.inChannels]:[r.batchSize,r.inChannels,E]}}),A=I({inputs:{x:e},backend:o,attrs:{shape:[1,r.inChannels,r.outChannels]}}),w=fe({a:h?R:A,b:h?A:R,transposeA:!h,transposeB:g,backend:o,bias:n,activation:a,preluActivationWeights:s,leakyreluAlpha:i});C=I({inputs:{x:w},backend:o,attrs:{shape:r.outShape}}),m.push(R),m.push(A),m.push(w)}for(let E of m)o.disposeIntermediateTensorInfo(E);return C}function wt({x:t,filter:e,convInfo:r,backend:o,bias:n=null,preluActivationWeights:s=null,leakyreluAlpha:i=0,activation:a=null}){let{filterWidth:u,filterHeight:l,inChannels:c,outWidth:p,outHeight:d,dataFormat:h}=r,f=h==="channelsLast",g=u*l*c,C=d*p,m=[r.batchSize,g,C],v=!0,b=!1,E=[];if(s!=null){let G=bt(s.shape,f);G!=null&&(s=I({inputs:{x:s},backend:o,attrs:{shape:G}}),E.push(s))}if(n!=null){let G=bt(n.shape,f);G!=null&&(n=I({inputs:{x:n},backend:o,attrs:{shape:G}}),E.push(n))}let R=I({inputs:{x:e},backend:o,attrs:{shape:[1,g,x.sizeFromShape(e.shape)/g]}});E.push(R);let A=new Rt(m,r),w=[t.shape,[r.padInfo.top,r.padInfo.left],[r.strideHeight,r.strideWidth],[r.dilationHeight,r.dilationWidth],[r.inChannels],[r.filterWidth*r.inChannels],[r.outWidth]],y=o.runWebGLProgram(A,[t],"float32",w),D=I({inputs:{x:y},backend:o,attrs:{shape:m}});E.push(y),E.push(D);let U=n!=null,H=s!=null,Z=a==="leakyrelu",De=a?he(a,!0):null,Ne=new we(f?D.shape:R.shape,f?R.shape:D.shape,f?[r.batchSize,C,r.outChannels]:[r.batchSize,r.outChannels,C],v,b,U,De,H,Z),ie=f?[D,R]:[R,D];if(n&&ie.push(n),H&&ie.push(s),Z){let G=o.makeTensorInfo([],"float32",x.createScalarValue(i,"float32"));ie.push(G),E.push(G)}let je=o.runWebGLProgram(Ne,ie,"float32"),me=I({inputs:{x:je},backend:o,attrs:{shape:r.outShape}});E.push(je);for(let G of E)o.disposeIntermediateTensorInfo(G);return me}function vi(t){let{inputs:e,backend:r,attrs:o}=t,{x:n,filter:s}=e,{strides:i,pad:a,dataFormat:u,dilations:l,dimRoundingMode:c}=o,p=_.convertConv2DDataFormat(u),d=_.computeConv2DInfo(n.shape,s.shape,i,l,a,c,!1,p),h;if(d.filterHeight===1&&d.filterWidth===1&&d.dilationHeight===1&&d.dilationWidth===1&&d.strideHeight===1&&d.strideWidth===1&&(d.padInfo.type==="SAME"||d.padInfo.type==="VALID"))h=It({x:n,filter:s,convInfo:d,backend:r});else if(d.strideWidth<=2&&p==="channelsLast"&&T().getBool("WEBGL_EXP_CONV")){let g=new ye(d),C=[[d.padInfo.top,d.padInfo.left],[d.strideHeight,d.strideWidth],[d.dilationHeight,d.dilationWidth],[d.inHeight,d.inWidth]];h=r.runWebGLProgram(g,[n,s],"float32",C)}else if(T().getBool("WEBGL_CONV_IM2COL"))h=wt({x:n,filter:s,convInfo:d,backend:r});else{let g=new Oe(d);h=r.runWebGLProgram(g,[n,s],"float32")}let f=I({inputs:{x:h},backend:r,attrs:{shape:d.outShape}});return r.disposeIntermediateTensorInfo(h),f}var Dn={kernelName:mr,backendName:"webgl",kernelFunc:vi};var _i=ne+`
  return cos(x);
`,Ri=`
  vec4 result = cos(x);
  bvec4 isNaN = isnan(x);
  ${ft}
  return result;
`,bi=q({opSnippet:_i,packedOpSnippet:Ri}),Nn={kernelName:"Cos",backendName:"webgl",kernelFunc:bi};function Ii(t){let{inputs:e,backend:r,attrs:o}=t,{x:n,filter:s,bias:i,preluActivationWeights:a}=e,{strides:u,pad:l,dataFormat:c,dilations:p,dimRoundingMode:d,activation:h,leakyreluAlpha:f}=o,g=_.convertConv2DDataFormat(c),C=_.computeConv2DInfo(n.shape,s.shape,u,p,l,d,!1,g),m,v=[],b=i!=null,E=a!=null,R=h==="leakyrelu",A=()=>{let y=[n,s],D=(U,H)=>{if(H==="NCHW"&&U.shape.length===1&&U.shape[0]!==1){let Z=I({inputs:{x:U},backend:r,attrs:{shape:[U.shape[0],1,1]}});return v.push(Z),Z}return U};if(b&&y.push(D(i,c)),E&&y.push(D(a,c)),R){let U=r.makeTensorInfo([],"float32",x.createScalarValue(f,"float32"));y.push(U),v.push(U)}return y};if(C.filterHeight===1&&C.filterWidth===1&&C.dilationHeight===1&&C.dilationWidth===1&&C.strideHeight===1&&C.strideWidth===1&&(C.padInfo.type==="SAME"||C.padInfo.type==="VALID"))m=It({x:n,filter:s,convInfo:C,backend:r,bias:i,activation:h,preluActivationWeights:a,leakyreluAlpha:f});else if(C.strideWidth<=2&&g==="channelsLast"&&T().getBool("WEBGL_EXP_CONV")){let y=h?he(h,!0):null,D=new ye(C,b,y,E,R),U=[[C.padInfo.top,C.padInfo.left],[C.strideHeight,C.strideWidth],[C.dilationHeight,C.dilationWidth],[C.inHeight,C.inWidth]],H=A();m=r.runWebGLProgram(D,H,"float32",U)}else if(T().getBool("WEBGL_CONV_IM2COL"))m=wt({x:n,filter:s,convInfo:C,backend:r,bias:i,activation:h,preluActivationWeights:a,leakyreluAlpha:f});else{let y=h?he(h,!1):null,D=new Oe(C,b,y,E,R),U=A();m=r.runWebGLProgram(D,U,"float32")}let w=I({inputs:{x:m},backend:r,attrs:{shape:C.outShape}});return v.push(m),v.forEach(y=>r.disposeIntermediateTensorInfo(y)),w}var Pn={kernelName:wr,backendName:"webgl",kernelFunc:Ii};var At=class{constructor(e,r,o){this.variableNames=["x"],this.customUniforms=[{name:"value",type:"float"}],this.outputShape=r.map((l,c)=>l[0]+e[c]+l[1]);let n=e.length,s=F(n),i=r.map(l=>l[0]).join(","),a=r.map((l,c)=>l[0]+e[c]).join(","),u=["coords[0]","coords[1]","coords[2]","coords[3]"].slice(0,n);if(n===1){this.userCode=`
        int start = ${i};
        int end = ${a};

        void main() {
          int outC = getOutputCoords();
          if (outC < start || outC >= end) {
            setOutput(value);
          } else {
            setOutput(getX(outC - start));
          }
        }
      `;return}this.userCode=`
      ${s} start = ${s}(${i});
      ${s} end = ${s}(${a});

      void main() {
        ${s} outC = getOutputCoords();
        if (any(lessThan(outC, start)) || any(greaterThanEqual(outC, end))) {
          setOutput(value);
        } else {
          ${s} coords = outC - start;
          setOutput(getX(${u}));
        }
      }
    `}};var Ft=class{constructor(e,r,o){this.variableNames=["x"],this.packedInputs=!0,this.packedOutput=!0,this.customUniforms=[{name:"value",type:"float"}],this.outputShape=r.map((g,C)=>g[0]+e[C]+g[1]);let n=e.length,s=F(n),i=r.map(g=>g[0]).join(","),a=r.map((g,C)=>g[0]+e[C]).join(","),u=B("rc",n),l=B("source",n),c=`${u[n-1]} < ${this.outputShape[n-1]}`,p=n===1?"source":`vec2(${l.slice(-2).join()})`,d=[`${s} rc = outputLoc;`,`${u[n-1]} += 1;
       if(${c}) {
      `,n===1?"":`}
       rc = outputLoc;
       ${u[n-2]} += 1;
       if(${u[n-2]} < ${this.outputShape[n-2]}) {`,n===1?"":`  ${u[n-1]} += 1;
         if(${c}) {`],h=n===1?"rc < start || rc >= end":"any(lessThan(rc, start)) || any(greaterThanEqual(rc, end))",f="";for(let g=0,C=n===1?2:4;g<C;g++)f+=`
        ${d[g]}
        if (${h}) {
          result[${g}] = float(value);
        } else {
          ${s} source = rc - start;
          result[${g}] = getChannel(getX(${l.join()}), ${p});
        }
      `;f+=n===1?"} ":"}}",this.userCode=`
      const ${s} start = ${s}(${i});
      const ${s} end = ${s}(${a});

      void main() {
        ${s} outputLoc = getOutputCoords();
        vec4 result = vec4(0.);
        ${f}
        setOutput(result);
      }
    `}};var Ot=class{constructor(e,r){this.outputShape=[],this.customUniforms=[{name:"value",type:"float"}],this.variableNames=["x"],this.outputShape=e,this.userCode=`
      void main() {
        // Input can be obtained from uniform value.
        setOutput(value);
      }
    `}};function Ln(t){let{backend:e,attrs:r}=t,{shape:o,value:n}=r,{dtype:s}=r;if(s=s||x.inferDtype(n),s==="string"){let i=x.getArrayFromDType(s,x.sizeFromShape(o));return i.fill(n),e.makeTensorInfo(o,s,i)}else{let i=new Ot(o,n),a=[[n]];return e.runWebGLProgram(i,[],s,a)}}var wi=t=>{let{inputs:e,backend:r,attrs:o}=t,{x:n}=e,{paddings:s,constantValue:i}=o;if(x.sizeFromShape(n.shape)===0){let l=s.map((c,p)=>c[0]+n.shape[p]+c[1]);return Ln({backend:r,attrs:{shape:l,value:i,dtype:n.dtype}})}let a=T().getBool("WEBGL_PACK_ARRAY_OPERATIONS")?new Ft(n.shape,s,i):new At(n.shape,s,i),u=[[i]];return r.runWebGLProgram(a,[n],n.dtype,u)},Un={kernelName:Cr,backendName:"webgl",kernelFunc:wi};var yt=class{constructor(e,r){this.variableNames=["x"];let o=e.length;if(o>4)throw new Error(`WebGL backend: Reverse of rank-${o} tensor is not yet supported`);if(this.outputShape=e,o===1){this.userCode=`
        void main() {
          int coord = getOutputCoords();
          setOutput(getX(${e[0]} - coord - 1));
        }
      `;return}let n=a=>r.indexOf(a)!==-1&&e[a]!==1?`${e[a]} - coords[${a}] - 1`:`coords[${a}]`,s=e.map((a,u)=>n(u)).join(","),i=F(o);this.userCode=`
      void main() {
        ${i} coords = getOutputCoords();
        setOutput(getX(${s}));
      }
    `}};var Dt=class{constructor(e,r){this.variableNames=["x"],this.packedInputs=!0,this.packedOutput=!0;let o=e.length;if(o>4)throw new Error(`WebGL backend: Reverse of rank-${o} tensor is not yet supported`);this.outputShape=e;let n=B("rc",o),s=`${n[o-1]} + 1 < ${this.outputShape[o-1]}`,i=`${n[o-2]} + 1 < ${this.outputShape[o-2]}`,a=F(o);o===1?this.userCode=`
        void main(){
          int rc = getOutputCoords();
          vec4 result = vec4(0.);
          result.r = getChannel(getX(${e[0]} - rc - 1),
            ${e[0]} - rc - 1);
          if(${s}){
              result.g = getChannel(getX(${e[0]} - (rc  + 1) - 1),
                ${e[0]} - (rc  + 1) - 1);
          }
          setOutput(result);
        }
      `:this.userCode=`
        void main() {
          ${a} rc = getOutputCoords();
          vec4 result = vec4(0.);
          result.r = ${u(n.slice())};
          if(${s}){
            result.g = ${l(n.slice())};
          }
          if(${i}) {
            result.b = ${c(n.slice())};
            if(${s}) {
              result.a = ${p(n.slice())};
            }
          }
          setOutput(result);
        }
    `;function u(f){return d(f)}function l(f){return f[o-1]="("+f[o-1]+" + 1)",d(f)}function c(f){return f[o-2]="("+f[o-2]+" + 1)",d(f)}function p(f){return f[o-1]="("+f[o-1]+" + 1)",f[o-2]="("+f[o-2]+" + 1)",d(f)}function d(f){let g=e.map((v,b)=>h(b,f)),C=g.join(","),m=g.slice(-2).join(",");return`getChannel(getX(${C}), vec2(${m}))`}function h(f,g){return r.indexOf(f)!==-1&&e[f]!==1?`${e[f]} - ${g[f]} - 1`:`${g[f]}`}}};function Ai(t){let{inputs:e,backend:r,attrs:o}=t,{x:n}=e,{dims:s}=o,i=n.shape.length,a=x.parseAxisParam(s,n.shape);if(i===0)return L({inputs:{x:n},backend:r});let u=T().getBool("WEBGL_PACK_ARRAY_OPERATIONS")?new Dt(n.shape,a):new yt(n.shape,a);return r.runWebGLProgram(u,[n],n.dtype)}var kn={kernelName:$r,backendName:"webgl",kernelFunc:Ai};var Fi="return inversesqrt(x);",Oi=q({opSnippet:Fi,cpuKernelImpl:Wo}),Bn={kernelName:Er,backendName:"webgl",kernelFunc:Oi};var yi=ne+`
  return 1.0 / (1.0 + exp(-1.0 * x));
`,Di=`
  vec4 result = 1.0 / (1.0 + exp(-1.0 * x));
  bvec4 isNaN = isnan(x);

  result.r = isNaN.r ? x.r : result.r;
  result.g = isNaN.g ? x.g : result.g;
  result.b = isNaN.b ? x.b : result.b;
  result.a = isNaN.a ? x.a : result.a;

  return result;
`,Ni=q({opSnippet:yi,packedOpSnippet:Di,cpuKernelImpl:Go}),Mn={kernelName:Sr,backendName:"webgl",kernelFunc:Ni};var Li=ne+`
  return sin(x);
`,Ui=`
  vec4 result = sin(x);
  bvec4 isNaN = isnan(x);
  ${ft}
  return result;
`,ki=q({opSnippet:Li,packedOpSnippet:Ui}),Vn={kernelName:"Sin",backendName:"webgl",kernelFunc:ki};var Nt=class{constructor(e){this.variableNames=["source"],this.outputShape=e,this.rank=e.length;let r=F(this.rank);this.customUniforms=[{name:"start",arrayIndex:this.rank,type:"int"}];let o=Bi(this.rank),n,s=e.map((i,a)=>`sourceLoc.${ir[a]} = start[${a}] + coords.${ir[a]};`);n=`
        ${r} sourceLoc;
        ${r} coords = getOutputCoords();
        ${s.join(`
`)}
      `,this.userCode=`
      void main() {
        ${n}
        setOutput(getSource(${o}));
      }
    `}},ir=["x","y","z","w","u","v"];function Bi(t){if(t===1)return"sourceLoc";if(t<=6)return ir.slice(0,t).map(e=>"sourceLoc."+e).join(",");throw Error(`Slicing for rank ${t} is not yet supported`)}var Pt=class{constructor(e){this.variableNames=["source"],this.packedInputs=!0,this.packedOutput=!0,this.outputShape=e,this.rank=e.length,this.customUniforms=[{name:"start",arrayIndex:this.rank,type:"int"}];let r=F(this.rank),o=B("coords",this.rank),n=B("sourceLoc",this.rank),s=this.rank===1?"sourceLoc":`vec2(${n.slice(-2).join()})`,i=`getChannel(getSource(${n.join()}), ${s})`,a=`
      result.x = ${i};
      if (++${o[this.rank-1]} < ${e[this.rank-1]}) {
        ++${n[this.rank-1]};
        result.y = ${i};
        --${n[this.rank-1]};
      }
    `,u=this.rank===1?"":`
      --${o[this.rank-1]};
      if (++${o[this.rank-2]} < ${e[this.rank-2]}) {
        ++${n[this.rank-2]};
        result.z = ${i};
        if (++${o[this.rank-1]} < ${e[this.rank-1]}) {
          ++${n[this.rank-1]};
          result.w = ${i};
        }
      }
    `,l=this.rank<=4?`sourceLoc = coords +
            ${r}(${e.map((c,p)=>`start[${p}]`).join()});`:e.map((c,p)=>`${n[p]} = ${o[p]} + start[${p}];`).join(`
`);this.userCode=`
      void main() {
        ${r} coords = getOutputCoords();
        ${r} sourceLoc;
        ${l}
        vec4 result = vec4(0.);
        ${a}
        ${u}
        setOutput(result);
      }
    `}};function Mi(t,e,r,o){let n=o.texData.get(t.dataId),s=o.makeTensorInfo(r,t.dtype),i=o.texData.get(s.dataId);Object.assign(i,n),i.refCount=1,i.shape=r,i.dtype=t.dtype;let a=Ue.computeFlatOffset(e,x.computeStrides(t.shape));n.slice&&(a+=n.slice.flatOffset),i.slice={flatOffset:a,origDataId:n.slice&&n.slice.origDataId||t.dataId};let u=o.dataRefCount.get(i.slice.origDataId)||1;return o.dataRefCount.set(i.slice.origDataId,u+1),s}function Vi(t){let{inputs:e,backend:r,attrs:o}=t,{x:n}=e,{begin:s,size:i}=o,[a,u]=Ue.parseSliceParams(n,s,i);if(Ue.assertParamsValid(n,a,u),x.sizeFromShape(u)===0)return r.makeTensorInfo(u,n.dtype,[]);if(r.shouldExecuteOnCPU([n])||n.dtype==="string"){let p=r.texData.get(n.dataId),d=Xo(p.values,a,u,n.shape,n.dtype);return r.makeTensorInfo(u,n.dtype,d)}let{isPacked:l}=r.texData.get(n.dataId),c=Ue.isSliceContinous(n.shape,a,u);if(l||!c){let p=T().getBool("WEBGL_PACK_ARRAY_OPERATIONS")?new Pt(u):new Nt(u),d=[a];return r.runWebGLProgram(p,[n],n.dtype,d)}return r.uploadToGPU(n.dataId),Mi(n,a,u,r)}var Wn={kernelName:vr,backendName:"webgl",kernelFunc:Vi};var Wi=ne+`
  return exp(x);
`,Gi=`
  vec4 result = exp(x);
  bvec4 isNaN = isnan(x);
  result.r = isNaN.r ? x.r : result.r;
  result.g = isNaN.g ? x.g : result.g;
  result.b = isNaN.b ? x.b : result.b;
  result.a = isNaN.a ? x.a : result.a;

  return result;
`,Gn=q({opSnippet:Wi,packedOpSnippet:Gi,cpuKernelImpl:ko,dtype:"float32"});function zn(t,e,r,o){let n=x.sizeFromShape(e),i=x.sizeFromShape(t.shape)/n,a=I({inputs:{x:t},attrs:{shape:[i,n]},backend:o}),u=xt(a,t.dtype,"max",o),l=I({inputs:{x:u},attrs:{shape:r},backend:o});return o.disposeIntermediateTensorInfo(a),o.disposeIntermediateTensorInfo(u),l}function Xn(t){let{inputs:e,backend:r,attrs:o}=t,{x:n}=e,{reductionIndices:s,keepDims:i}=o,a=n.shape.length,u=x.parseAxisParam(s,n.shape),l=u,c=_.getAxesPermutation(l,a),p=c!=null,d=r.shouldExecuteOnCPU([n]),h=n;if(p){if(d){let b=r.texData.get(h.dataId).values,E=new Array(a);for(let w=0;w<E.length;w++)E[w]=n.shape[c[w]];let R=Xe(b,n.shape,n.dtype,c,E);h=r.makeTensorInfo(E,n.dtype);let A=r.texData.get(h.dataId);A.values=R}else h=Ae(n,c,r);l=_.getInnerMostAxes(l.length,a)}_.assertAxesAreInnerMostDims("max",l,a);let[f,g]=_.computeOutAndReduceShapes(h.shape,l),C=f;i&&(C=_.expandShapeToKeepDim(f,u));let m;if(d){let b=r.texData.get(h.dataId).values,E=Bo(b,x.sizeFromShape(g),C,n.dtype);m=r.makeTensorInfo(C,n.dtype);let R=r.texData.get(m.dataId);R.values=E}else m=zn(h,g,C,r);return p&&r.disposeIntermediateTensorInfo(h),m}var zi=`
if (a == b) {
  return 1.0;
};
return a / b;`,Xi=`
  // vec4 one = vec4(equal(a, b));
  // return one + (vec4(1.0) - one) * a / b;
  vec4 result = a / b;
  if(a.x == b.x) {
    result.x = 1.;
  }
  if(a.y == b.y) {
    result.y = 1.;
  }
  if(a.z == b.z) {
    result.z = 1.;
  }
  if(a.w == b.w) {
    result.w = 1.;
  }

  return result;
`,Hn=se({opSnippet:zi,packedOpSnippet:Xi,checkOutOfBounds:!0});var Kn="return a - b;",ar=se({opSnippet:Kn,packedOpSnippet:Kn,supportsComplex:!0,cpuKernelImpl:Ho}),Yn={kernelName:"Sub",backendName:"webgl",kernelFunc:ar};function Ki(t){let{inputs:e,backend:r,attrs:o}=t,{logits:n}=e,{dim:s}=o,i=x.parseAxisParam([s],n.shape),a=Xn({inputs:{x:n},backend:r,attrs:{reductionIndices:i,keepDims:!1}}),u=_.expandShapeToKeepDim(a.shape,i),l=I({inputs:{x:a},backend:r,attrs:{shape:u}}),c=ar({inputs:{a:n,b:l},backend:r}),p=Gn({inputs:{x:c},backend:r}),d=qe({inputs:{x:p},backend:r,attrs:{axis:i,keepDims:!1}}),h=I({inputs:{x:d},backend:r,attrs:{shape:u}}),f=Hn({inputs:{a:p,b:h},backend:r});return r.disposeIntermediateTensorInfo(a),r.disposeIntermediateTensorInfo(l),r.disposeIntermediateTensorInfo(c),r.disposeIntermediateTensorInfo(p),r.disposeIntermediateTensorInfo(d),r.disposeIntermediateTensorInfo(h),f}var qn={kernelName:_r,backendName:"webgl",kernelFunc:Ki};var Lt=class{constructor(e,r){this.variableNames=["A"];let o=new Array(e.length);for(let i=0;i<o.length;i++)o[i]=e[i]*r[i];this.outputShape=o,this.rank=o.length;let n=F(this.rank),s=Yi(e);this.userCode=`
      void main() {
        ${n} resRC = getOutputCoords();
        setOutput(getA(${s}));
      }
    `}};function Yi(t){let e=t.length;if(e>5)throw Error(`Tile for rank ${e} is not yet supported`);if(e===1)return`imod(resRC, ${t[0]})`;let r=["resRC.x","resRC.y","resRC.z","resRC.w","resRC.u"],o=[];for(let n=0;n<t.length;n++)o.push(`imod(${r[n]}, ${t[n]})`);return o.join()}function qi(t){let{inputs:e,backend:r,attrs:o}=t,{x:n}=e,{reps:s}=o;if(n.dtype==="string"||n.shape.length>5){let u=r.readSync(n.dataId),l=n.dtype==="string"?u.map(d=>x.decodeString(d)):u,c=Le(n.shape,n.dtype,l),p=Ko(c,s);return r.makeTensorInfo(p.shape,p.dtype,p.values)}let i=new Lt(n.shape,s);return r.runWebGLProgram(i,[n],n.dtype)}var jn={kernelName:Rr,backendName:"webgl",kernelFunc:qi};var ji="webgl",Qi=[Sn,Rn,bn,In,Fn,yn,Dn,Nn,Pn,pn,gn,Un,Tn,kn,Bn,Mn,Vn,Wn,qn,Yn,En,jn,vn];function Sf(){if(!T().getBool("WEBGL_RENDER_FLOAT32_CAPABLE"))throw new Error("this browser's WebGL does not compute in float32");yr(ji,()=>new He);for(let t of Qi)Ar(t)}export{ji as BACKEND,Sf as register};
