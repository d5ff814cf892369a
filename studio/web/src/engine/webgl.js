/**
 * TensorFlow.js' WebGL backend with the kernels that the networks use: a file of its own, which is fetched
 * only where it is asked for.
 */

import { MathBackendWebGL } from "@tensorflow/tfjs-backend-webgl/dist/backend_webgl.js";
import { _fusedMatMulConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/_FusedMatMul.js";
import { addConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/Add.js";
import { avgPoolConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/AvgPool.js";
import { batchMatMulConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/BatchMatMul.js";
import { castConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/Cast.js";
import { concatConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/Concat.js";
import { conv2DConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/Conv2D.js";
import { cosConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/Cos.js";
import { fusedConv2DConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/FusedConv2D.js";
import { identityConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/Identity.js";
import { multiplyConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/Multiply.js";
import { padV2Config } from "@tensorflow/tfjs-backend-webgl/dist/kernels/PadV2.js";
import { reshapeConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/Reshape.js";
import { reverseConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/Reverse.js";
import { rsqrtConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/Rsqrt.js";
import { sigmoidConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/Sigmoid.js";
import { sinConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/Sin.js";
import { sliceConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/Slice.js";
import { softmaxConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/Softmax.js";
import { subConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/Sub.js";
import { sumConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/Sum.js";
import { tileConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/Tile.js";
import { transposeConfig } from "@tensorflow/tfjs-backend-webgl/dist/kernels/Transpose.js";
import { env, registerBackend, registerKernel } from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-webgl/dist/flags_webgl.js";

export const BACKEND = "webgl";

const KERNELS = [
  _fusedMatMulConfig,
  addConfig,
  avgPoolConfig,
  batchMatMulConfig,
  castConfig,
  concatConfig,
  conv2DConfig,
  cosConfig,
  fusedConv2DConfig,
  identityConfig,
  multiplyConfig,
  padV2Config,
  reshapeConfig,
  reverseConfig,
  rsqrtConfig,
  sigmoidConfig,
  sinConfig,
  sliceConfig,
  softmaxConfig,
  subConfig,
  sumConfig,
  tileConfig,
  transposeConfig,
];

/** Make the backend and its kernels known. Half precision would be another network: it is refused. */
export function register() {
  if (!env().getBool("WEBGL_RENDER_FLOAT32_CAPABLE")) {
    throw new Error("this browser's WebGL does not compute in float32");
  }
  registerBackend(BACKEND, () => new MathBackendWebGL());
  for (const kernel of KERNELS) registerKernel(kernel);
}
