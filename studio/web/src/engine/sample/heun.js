/**
 * Heun's method on the probability-flow ODE of the sufficient statistic (arXiv 2206.00364, alg. 2).
 *
 * With y = u / m the ODE of every k = 1 process is dy / d sigma = (y - D(y; sigma)) / sigma. Churn first
 * raises the noise level of a step, sigma^ = sigma (1 + gamma), y += s_noise sqrt(sigma^^2 - sigma^2) z.
 */

import { UsageError } from "../errors.js";
import { combine } from "../state.js";
import { Sampler } from "./base.js";

export class Heun extends Sampler {
  constructor({ s_churn, s_tmin, s_tmax, s_noise, ...settings }) {
    super(settings);
    Object.assign(this, { churn: s_churn, low: s_tmin, high: s_tmax, spread: s_noise });
  }

  prepare() {
    const { process, times } = this;
    if (process.k !== 1) {
      throw new UsageError(
        `sampler "heun" is for processes with one channel and "${process.kind}" has ${process.k}; ` +
          'use "sscs", "multistep", "ddim" or "ode"',
      );
    }
    this.sigma = times.map((t) => process.sigmaEff(t));
    this.mean = times.map((t) => process.mean(t)[0]);
    const largest = process.sigmaRange()[1];
    const gamma = Math.min(this.churn / times.length, Math.SQRT2 - 1);
    this.raised = this.sigma.map((s) =>
      // Not above the largest level that the process (and its network) knows.
      s >= this.low && s <= this.high ? Math.max(s, Math.min(s * (1 + gamma), largest)) : s,
    );
  }

  async step(i, u, denoise) {
    const [s, next] = [this.raised[i], this.sigma[i + 1]];
    let [t, y] = [this.times[i], u.map((v) => v / this.mean[i])];
    let state = u;
    if (s > this.sigma[i]) {
      const extra = this.spread * Math.sqrt(s ** 2 - this.sigma[i] ** 2);
      y = combine(1, y, extra, this.draw(1));
      t = this.process.timeOf(s);
      const mean = this.process.mean(t)[0];
      state = y.map((v) => mean * v);
    }
    const x0 = await denoise(state, t);
    const slope = combine(1 / s, y, -1 / s, x0);
    const ahead = combine(1, y, next - s, slope);
    const mean = this.mean[i + 1];
    const x0Next = await denoise(
      ahead.map((v) => mean * v),
      this.times[i + 1],
    );
    const slopeNext = combine(1 / next, ahead, -1 / next, x0Next);
    const sum = combine(1, slope, 1, slopeNext);
    return [combine(mean, y, mean * 0.5 * (next - s), sum), x0];
  }
}
