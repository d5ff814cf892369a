/**
 * A score-based generative model in the browser: the same networks, processes and samplers as
 * sgm_core, from the same files.
 *
 *     const model = await ScoreModel.load("/api/models/sgm-digits/3/files");
 *     const x = await model.generate({ n: 4, seed: 1, steps: 25, onStep: ({ x0 }) => draw(x0) });
 */

import { start } from "./backend.js";
import { readBundle, writeBundle } from "./bundle.js";
import { Conditioned, observed } from "./control/conditioned.js";
import { editStates, pathStates } from "./control/paths.js";
import { Denoiser } from "./denoiser.js";
import { number } from "./errors.js";
import { Frame } from "./frame.js";
import { seedsFrom } from "./math/noise.js";
import { makeNet, netFields } from "./net/index.js";
import { makeProcess, processFields } from "./process/index.js";
import { breathe } from "./sample/base.js";
import { makeSampler, settingsOf } from "./sample/index.js";
import { reporter } from "./sample/report.js";
import { fill, TRAINING } from "./settings.js";
import { DataSpace, describe } from "./space.js";
import { outerTo } from "./state.js";
import { Trainer } from "./train/trainer.js";

export class ScoreModel {
  /**
   * @param {object} options
   * @param {number} [options.num_timesteps] number of noise levels that training draws from
   * @param {number | number[]} [options.img_size] height and width
   * @param {number} [options.num_channels] 1 to 4
   * @param {number[]} [options.shape] instead of the two above: [d] for points, [C, H, W] for images
   * @param {string | object} [options.process] name or {kind, ...parameters}
   * @param {string | object} [options.net] name or {kind, ...parameters}; default by shape
   * @param {string[]} [options.labels] class names
   * @param {object} [options.training] fields of training that differ from the defaults
   * @param {object} [options.sampling] fields of sampling that differ from the defaults
   * @param {number} [options.seed] of the initial weights and of training noise
   * data_range, center, scale, sigma_data: as in Python
   */
  constructor({
    num_timesteps = 1000,
    img_size = 64,
    num_channels = 3,
    shape,
    process = "vp",
    net,
    training,
    sampling,
    seed = 0,
    ...data
  } = {}) {
    const full = shape ?? [num_channels, ...(Array.isArray(img_size) ? img_size : [img_size, img_size])];
    this.num_timesteps = number("num_timesteps", num_timesteps, { low: 1, whole: true });
    const fields = fill("training", TRAINING, training);
    if (training?.steps && !training.schedule) fields.schedule = "cosine";
    this.assemble(
      {
        process: processFields(process),
        net: netFields(net, full),
        parametrisation: fields.parametrisation,
        data: describe({ shape: full, ...data }),
        sampling: settingsOf({ sampler: "multistep_sde", options: {} }, sampling ?? {}),
      },
      fields,
      seed,
    );
    this.net.parameters.draw(seed);
  }

  /**
   * Read a model that the pipeline, Python's `save` or this `save` wrote.
   * @param {string | {config: object, weights: Uint8Array}} source URL of a folder, or its contents
   * @param {object} [options] see bundle.js
   */
  static async load(source, options) {
    const { config, weights } = await readBundle(source, options);
    const model = Object.create(ScoreModel.prototype);
    model.num_timesteps = 1000;
    const sampling = settingsOf({ sampler: "multistep_sde", options: {} }, config.sampling ?? {});
    const training = fill("training", TRAINING, { parametrisation: config.parametrisation });
    model.assemble({ ...config, sampling }, training, 0);
    model.net.parameters.read(weights);
    return model;
  }

  assemble(config, training, seed) {
    const { data } = config;
    this.config = config;
    this.training = training;
    this.seed = seed;
    this.space = new DataSpace(data);
    this.shape = data.shape;
    this.labels = data.labels;
    this.process = makeProcess(config.process);
    this.frame = new Frame(this.process, data.sigma_data, config.parametrisation);
    const fields = netFields(config.net, data.shape);
    this.makeNet = () =>
      makeNet(fields, {
        shape: data.shape,
        inChannels: this.frame.inChannels,
        sigmaData: data.sigma_data,
        classes: data.labels.length,
      });
    this.net = this.makeNet();
    /** The network that samples are drawn with: of the averaged weights, once there are any. */
    this.current = this.net;
    this.trainer = null;
  }

  /** Number of trainable numbers. */
  get parameters() {
    return this.net.parameters.count;
  }

  // -- training -------------------------------------------------------------------------------------

  /** Return the trainer; from here on samples are drawn with the averaged weights. */
  ensureTrainer() {
    if (this.trainer) return this.trainer;
    this.current = this.makeNet();
    this.current.parameters = this.net.parameters.copy();
    const options = { levels: this.num_timesteps, seed: this.seed, size: this.space.size };
    this.trainer = new Trainer(this.net, this.current.parameters, this.frame, this.training, options);
    return this.trainer;
  }

  /**
   * Do one AdamW step of denoising score matching.
   * @param {ArrayLike<number>} batch (b, ...shape) in the data's range
   * @param {ArrayLike<number>} [labels] (b) class indices of a conditional model
   * @returns {Promise<number>} its loss
   */
  async trainStep(batch, labels) {
    await start();
    const x0 = this.space.toModel(batch, "batch");
    const chosen =
      labels && this.labels.length ? this.space.classes(labels, x0.length / this.space.size) : null;
    return this.ensureTrainer().advance(x0, chosen);
  }

  /**
   * Train on random batches of `items`.
   * @param {object} options
   * @param {ArrayLike<number>} options.items (m, ...shape) in the data's range
   * @param {ArrayLike<number>} [options.labels] (m) class indices
   * @param {number} [options.steps] default: the model's `training.steps`
   * @param {number} [options.batch] items of a step; default: the model's `training.batch`
   * @param {number} [options.every] steps between two calls of onStep
   * @param {(report: {step: number, loss: number, ms: number}) => unknown} [options.onStep] loss and ms a
   *   step, means since the last call; step counts all steps of the model; returning false stops
   * @param {AbortSignal} [options.signal] stops within one step, with an AbortError
   * @returns {Promise<{step: number, loss: number}>} steps so far, the mean loss since the last report
   */
  async train({
    items,
    labels,
    steps = this.training.steps,
    batch = this.training.batch,
    every = 10,
    onStep,
    signal,
  }) {
    number("steps", steps, { low: 1, whole: true });
    number("batch", batch, { low: 1, whole: true });
    await start();
    const all = this.space.toModel(items, "items");
    const { size } = this.space;
    const classes = labels && this.labels.length ? this.space.classes(labels, all.length / size) : null;
    const trainer = this.ensureTrainer();
    let report = { step: trainer.step, loss: Number.NaN };
    let [total, since, began] = [0, 0, performance.now()];
    for (let i = 1; i <= steps; i++) {
      await breathe(signal);
      const chosen = trainer.choose(batch, all.length / size);
      const x0 = new Float64Array(batch * size);
      chosen.forEach((item, j) => {
        x0.set(all.subarray(item * size, (item + 1) * size), j * size);
      });
      total += await trainer.advance(x0, classes && chosen.map((item) => classes[item]));
      since += 1;
      if (since < every && i < steps) continue;
      report = { step: trainer.step, loss: total / since, ms: (performance.now() - began) / since };
      if ((await onStep?.(report)) === false) break;
      [total, since, began] = [0, 0, performance.now()];
    }
    return report;
  }

  // -- sampling -------------------------------------------------------------------------------------

  /**
   * Draw samples; returns (n, ...shape) in the data's range, flat in C order.
   * @param {Parameters<ScoreModel["sample"]>[0]} [options]
   */
  async generate(options) {
    return (await this.sample(options)).x;
  }

  /**
   * Draw samples, and say what they cost.
   * @param {object} [options]
   * @param {number} [options.n]
   * @param {number | bigint} [options.seed] sample i uses seed + i
   * @param {number} [options.steps] with sampler, options, grid, sigma_min, guidance: default to the model's
   * @param {number} [options.sigma_max] first noise level of the grid
   * @param {number | string | ArrayLike<number>} [options.label] -1: no class; default: classes in turn
   * @param {string | object} [options.process] to sample under instead of the trained one
   * @param {Float64Array} [options.start] states (n, k, d) at the grid's first time
   * @param {[number, number]} [options.path] n samples evenly from one seed's to the other's
   * @param {ArrayLike<number>} [options.image] an item in the data's range, and
   * @param {number} [options.strength] the share of the steps that is walked from it (SDEdit), or
   * @param {ArrayLike<number>} [options.mask] 1 where it is known: the rest is drawn given that (inpainting);
   *   std, iterations: see control/conditioned.js; label is -1 by default
   * @param {(frame: object) => unknown} [options.onStep] called each step with {step, steps, t, sigma,
   *   xt, x0, u, ms}: xt = x_0 + sigma eps and x0 in the data's range, u the state of the process in
   *   model space; returning false stops there
   * @param {number} [options.every] steps between two frames; the last is always shown
   * @param {AbortSignal} [options.signal] stops within one step, with an AbortError
   */
  async sample({
    n = 1,
    seed = 0,
    label,
    process,
    start: state,
    path,
    image,
    strength,
    mask,
    std,
    iterations,
    sigma_max,
    onStep,
    every = 1,
    signal,
    ...given
  } = {}) {
    number("n", n, { low: 1, whole: true });
    await start();
    const settings = settingsOf(this.config.sampling, given);
    const seeds = seedsFrom(seed, n);
    const labels = this.space.classes(mask ? (label ?? -1) : label, n);
    const denoiser = new Denoiser(
      this.current,
      this.frame,
      this.space.size,
      process && makeProcess(process),
    );
    const { guidance } = settings;
    const known = mask && observed(this.space, image, mask);
    const own = known ? new Conditioned(denoiser, known, { std, iterations }) : denoiser;
    const call = {
      process: denoiser.process,
      size: denoiser.size,
      denoise: (u, t) => own.denoise(u, t, { labels, guidance }),
    };
    const began = performance.now();
    const asked = { path, image, strength };
    const { start: from, ...rest } = this.beginning(asked, denoiser.process, seeds, settings);
    const sampler = makeSampler({ ...settings, sigma_max, ...rest });
    const report = onStep && reporter(sampler, this.space, onStep, every);
    const x = this.space.toData(
      await sampler.run(call, seeds, { start: state ?? from, signal, onStep: report }),
    );
    if (known)
      x.forEach((_, at) => {
        const i = at % this.space.size;
        if (known.known[i]) x[at] = known.exact[i];
      });
    return { x, labels, nfe: denoiser.nfe, seconds: (performance.now() - began) / 1000 };
  }

  /** Return where a path or an edit begins, with what it changes of the settings. */
  beginning({ path, image, strength }, process, seeds, settings) {
    const { size } = this.space;
    if (path) return { start: pathStates(process, path, seeds.length, size, settings) };
    if (strength === undefined) return {};
    return editStates(process, this.space.toModel(image, "image"), strength, seeds, settings);
  }

  /**
   * Return the score of the data smoothed to sigma_eff(t), at x (n, ...shape) in the data's own range:
   * (D(y; sigma) - y) / sigma^2 per model-space unit, divided by `scale`.
   * @param {ArrayLike<number>} x
   * @param {number} t
   * @returns {Promise<Float32Array>} (n, ...shape)
   */
  async score(x, t) {
    await start();
    const y = this.space.toModel(x);
    const { size, scale } = this.space;
    const denoiser = new Denoiser(this.current, this.frame, size);
    const x0 = await denoiser.denoise(outerTo(denoiser.process.mean(t), y, size), t);
    const sigma = denoiser.process.sigmaEff(t);
    return Float32Array.from(x0, (v, i) => (v - y[i]) / sigma ** 2 / scale[i % size]);
  }

  /** Return {config, weights}: the files of a folder that Python's ScoreModel.load reads. */
  async save() {
    return writeBundle({ ...this.config, parameters: this.parameters }, this.current.parameters.write());
  }

  /** Free what the model holds on the device. */
  dispose() {
    this.net.parameters.release();
    this.current.parameters.release();
  }
}
