/**
 * Symmetric splitting for Langevin processes (SSCS, arXiv 2112.07068): an Ornstein-Uhlenbeck part with
 * the stationary score, solved exactly for half a step on either side of a step h of the rest,
 *
 *     du = [ G G^T (Sigma_inf^-1 - Sigma^-1) u + G G^T Sigma^-1 m D ] dt.
 *
 * `sscs`: one Euler step with the score at the step's first time. `sscs2`: coefficients at the step's
 * middle and the midpoint rule; two evaluations, order 2.
 */

import * as matrix from "../math/matrix.js";
import { applyTo, combine, outerTo } from "../state.js";
import { Sampler } from "./base.js";

class Splitting extends Sampler {
  prepare() {
    const { process, times } = this;
    this.tables = times.slice(0, -1).map((start, i) => {
      const [end, middle] = [times[i + 1], (start + times[i + 1]) / 2];
      const halves = [process.reverseSplitting(start, middle), process.reverseSplitting(middle, end)];
      const t = this.scoreTime(start, middle);
      const noise = process.diffusion(t);
      const difference = matrix.subtract(
        matrix.invert(process.stationaryCovariance()),
        process.precision(t),
      );
      const h = start - end;
      return {
        t,
        halves: halves.map(([flow, spread]) => [flow, matrix.cholesky(spread)]),
        linear: matrix.scale(h, matrix.multiply(noise, difference)),
        gain: matrix.apply(noise, process.precisionMean(t)).map((v) => h * v),
      };
    });
  }

  half([flow, root], u) {
    return applyTo(root, this.draw(this.process.k), this.size, applyTo(flow, u, this.size));
  }

  async step(i, u, denoise) {
    const table = this.tables[i];
    const [state, x0] = await this.scoreFlow(table, this.half(table.halves[0], u), denoise);
    return [this.half(table.halves[1], state), x0];
  }

  /** Return linear u + gain D^T. */
  change({ linear, gain }, u, x0) {
    return outerTo(gain, x0, this.size, applyTo(linear, u, this.size));
  }
}

export class SSCS extends Splitting {
  scoreTime(start) {
    return start;
  }

  async scoreFlow(table, u, denoise) {
    const x0 = await denoise(u, table.t);
    return [combine(1, u, 1, this.change(table, u, x0)), x0];
  }
}

export class SSCS2 extends Splitting {
  scoreTime(_, middle) {
    return middle;
  }

  async scoreFlow(table, u, denoise) {
    const first = await denoise(u, table.t);
    const half = combine(1, u, 0.5, this.change(table, u, first));
    const x0 = await denoise(half, table.t);
    return [combine(1, u, 1, this.change(table, half, x0)), x0];
  }
}
