/**
 * Predictor-corrector (arXiv 2011.13456): an ancestral step, then Langevin dynamics at the new level,
 * preconditioned by Sigma and solved exactly with x_0 held at D:
 *
 *     u <- m D + a (u - m D) + sqrt(1 - a^2) L z,     a = exp(-theta),
 *
 * theta = corrector x (the step's length in ln sigma_eff). Two evaluations a step.
 */

import * as matrix from "../math/matrix.js";
import { applyTo, outerTo } from "../state.js";
import { ExponentialIntegrator } from "./exponential.js";

export class PredictorCorrector extends ExponentialIntegrator {
  constructor({ corrector, ...settings }) {
    super({ order: 1, eta: 1, ...settings });
    this.corrector = corrector;
  }

  prepare() {
    super.prepare();
    const { process, times } = this;
    this.tables = times.slice(1).map((t, i) => {
      const theta = -this.corrector * Math.log(process.sigmaEff(t) / process.sigmaEff(times[i]));
      const spread = Math.sqrt(-Math.expm1(-2 * theta));
      return {
        keep: Math.exp(-theta),
        spread: matrix.scale(spread, process.cholesky(t)),
        center: process.mean(t),
      };
    });
  }

  async step(i, u, denoise) {
    const { keep, spread, center } = this.tables[i];
    const [predicted] = await super.step(i, u, denoise);
    const x0 = await denoise(predicted, this.times[i + 1]);
    const next = predicted.map((v) => keep * v);
    outerTo(
      center.map((v) => (1 - keep) * v),
      x0,
      this.size,
      next,
    );
    applyTo(spread, this.draw(this.process.k), this.size, next);
    return [next, x0];
  }
}
