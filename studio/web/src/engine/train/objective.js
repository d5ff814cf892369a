/**
 * What a training step regresses on, as one table over training times (sgm_core/objective.py):
 *
 *     E_{t, x_0, eps} | F(c_in u_t, sigma) - target |^2,     u_t = m x_0 + B xi,   xi ~ N(0, I),
 *
 * target = (x_0 - c_skip . u) / c_out for `edm`, xi_k for `native`, xi_k - lin . u for `mixed`. For
 * `edm` the state is replaced by its statistic y = x_0 + sigma_eff eps, equal in law. Times are drawn from
 * a fixed table of quantiles of their law, so that all float64 coefficients are computed once.
 */

import * as matrix from "../math/matrix.js";
import { normalCdf, normalQuantile } from "../math/normal.js";
import { multipliers } from "./weighting.js";

const [UNIFORM_T_MIN, LOGUNIFORM_SIGMA_MIN] = [1e-5, 1e-3];

/**
 * Return n equally likely training times, the mid-quantiles of the law.
 * @param {import("../process/base.js").Process} process
 * @param {object} training the fields time_sampling, p_mean and p_std
 */
export function trainingTimes(process, { time_sampling, p_mean, p_std }, n) {
  const quantiles = Array.from({ length: n }, (_, i) => (i + 0.5) / n);
  if (time_sampling === "uniform") {
    const first = Math.max(UNIFORM_T_MIN, process.tMin);
    return quantiles.map((q) => first + (process.tMax - first) * q);
  }
  const { marginal } = process;
  let [low, high] = marginal.sigmaRange().map(Math.log);
  if (time_sampling === "loguniform") {
    low = Math.max(low, Math.log(LOGUNIFORM_SIGMA_MIN));
    return quantiles.map((q) => marginal.timeOf(Math.exp(low + (high - low) * q)));
  }
  const [below, above] = [low, high].map((level) => normalCdf((level - p_mean) / p_std));
  return quantiles.map((q) => {
    const inside = Math.min(1 - 1e-12, Math.max(1e-12, below + (above - below) * q));
    return marginal.timeOf(Math.exp(p_mean + p_std * normalQuantile(inside)));
  });
}

/** Return the coefficients at a training time. */
function row(frame, t) {
  const { process, parametrisation } = frame;
  if (parametrisation === "edm") {
    const sigma = process.marginal.sigmaEff(t);
    const [cIn, cSkip, cOut] = frame.level(sigma);
    return {
      mean: [1],
      noise: [[sigma]],
      cIn: [[cIn]],
      sigma,
      target: [(1 - cSkip) / cOut, (-cSkip * sigma) / cOut],
    };
  }
  const { cIn, sigma } = frame.coefficients(t);
  const [mean, noise] = [process.mean(t), process.noiseFactor(t)];
  const columns = noise[0].length;
  const target = new Array(1 + columns).fill(0);
  target[process.k] = 1; // xi_k is column k - 1 of B
  if (parametrisation === "mixed") {
    // xi_k - lin . u with u = m x_0 + B xi put in, where float64 takes the difference.
    const lin = frame.linear(t);
    target[0] -= matrix.dot(lin, mean);
    for (let c = 0; c < columns; c++)
      target[1 + c] -= matrix.dot(
        lin,
        noise.map((v) => v[c]),
      );
  }
  return { mean, noise, cIn, sigma, target };
}

export class Objective {
  /**
   * @param {import("../frame.js").Frame} frame
   * @param {object} training complete fields of training
   * @param {number} n training times
   */
  constructor(frame, training, n) {
    const times = trainingTimes(frame.process, training, n);
    this.times = times;
    this.rows = times.map((t) => row(frame, t));
    const raw = multipliers(frame, times, training.weighting, training.min_snr_gamma);
    const mean = raw.reduce((a, b) => a + b, 0) / n;
    this.weights = raw.map((w) => w / mean);
  }

  /**
   * Perturb clean items at random times, stratified over the table within the batch.
   * @param {Float64Array} x0 (b, d) in model space
   * @param {number} d
   * @param {import("../math/noise.js").NoiseStream} random one stream
   * @param {number} index of its first draw; two are made
   * @returns {{inputs: Float32Array, sigma: Float32Array, target: Float32Array, weight: Float32Array}}
   */
  draw(x0, d, random, index) {
    const b = x0.length / d;
    const n = this.rows.length;
    const { cIn, noise } = this.rows[0];
    const [fed, columns] = [cIn.length, noise[0].length];
    const place = random.uniform(index, b);
    const xi = random.draw(index + 1, b * columns * d);
    const batch = {
      inputs: new Float32Array(b * fed * d),
      sigma: new Float32Array(b),
      target: new Float32Array(b * d),
      weight: new Float32Array(b),
    };
    for (let i = 0; i < b; i++) {
      const at = Math.min(n - 1, Math.floor((i + place[i]) * (n / b)));
      this.perturb(
        this.rows[at],
        batch,
        i,
        x0.subarray(i * d, (i + 1) * d),
        xi.subarray(i * columns * d, (i + 1) * columns * d),
      );
      batch.weight[i] = this.weights[at];
    }
    return batch;
  }

  /** Fill in item i of a batch. */
  perturb({ mean, noise, cIn, sigma, target }, batch, i, x0, xi) {
    const d = x0.length;
    batch.sigma[i] = sigma;
    // inputs = c_in u = (c_in m) x_0 + (c_in B) xi
    const fromData = matrix.apply(cIn, mean);
    const fromNoise = matrix.multiply(cIn, noise);
    fromData.forEach((factor, c) => {
      const to = (i * cIn.length + c) * d;
      for (let x = 0; x < d; x++) {
        let value = factor * x0[x];
        for (let r = 0; r < noise[0].length; r++) value += fromNoise[c][r] * xi[r * d + x];
        batch.inputs[to + x] = value;
      }
    });
    for (let x = 0; x < d; x++) {
      let value = target[0] * x0[x];
      for (let r = 0; r < noise[0].length; r++) value += target[1 + r] * xi[r * d + x];
      batch.target[i * d + x] = value;
    }
  }
}
