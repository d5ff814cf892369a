/**
 * Builds `studio/static` from `studio/web`: `npm run build`, or `node build.mjs --out FOLDER`.
 *
 * engine.js (the score model), core.js (the part of TensorFlow.js that it needs), webgl.js (TensorFlow.js'
 * WebGL backend, fetched where it is used), worker.js (the engine in a Worker), client.js (the
 * Worker's other side, for pages of one's own), app.js (the page), style.css, index.html and
 * TensorFlow.js' WebAssembly binary. The bytes depend on the sources and on package-lock.json alone.
 */

import { cp, mkdir, readdir, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const { values } = parseArgs({ options: { out: { type: "string" } } });
const out = resolve(values.out ?? join(here, "..", "static"));
const WASM = "node_modules/@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm";

/** Threads are off (they need cross-origin isolation), so their glue stays outside. */
const withoutThreads = {
  name: "without-threads",
  setup(build) {
    const filter = /tfjs-backend-wasm-threaded-simd(\.worker)?\.js$/;
    build.onResolve({ filter }, (found) => ({ path: found.path, namespace: "none" }));
    build.onLoad({ filter: /.*/, namespace: "none" }, () => ({
      contents: "export default null; export const wasmWorkerContents = '';",
    }));
  },
};

await mkdir(out, { recursive: true });
for (const file of await readdir(out)) await rm(join(out, file), { recursive: true });
const options = {
  absWorkingDir: here,
  outdir: out,
  bundle: true,
  format: "esm",
  platform: "browser",
  target: ["es2022"],
  minify: true,
  legalComments: "none",
  // What looks for Node's `process` finds none: the same file runs in a page, a Worker and Node.
  define: { process: "undefined" },
  loader: { ".woff2": "file" },
  assetNames: "[name]",
  plugins: [withoutThreads],
  logLevel: "warning",
};
const engine = { engine: "src/engine/index.js", webgl: "src/engine/webgl.js" };
await esbuild.build({ ...options, entryPoints: engine, splitting: true, chunkNames: "core" });
await esbuild.build({
  ...options,
  entryPoints: {
    worker: "src/engine/worker.js",
    client: "src/engine/client.js",
    app: "src/page/main.js",
    style: "style/main.css",
  },
  external: ["./engine.js"],
});
for (const file of ["index.html", "icon.svg"]) await cp(join(here, file), join(out, file));
await cp(join(here, WASM), join(out, "tfjs-backend-wasm-simd.wasm"));
