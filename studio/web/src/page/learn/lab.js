// The lab without its page: data, a small score model that learns them, and what is asked of it.

import { ScoreModel } from "../../engine/client.js";
import { makeProcess } from "../../engine/process/index.js";
import { blur, drawShape, frameOf, HAND } from "./shapes.js";

const DATA = 6000;
const BATCH = 256;
const NET = { kind: "mlp", width: 96, depth: 3, fourier: 32 }; // the pipeline's own small network
const LIVE = { n: 500, steps: 10, every: 1000 }; // the cloud that is refreshed while training
const PACE = 2000; // ms that the training's speed is a mean of
const EVERY = 5; // training steps of a point of the loss curve
const SMOOTH = 0.9; // of the loss curve
const FOREVER = 1e6;

/**
 * Events: "data" (another shape, the model is new), "loss" (a point of the loss curve), "model" (worth asking
 * the model again), "training" (it began or stopped), "samples" (this.samples is new), "error".
 */
export class Lab extends EventTarget {
  shape = "swiss";
  hand = [];
  points = new Float32Array(0);
  steps = 0; // of training, so far
  raw = []; // mean loss of every EVERY steps
  losses = []; // the same, smoothed
  samples = null;
  training = false;
  rate = 0; // training steps per second
  processes = { vp: makeProcess("vp"), cld: makeProcess("cld") };

  #model = null;
  #paces = []; // [when, step] of the last reports
  #stop = null;

  constructor() {
    super();
    this.choose(this.shape);
  }

  /** Take another shape: the model starts anew. */
  choose(shape) {
    this.shape = shape;
    if (shape !== HAND) this.points = drawShape(shape, DATA);
    else this.points = this.hand.length ? blur(Float32Array.from(this.hand), DATA) : new Float32Array(0);
    const { center, scale } = this.points.length ? frameOf(this.points) : { center: [0, 0], scale: 1 };
    this.look = { kind: "points", shape: [2], center, scale: [scale], range: [-3, 3], sigmaData: 1 };
    this.reset();
    this.#tell("data");
  }

  /** Forget what was learned. */
  reset() {
    this.stop();
    this.#model?.then((old) => old.dispose()).catch(() => {});
    this.#model = null;
    Object.assign(this, { training: false, steps: 0, losses: [], raw: [], samples: null, rate: 0 });
    this.#tell("model");
  }

  /** Whether there is something to ask. */
  get trained() {
    return this.steps > 0;
  }

  /** The model, made on first use. */
  model() {
    this.#model ??= new ScoreModel({
      shape: [2],
      process: "vp",
      net: NET,
      center: this.look.center,
      scale: this.look.scale[0],
      // More of the low noise levels than pictures need: that is where fine shapes are.
      training: { p_mean: -2, p_std: 1.5 },
    }).ready;
    return this.#model;
  }

  stop() {
    this.#stop?.abort();
  }

  /** Train until `stop`; a cloud of samples is drawn now and then. */
  async train() {
    if (this.training || !this.points.length) return;
    const stop = new AbortController();
    this.#stop = stop;
    this.training = true;
    this.#paces = [];
    this.#tell("training");
    try {
      const model = await this.model();
      const onStep = ({ step, loss }) => this.#record(step, loss);
      const run = { items: this.points, batch: BATCH, steps: FOREVER, every: EVERY };
      const ended = model.train({ ...run, onStep, signal: stop.signal });
      this.#watch(stop.signal);
      await ended;
    } catch (error) {
      if (!stop.signal.aborted) this.dispatchEvent(new CustomEvent("error", { detail: error.message }));
    }
    if (this.#stop !== stop) return;
    this.training = false;
    this.#tell("training");
  }

  /** Refresh the cloud while training goes on. */
  async #watch(signal) {
    try {
      while (!signal.aborted) {
        await new Promise((resolve) => setTimeout(resolve, LIVE.every));
        if (!signal.aborted && this.trained) await this.refresh();
      }
    } catch (error) {
      if (!signal.aborted) this.dispatchEvent(new CustomEvent("error", { detail: error.message }));
    }
  }

  /** Draw a small cloud with the model as it is. */
  async refresh() {
    const model = await this.model();
    const samples = await model.generate({ n: LIVE.n, steps: LIVE.steps, seed: 0 });
    if (model !== (await this.#model)) return; // forgotten meanwhile
    this.samples = samples;
    this.#tell("samples");
    this.#tell("model");
  }

  /** Samples, with their frames, while training pauses; see ScoreModel.generate. */
  async generate(request) {
    this.stop();
    const model = await this.model();
    return model.generate(request);
  }

  /**
   * The estimate of x_0 for states y = x_0 + sigma eps, (n, 2), by Tweedie's formula:
   * D = y + (sigma scale)^2 score, sigma in scales of the data.
   */
  async denoise(y, sigma) {
    const model = await this.model();
    const score = await model.score(y, this.processes.vp.timeOf(sigma));
    const variance = (sigma * this.look.scale[0]) ** 2;
    return y.map((v, i) => v + variance * score[i]);
  }

  #record(step, loss) {
    this.steps = step;
    const now = performance.now();
    this.#paces = this.#paces.filter(([when]) => now - when < PACE);
    this.#paces.push([now, step]);
    const [since, first] = this.#paces[0];
    this.rate = now > since ? (1000 * (step - first)) / (now - since) : 0;
    this.raw.push(loss);
    const before = this.losses.at(-1);
    // A running mean at first, an exponential one later.
    const keep = Math.min(SMOOTH, (this.raw.length - 1) / this.raw.length);
    this.losses.push(before === undefined ? loss : keep * before + (1 - keep) * loss);
    this.#tell("loss");
  }

  #tell(type) {
    this.dispatchEvent(new Event(type));
  }
}
