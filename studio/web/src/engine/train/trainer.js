/**
 * Denoising score matching with AdamW and a moving average of the weights (sgm_core/train/loop.py).
 *
 * The network and its gradients run on TensorFlow.js; loss, clipping, AdamW and average run over float32
 * arrays on the host, in one pass over the weights.
 */

import * as tf from "@tensorflow/tfjs-core";
import { UsageError } from "../errors.js";
import { NoiseStream } from "../math/noise.js";
import { Tape } from "../net/tape.js";
import { Objective } from "./objective.js";

const EPS = 1e-8;
const DRAWS = 4; // of a step: places, noise, dropped labels, items

/** Return mean weight |output - target|^2 and its gradient in the output. */
function squares(output, { target, weight }) {
  const d = output.length / weight.length;
  const gradient = new Float32Array(output.length);
  let total = 0;
  for (let i = 0; i < output.length; i++) {
    const difference = output[i] - target[i];
    const w = weight[Math.floor(i / d)];
    total += w * difference * difference;
    gradient[i] = (2 * w * difference) / output.length;
  }
  return { loss: total / output.length, gradient };
}

/**
 * Return the loss of a batch and its gradients by the weights' names.
 * @param {import("../net/network.js").Network} net
 * @param {{inputs: Float32Array, sigma: Float32Array, target: Float32Array, weight: Float32Array}} batch
 * @param {Int32Array | null} labels
 */
export async function gradients(net, batch, labels) {
  const n = batch.sigma.length;
  const names = net.parameters.trained;
  const tape = new Tape(
    () => {
      const x = tf.tensor2d(batch.inputs, [n, batch.inputs.length / n]);
      return net.run(x, net.side(batch.sigma, labels));
    },
    () => names.map((name) => net.parameters.get(name)),
  );
  const { loss, gradient } = squares(await tape.y.data(), batch);
  const found = tf.tidy(() => tape.back(tf.tensor2d(gradient, tape.y.shape)));
  const values = await Promise.all(found.map((tensor) => tensor.data()));
  tf.dispose(found);
  tape.release();
  return { loss, gradients: new Map(names.map((name, i) => [name, values[i]])) };
}

export class Trainer {
  /**
   * @param {import("../net/network.js").Network} net trained in place
   * @param {import("../net/parameters.js").Parameters} average moves after the net's weights
   * @param {import("../frame.js").Frame} frame
   * @param {object} settings complete fields of training
   * @param {{levels: number, seed: number, size: number}} options
   */
  constructor(net, average, frame, settings, { levels, seed, size }) {
    if (net.dropout)
      throw new UsageError(`dropout: ${net.dropout} cannot be trained with in the browser; set it to 0`);
    this.net = net;
    this.average = average;
    this.settings = settings;
    this.size = size;
    this.objective = new Objective(frame, settings, levels);
    this.random = new NoiseStream([BigInt(seed) + (1n << 63n)]); // not the stream of the first weights
    this.step = 0;
    const zeros = () =>
      new Map(
        net.parameters.trained.map((name) => [
          name,
          new Float32Array(net.parameters.values.get(name).data.length),
        ]),
      );
    this.moments = { first: zeros(), second: zeros() };
  }

  /** Linear warm-up, then constant, or a cosine to zero. */
  get rate() {
    const { lr, warmup, schedule, steps } = this.settings;
    const rate = lr * Math.min(1, (this.step + 1) / (warmup + 1));
    if (schedule === "constant") return rate;
    return rate * 0.5 * (1 + Math.cos(Math.PI * Math.min(1, this.step / steps)));
  }

  /** Return `count` random indices below n, for this step. */
  choose(count, n) {
    const places = this.random.uniform(DRAWS * this.step + 3, count);
    return Int32Array.from(places, (place) => Math.floor(place * n));
  }

  /**
   * Do one step on clean items x0 (b, d) in model space.
   * @param {Float64Array} x0
   * @param {Int32Array | null} labels
   * @returns {Promise<number>} the loss
   */
  async advance(x0, labels) {
    const first = DRAWS * this.step;
    const batch = this.objective.draw(x0, this.size, this.random, first);
    let chosen = labels;
    if (labels && this.settings.label_dropout > 0) {
      const dropped = this.random.uniform(first + 2, labels.length);
      chosen = labels.map((label, i) => (dropped[i] < this.settings.label_dropout ? -1 : label));
    }
    const { loss, gradients: found } = await gradients(this.net, batch, chosen);
    this.update(found);
    return loss;
  }

  update(found) {
    const { betas, weight_decay, grad_clip, ema } = this.settings;
    let norm = 0;
    for (const values of found.values())
      for (let i = 0; i < values.length; i++) norm += values[i] * values[i];
    const clip = Math.min(1, grad_clip / (Math.sqrt(norm) + 1e-6));
    const { rate } = this;
    this.step += 1;
    // Early averages would be dominated by the initial weights; the decay grows to its value.
    const constants = {
      clip,
      betas,
      keep: 1 - rate * weight_decay,
      size: rate / (1 - betas[0] ** this.step),
      root: Math.sqrt(1 - betas[1] ** this.step),
      follow: 1 - Math.min(ema, this.step / (10 + this.step)),
    };
    for (const [name, gradient] of found) {
      const weights = this.net.parameters.values.get(name).data;
      const average = this.average.values.get(name).data;
      adamw(
        weights,
        gradient,
        this.moments.first.get(name),
        this.moments.second.get(name),
        average,
        constants,
      );
    }
    this.net.parameters.release();
    this.average.release();
  }
}

/** AdamW (arXiv 1711.05101) and the average, in place. */
function adamw(
  weights,
  gradient,
  first,
  second,
  average,
  { clip, betas: [b1, b2], keep, size, root, follow },
) {
  for (let i = 0; i < weights.length; i++) {
    const g = clip * gradient[i];
    const m = b1 * first[i] + (1 - b1) * g;
    const v = b2 * second[i] + (1 - b2) * g * g;
    first[i] = m;
    second[i] = v;
    const w = keep * weights[i] - (size * m) / (Math.sqrt(v) / root + EPS);
    weights[i] = w;
    average[i] += follow * (w - average[i]);
  }
}
