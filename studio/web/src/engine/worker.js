/**
 * The engine in a Worker, so that the page never waits: models by number, methods by name.
 *
 *     page -> worker  {id, model, method, args}, {abort: id}
 *     worker -> page  {id, result}, {id, error: {name, message}}, {id, step}
 *
 * Arrays are transferred, not copied. The page's side is client.js.
 */

import { ScoreModel, start } from "./engine.js";

const METHODS = ["trainStep", "train", "generate", "sample", "score", "save"];
const models = new Map();
const running = new Map();

/** Return the array buffers in a message, each once. */
function buffersOf(value, found = new Set()) {
  if (ArrayBuffer.isView(value)) found.add(value.buffer);
  else if (value && typeof value === "object")
    for (const part of Object.values(value)) buffersOf(part, found);
  return [...found];
}

const send = (message) => self.postMessage(message, buffersOf(message));

function described(model) {
  const { config, shape, labels, parameters } = model;
  return { config, shape, labels, parameters };
}

async function call({ id, model, method, args }) {
  if (method === "start") return { backend: await start(...args) };
  if (method === "create" || method === "load") {
    const made = method === "create" ? new ScoreModel(...args) : await ScoreModel.load(...args);
    models.set(model, made);
    return described(made);
  }
  const own = models.get(model);
  if (!own) throw new Error("the model was disposed of");
  if (method === "dispose") {
    own.dispose();
    models.delete(model);
    return null;
  }
  if (!METHODS.includes(method)) throw new Error(`the engine has no method ${method}`);
  const [first, ...rest] = args;
  if (!first?.steered) return own[method](...args);
  const stop = new AbortController();
  running.set(id, stop);
  const { steered, ...options } = first;
  const onStep = (step) => send({ id, step });
  try {
    return await own[method](
      { ...options, signal: stop.signal, ...(steered.frames ? { onStep } : {}) },
      ...rest,
    );
  } finally {
    running.delete(id);
  }
}

self.onmessage = async ({ data }) => {
  if (data.abort !== undefined) {
    running.get(data.abort)?.abort();
    return;
  }
  try {
    send({ id: data.id, result: await call(data) });
  } catch (error) {
    send({ id: data.id, error: { name: error.name, message: error.message } });
  }
};
