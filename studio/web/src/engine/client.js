/**
 * The page's side of the engine: a `ScoreModel` whose methods run in a Worker.
 *
 *     import { ScoreModel } from "./client.js";
 *     const model = await ScoreModel.load("/api/models/sgm-digits/3/files");
 *     const x = await model.generate({ n: 4, seed: 1, onStep: ({ x0 }) => draw(x0), signal });
 *
 * The same methods as engine.js' ScoreModel; all return promises. Arrays that are given travel as they
 * are: they are copied, unless they are listed in `transfer`.
 */

import { UsageError } from "./errors.js";

/** A Worker with the engine in it, and the calls that are under way. */
export class Engine {
  /** @param {string | URL} [url] of worker.js; default: beside this module */
  constructor(url = new URL("./worker.js", import.meta.url)) {
    this.calls = new Map();
    this.last = 0;
    this.worker = new Worker(url, { type: "module" });
    this.worker.onmessage = ({ data }) => this.hear(data);
    this.worker.onerror = (event) =>
      this.fail(new Error(event.message || "the engine could not be started"));
  }

  hear({ id, result, error, step }) {
    const call = this.calls.get(id);
    if (!call) return;
    if (step) {
      call.onStep?.(step);
      return;
    }
    this.calls.delete(id);
    if (!error) {
      call.resolve(result);
      return;
    }
    const known = error.name === "UsageError" ? new UsageError(error.message) : new Error(error.message);
    known.name = error.name;
    call.reject(known);
  }

  fail(error) {
    for (const { reject } of this.calls.values()) reject(error);
    this.calls.clear();
  }

  /** Ask the Worker for something; `onStep` and `signal` stay on this side. */
  call(model, method, args, { onStep, signal, transfer = [] } = {}) {
    this.last += 1;
    const id = this.last;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(new DOMException("the run was stopped", "AbortError"));
        return;
      }
      const abort = () => this.worker.postMessage({ abort: id });
      const done = (settle) => (value) => {
        signal?.removeEventListener("abort", abort);
        settle(value);
      };
      signal?.addEventListener("abort", abort);
      // After the signal no frame is shown, even one that is on its way.
      const shown = onStep && ((step) => signal?.aborted || onStep(step));
      this.calls.set(id, { resolve: done(resolve), reject: done(reject), onStep: shown });
      this.worker.postMessage({ id, model, method, args }, transfer);
    });
  }

  /** Start TensorFlow.js before it is needed; returns {backend}. */
  start(options) {
    return this.call(null, "start", [options]);
  }

  /** End the Worker; what runs fails. */
  terminate() {
    this.worker.terminate();
    this.fail(new DOMException("the engine was ended", "AbortError"));
  }
}

let shared = null;

/** The engine that models use unless they are given another. */
export function engine() {
  shared ??= new Engine();
  return shared;
}

let made = 0;

export class ScoreModel {
  /**
   * @param {object} options as of engine.js' ScoreModel; `engine`: the Worker to live in
   */
  constructor({ engine: own = engine(), ...options } = {}) {
    this.engine = own;
    made += 1;
    this.number = made;
    /** Settles when the model is made; its fields (config, shape, labels, parameters) are there then. */
    this.ready = own.call(this.number, "create", [options]).then((fields) => Object.assign(this, fields));
    this.ready.catch(() => {});
  }

  /**
   * @param {string | {config: object, weights: Uint8Array}} source URL of a folder, or its contents
   * @param {{engine?: Engine, file?: string, sha256?: string, headers?: object}} [options]
   */
  static async load(source, { engine: own = engine(), ...options } = {}) {
    const model = Object.create(ScoreModel.prototype);
    model.engine = own;
    made += 1;
    model.number = made;
    const place = typeof source === "string" ? new URL(source, globalThis.location?.href).href : source;
    Object.assign(model, await own.call(model.number, "load", [place, options]));
    model.ready = Promise.resolve(model);
    return model;
  }

  async call(method, args, options) {
    await this.ready;
    return this.engine.call(this.number, method, args, options);
  }

  trainStep(batch, labels) {
    return this.call("trainStep", [batch, labels]);
  }

  train(options) {
    return this.steered("train", options);
  }

  generate(options) {
    return this.steered("generate", options);
  }

  sample(options) {
    return this.steered("sample", options);
  }

  /** Call a method with onStep and signal, which stay on this side. */
  steered(method, { onStep, signal, ...options } = {}) {
    return this.call(method, [{ ...options, steered: { frames: Boolean(onStep) } }], { onStep, signal });
  }

  score(x, t) {
    return this.call("score", [x, t]);
  }

  save() {
    return this.call("save", []);
  }

  dispose() {
    return this.call("dispose", []);
  }
}
