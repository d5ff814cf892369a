/**
 * Runs jobs on the built engine (studio/static/engine.js) in Node, for test_studio_engine.py.
 *
 *     node studio_engine.mjs STATIC JOBS.json RESULTS.json
 *
 * A job is {kind, ...}, its result what the function of that name below returns. Arrays travel as
 * {shape, f32: base64}.
 */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, jobsFile, resultsFile] = process.argv.slice(2);
// TensorFlow.js asks which platform it is on: this one is like a Worker.
globalThis.WorkerGlobalScope = class {};
const engine = await import(pathToFileURL(join(folder, "engine.js")).href);
const binary = readFileSync(join(folder, "tfjs-backend-wasm-simd.wasm")).toString("base64");
await engine.start({ wasm: `data:application/wasm;base64,${binary}` });

const floats = ({ f32 }) => new Float32Array(Uint8Array.from(Buffer.from(f32, "base64")).buffer);
const packed = (array) => ({ f32: Buffer.from(Float32Array.from(array).buffer).toString("base64") });

const models = new Map();
async function modelOf(path, options = {}) {
  const key = `${path} ${options.file}`;
  if (!models.has(key)) {
    const config = JSON.parse(readFileSync(join(path, "config.json"), "utf8"));
    const weights = new Uint8Array(readFileSync(join(path, options.file ?? config.weights.file)));
    models.set(key, await engine.ScoreModel.load({ config, weights }, options));
  }
  return models.get(key);
}

/** Items on which a network can learn something: a bright corner per class. */
function corners(n, side) {
  const items = new Float32Array(n * side * side).fill(-1);
  const labels = Array.from({ length: n }, (_, i) => i % 2);
  labels.forEach((label, i) => {
    for (let y = 0; y < 4; y++)
      for (let x = 0; x < 4; x++) items[(i * side + y + 5 * label) * side + x] = 1;
  });
  return { items, labels };
}

async function trained(config, data, steps, batch) {
  const model = new engine.ScoreModel(config);
  const losses = [];
  const onStep = ({ loss }) => void losses.push(loss);
  await model.train({ ...data, steps: 20, batch, every: 10, onStep });
  const before = engine.memory().numTensors;
  await model.train({ ...data, steps, batch, every: 10, onStep });
  return { model, first: losses[0], last: losses.at(-1), tensors: [before, engine.memory().numTensors] };
}

const kinds = {
  async forward({ model, load, inputs, sigma, labels }) {
    const own = await modelOf(model, load);
    return packed(await own.net.forward(floats(inputs), floats(sigma), labels && Int32Array.from(labels)));
  },

  async gradient({ model, inputs, sigma, labels, target }) {
    const { net } = await modelOf(model);
    const weight = floats(sigma).map((_, i) => i + 1);
    const batch = { inputs: floats(inputs), sigma: floats(sigma), target: floats(target), weight };
    const { loss, gradients } = await engine.gradients(net, batch, labels && Int32Array.from(labels));
    const { values } = net.parameters;
    const fixed = new Map(
      [...values].map(([name, v]) => [name, { ...v, data: gradients.get(name) ?? v.data }]),
    );
    const all = [...net.parameters.write(fixed)].map(([name, { data }]) => [name, packed(data)]);
    return { loss, gradients: Object.fromEntries(all) };
  },

  async generate({ model, options }) {
    const own = await modelOf(model);
    let frames = 0;
    const onStep = () => {
      frames += 1;
    };
    const { x, nfe } = await own.sample({ ...options, onStep });
    return { x: packed(x), nfe, frames };
  },

  kernel({ process: wanted, times }) {
    const process = engine.makeProcess(wanted);
    const at = times.map((t) => Math.min(process.tMax, Math.max(process.tMin, t)));
    return {
      mean: at.map((t) => process.mean(t)),
      covariance: at.map((t) => process.covariance(t)),
      cholesky: at.map((t) => process.cholesky(t)),
      statistic: at.map((t) => process.statistic(t)),
      sigma: at.map((t) => process.sigmaEff(t)),
      back: at.map((t) => process.timeOf(process.sigmaEff(t))),
    };
  },

  async table({ model, levels }) {
    const { frame, training } = await modelOf(model);
    const [times, weights] = [{}, {}];
    for (const time_sampling of ["lognormal", "loguniform", "uniform"]) {
      const of = (weighting) =>
        new engine.Objective(frame, { ...training, time_sampling, weighting }, levels);
      times[time_sampling] = of("auto").times;
      const names = ["edm", "epsilon", "min_snr", "likelihood"];
      weights[time_sampling] = Object.fromEntries(names.map((name) => [name, of(name).weights]));
    }
    return { times, weights };
  },

  async training({ config, items, folder: out }) {
    const { model, ...report } = await trained(config, { items: floats(items) }, 300, 128);
    const saved = await model.save();
    mkdirSync(out);
    writeFileSync(join(out, "config.json"), JSON.stringify(saved.config));
    writeFileSync(join(out, "model.safetensors"), saved.weights);
    const x = packed(await model.generate({ n: 200, seed: 3 }));
    model.dispose();
    return { ...report, x };
  },

  async training_images({ config }) {
    const { model, ...report } = await trained(config, corners(64, 9), 40, 16);
    model.dispose();
    return report;
  },

  async leaks({ models: names }) {
    for (const name of names) await (await modelOf(name)).generate({ steps: 2 });
    const before = engine.memory().numTensors;
    for (const name of names) await (await modelOf(name)).generate({ n: 3, steps: 4 });
    const after = engine.memory().numTensors;
    for (const model of models.values()) model.dispose();
    models.clear();
    return { before, after, disposed: engine.memory().numTensors };
  },

  async stop({ model, after }) {
    const own = await modelOf(model);
    const stop = new AbortController();
    let frames = 0;
    const onStep = () => {
      frames += 1;
      if (frames === after) stop.abort();
    };
    const error = await own.generate({ signal: stop.signal, onStep }).then(
      () => ({}),
      (reason) => reason,
    );
    return { name: error.name, frames };
  },

  async hash({ texts }) {
    const bytes = texts.map((text) => new TextEncoder().encode(text));
    return { plain: bytes.map(engine.plainSha256), browser: await Promise.all(bytes.map(engine.sha256)) };
  },
};

const results = [];
for (const job of JSON.parse(readFileSync(jobsFile, "utf8"))) {
  try {
    results.push(await kinds[job.kind](job));
  } catch (error) {
    results.push({ error: error.name, message: error.message, stack: error.stack.slice(-600) });
  }
}
writeFileSync(resultsFile, JSON.stringify(results));
