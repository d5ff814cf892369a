/**
 * Which TensorFlow.js backend runs the network: WebAssembly (SIMD, one thread), or WebGL where it is asked
 * for, which the page does where it has found it faster (page/faster.js).
 *
 * Threads are switched off before the backend is asked about them: they need a cross-origin isolated
 * page, and asking is what a strict content security policy hangs on.
 */

import { BackendWasm, init, setWasmPaths } from "@tensorflow/tfjs-backend-wasm/dist/backend_wasm.js";
import { env, ready, registerBackend, registerKernel, setBackend } from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-wasm/dist/flags_wasm.js";
import { registerOps } from "./net/ops.js";
import { WASM_KERNELS } from "./wasm_kernels.js";

const BINARY = "tfjs-backend-wasm-simd.wasm";
// TensorFlow.js wants to know of the others too; they are never fetched.
const OTHERS = ["tfjs-backend-wasm.wasm", "tfjs-backend-wasm-threaded-simd.wasm"];

let starting = null;

/**
 * Start the backend once; later calls wait for the first.
 * @param {{wasm?: string, backend?: "wasm" | "webgl"}} [options] wasm: URL of TensorFlow.js' SIMD binary,
 *   default: beside this module; backend: WebGL's part is fetched only where it is asked for
 * @returns {Promise<string>} the backend's name
 */
export function start({ wasm, backend = "wasm" } = {}) {
  starting ??=
    backend === "webgl" ? startWebgl() : startWasm(wasm ?? new URL(BINARY, import.meta.url).href);
  return starting;
}

async function startWebgl() {
  const { BACKEND, register } = await import("./webgl.js");
  register();
  registerOps(BACKEND);
  if (!(await setBackend(BACKEND))) throw new Error("this browser has no WebGL");
  await ready();
  return BACKEND;
}

async function startWasm(url) {
  env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
  if (!(await env().getAsync("WASM_HAS_SIMD_SUPPORT"))) {
    throw new Error("this browser has no WebAssembly SIMD; use the server");
  }
  setWasmPaths(Object.fromEntries([BINARY, ...OTHERS].map((name) => [name, url])), true);
  registerBackend("wasm", async () => new BackendWasm((await init()).wasm));
  for (const kernel of WASM_KERNELS) registerKernel(kernel);
  registerOps("wasm");
  if (!(await setBackend("wasm"))) throw new Error(`${url} could not be started as WebAssembly`);
  await ready();
  return "wasm";
}
