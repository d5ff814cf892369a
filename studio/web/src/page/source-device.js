// This device: the published weights in TensorFlow.js, in a Worker.

import { Engine, ScoreModel } from "../engine/client.js";
import { faster, LONG } from "./faster.js";

/** Why nothing can be computed here, as a sentence; null if it can. */
export function deviceProblem() {
  if (typeof WebAssembly !== "object") return "This browser has no WebAssembly.";
  if (typeof Worker !== "function") return "This browser has no Workers.";
  return null;
}

/** Draws with the model that was loaded last; another one takes its place and its memory. */
export function deviceSource() {
  let loaded = null; // {url, model: Promise<ScoreModel>, quick: ScoreModel on WebGL or null, n: measured with}

  function held(info) {
    const url = new URL(info.files, location.href).href;
    if (loaded?.url !== url) {
      loaded?.model.then((old) => old.dispose()).catch(() => {});
      loaded?.quick?.engine.terminate();
      loaded = { url, model: ScoreModel.load(url), quick: null, n: 0 };
      loaded.model.catch(() => {
        if (loaded?.url === url) loaded = null; // the next attempt begins anew
      });
    }
    return loaded;
  }

  /** Ask once for each model, after a picture: it must not wait for the answer. */
  async function ask(own, request, seconds, frames) {
    const plain = !(request.image || request.path);
    if (own.n || !plain || (1000 * seconds) / Math.max(1, frames) < LONG) return;
    own.n = request.n;
    const other = new Engine();
    const load = async () => {
      await other.start({ backend: "webgl" });
      return ScoreModel.load(own.url, { engine: other });
    };
    own.quick = await faster(await own.model, { load, close: () => other.terminate() }, request);
    if (own !== loaded) own.quick?.engine.terminate();
  }

  return {
    async generate(info, request, { onFrame, signal }) {
      const own = held(info);
      // What is unlike the request that was measured stays on WebAssembly.
      const alike = !(request.image || request.path) && request.n >= own.n;
      const model = alike && own.quick ? own.quick : await own.model;
      signal?.throwIfAborted();
      const begin = performance.now();
      let frames = 0;
      const onStep = (frame) => {
        frames += 1;
        onFrame?.(frame);
      };
      try {
        const x = await model.generate({ ...request, signal, onStep });
        const seconds = (performance.now() - begin) / 1000;
        ask(own, request, seconds, frames);
        return { x, seconds, engine: "TensorFlow.js", device: await backendText(model) };
      } catch (error) {
        if (model === own.quick && !signal?.aborted) {
          model.engine.terminate(); // a lost context, say: WebAssembly goes on
          own.quick = null;
        }
        throw error;
      }
    },
  };
}

const BACKENDS = { wasm: "WebAssembly", webgl: "WebGL" };

async function backendText(model) {
  const { backend } = await model.engine.start();
  return BACKENDS[backend] ?? backend;
}
