// This device: the published weights in TensorFlow.js, in a Worker.

import { engine, ScoreModel } from "../engine/client.js";

/** Why nothing can be computed here, as a sentence; null if it can. */
export function deviceProblem() {
  if (typeof WebAssembly !== "object") return "This browser has no WebAssembly.";
  if (typeof Worker !== "function") return "This browser has no Workers.";
  return null;
}

/** Draws with the model that was loaded last; another one takes its place and its memory. */
export function deviceSource() {
  let loaded = null; // {url, model: Promise<ScoreModel>}

  const modelOf = (info) => {
    const url = new URL(info.files, location.href).href;
    if (loaded?.url !== url) {
      loaded?.model.then((old) => old.dispose()).catch(() => {});
      loaded = { url, model: ScoreModel.load(url) };
      loaded.model.catch(() => {
        if (loaded?.url === url) loaded = null; // the next attempt begins anew
      });
    }
    return loaded.model;
  };

  return {
    async generate(info, request, { onFrame, signal }) {
      const model = await modelOf(info);
      signal?.throwIfAborted();
      const begin = performance.now();
      const x = await model.generate({ ...request, signal, onStep: onFrame });
      const seconds = (performance.now() - begin) / 1000;
      return { x, seconds, engine: "TensorFlow.js", device: await backendText() };
    },
  };
}

const BACKENDS = { wasm: "WebAssembly", webgl: "WebGL", webgpu: "WebGPU" };

async function backendText() {
  const { backend } = await engine().start();
  return BACKENDS[backend] ?? backend;
}
