/**
 * Adaptive probability-flow ODE (Dormand-Prince 5(4)) in lambda = -ln sigma_eff.
 *
 *     du / d lambda = (F u - 1/2 G G^T score(u, t)) / (d lambda / dt),
 *     d lambda / dt = -1/2 m^T Sigma^-1 G G^T Sigma^-1 m / SNR.
 *
 * Every sample has its own step size, so that its result does not depend on its neighbours.
 */

import { integrateEach } from "../math/dopri5.js";
import * as matrix from "../math/matrix.js";
import { applyTo, outerTo } from "../state.js";
import { Sampler } from "./base.js";

export class ProbabilityFlowODE extends Sampler {
  constructor({ rtol, atol, steps, grid, ...settings }) {
    super({ ...settings, steps: Math.min(2, steps), grid: grid && "log" });
    this.tolerances = { rtol, atol };
    this.settings.steps = 2; // from one end to the other
  }

  /** Return the flow du / d lambda = linear u + gain D^T at a level. */
  flow(level) {
    const { process } = this;
    const t = process.timeOf(Math.exp(-level));
    const noise = process.diffusion(t);
    const weighted = matrix.apply(noise, process.precisionMean(t));
    const speed = (-0.5 * matrix.dot(process.precisionMean(t), weighted)) / process.snr(t);
    const spread = matrix.multiply(noise, process.precision(t));
    return {
      t,
      linear: matrix.scale(1 / speed, matrix.add(process.drift(t), matrix.scale(0.5, spread))),
      gain: weighted.map((v) => (-0.5 * v) / speed),
    };
  }

  async step(i, u, denoise) {
    const { size, process } = this;
    const width = process.k * size;
    const n = u.length / width;
    const [start, end] = [this.times[i], this.times[i + 1]].map((t) => -Math.log(process.sigmaEff(t)));
    // The denoiser may treat items differently (labels, masks): it is always given all of them.
    const all = u.slice();
    const times = new Float64Array(n);
    const x0 = new Float64Array(n * size);
    const slope = async (levels, states, active) => {
      const flows = active.map((item, a) => {
        all.set(states[a], item * width);
        const flow = this.flow(levels[a]);
        times[item] = flow.t;
        return flow;
      });
      const estimate = await denoise(all, times);
      return active.map((item, a) => {
        const own = estimate.subarray(item * size, (item + 1) * size);
        x0.set(own, item * size); // the last call for a sample is at its end
        return outerTo(flows[a].gain, own, size, applyTo(flows[a].linear, states[a], size));
      });
    };
    const states = Array.from({ length: n }, (_, item) => u.slice(item * width, (item + 1) * width));
    const { states: ends, late } = await integrateEach(slope, states, start, end, this.tolerances);
    if (late)
      throw new Error(`sampler "ode": ${late} of ${n} samples did not end in time; raise the tolerances`);
    const out = new Float64Array(u.length);
    ends.forEach((state, item) => {
      out.set(state, item * width);
    });
    return [out, x0];
  }
}
