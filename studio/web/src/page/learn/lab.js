// The lab without its page: data, a small score model that learns them, and what is asked of it.

import { ScoreModel } from "../../engine/client.js";
import { makeProcess } from "../../engine/process/index.js";
import { uniforms } from "./random.js";
import { blur, drawShape, frameOf, HAND } from "./shapes.js";

const DATA = 6000;
const BATCH = 256;
const LIVE = { n: 700, steps: 12, every: 700 }; // the cloud that is refreshed while training
const SMOOTH = 0.96; // of the loss curve

/**
 * Events: "data" (another shape, the model is new), "loss" (a training step), "model" (worth asking
 * the model again), "training" (it began or stopped), "samples" (this.samples is new), "error".
 */
export class Lab extends EventTarget {
  shape = "swiss";
  hand = [];
  points = new Float32Array(0);
  losses = []; // smoothed, one a step
  raw = [];
  samples = null;
  training = false;
  rate = 0; // training steps per second
  processes = { vp: makeProcess("vp"), cld: makeProcess("cld") };

  #model = null;
  #order = uniforms(7);

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
    Object.assign(this, { losses: [], raw: [], samples: null, rate: 0 });
    this.#tell("model");
  }

  get steps() {
    return this.raw.length;
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
      net: { kind: "mlp", width: 128, depth: 3 },
      center: this.look.center,
      scale: this.look.scale[0],
    }).ready;
    return this.#model;
  }

  stop() {
    if (!this.training) return;
    this.training = false;
    this.#tell("training");
  }

  /** Train until `stop`; samples are drawn in between. */
  async train() {
    if (this.training || !this.points.length) return;
    this.training = true;
    this.#tell("training");
    const round = this.#model;
    try {
      const model = await this.model();
      let [since, steps, shown] = [performance.now(), 0, performance.now()];
      while (this.training && (round === null || this.#model === round)) {
        const loss = await model.trainStep(this.#batch());
        if (!this.training) break;
        this.#record(loss);
        steps += 1;
        const now = performance.now();
        if (now - since > 500) {
          this.rate = (1000 * steps) / (now - since);
          [since, steps] = [now, 0];
        }
        if (now - shown > LIVE.every) {
          await this.refresh();
          shown = performance.now();
          since += shown - now; // drawing is no training
        }
      }
    } catch (error) {
      this.#fail(error);
    }
    this.training = false;
    this.#tell("training");
  }

  /** Draw a small cloud with the model as it is. */
  async refresh() {
    const model = await this.model();
    this.samples = await model.generate({ n: LIVE.n, steps: LIVE.steps, seed: 0 });
    this.#tell("samples");
    this.#tell("model");
  }

  /** Samples, with their frames; see ScoreModel.generate. */
  async generate(request) {
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

  #batch() {
    const batch = new Float32Array(2 * BATCH);
    const n = this.points.length / 2;
    for (let i = 0; i < BATCH; i += 1) {
      const j = Math.floor(n * this.#order());
      batch[2 * i] = this.points[2 * j];
      batch[2 * i + 1] = this.points[2 * j + 1];
    }
    return batch;
  }

  #record(loss) {
    this.raw.push(loss);
    const before = this.losses.at(-1);
    // A running mean at first, an exponential one later.
    const keep = Math.min(SMOOTH, (this.raw.length - 1) / this.raw.length);
    this.losses.push(before === undefined ? loss : keep * before + (1 - keep) * loss);
    this.#tell("loss");
  }

  #fail(error) {
    this.dispatchEvent(new CustomEvent("error", { detail: error.message }));
  }

  #tell(type) {
    this.dispatchEvent(new Event(type));
  }
}
