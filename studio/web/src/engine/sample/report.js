/** What a run shows of a step, in the data's own range. */

import { along } from "../state.js";

/**
 * Return what a sampler calls after each step.
 * @param {import("./base.js").Sampler} sampler
 * @param {import("../space.js").DataSpace} space
 * @param {(frame: object) => unknown} onStep see ScoreModel.sample
 * @param {number} every steps between two frames; the last is always shown
 */
export function reporter(sampler, space, onStep, every) {
  let last = performance.now();
  return async (step, t, u, x0) => {
    const steps = sampler.times.length;
    if (step % every && step < steps) return undefined;
    const { process } = sampler;
    const ms = performance.now() - last;
    const frame = {
      step,
      steps,
      t,
      sigma: process.sigmaEff(t),
      // The position seen through the process, rescaled to y = x_0 + sigma_eff eps.
      xt: space.toData(along(process.statistic(t), u, space.size), false),
      x0: space.toData(x0, false),
      u: Float32Array.from(u),
      ms,
    };
    const answer = await onStep(frame);
    last = performance.now();
    return answer;
  };
}
