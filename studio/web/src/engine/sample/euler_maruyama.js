/** Euler-Maruyama on the reverse SDE: u_{t-h} = u_t - h (F u - G G^T score(u, t)) + sqrt(h) G z. */

import * as matrix from "../math/matrix.js";
import { applyTo, outerTo } from "../state.js";
import { Sampler } from "./base.js";

export class EulerMaruyama extends Sampler {
  prepare() {
    const { process, times } = this;
    this.tables = times.slice(0, -1).map((t, i) => {
      const h = t - times[i + 1];
      const noise = process.diffusion(t);
      // score = Sigma^-1 (m D - u): the step is linear in u and D.
      const rate = matrix.add(process.drift(t), matrix.multiply(noise, process.precision(t)));
      return {
        carry: matrix.subtract(matrix.identity(process.k), matrix.scale(h, rate)),
        gain: matrix.apply(noise, process.precisionMean(t)).map((v) => h * v),
        kick: matrix.scale(Math.sqrt(h), matrix.symmetricRoot(noise)),
      };
    });
  }

  async step(i, u, denoise) {
    const { carry, gain, kick } = this.tables[i];
    const x0 = await denoise(u, this.times[i]);
    const next = applyTo(carry, u, this.size);
    outerTo(gain, x0, this.size, next);
    applyTo(kick, this.draw(this.process.k), this.size, next);
    return [next, x0];
  }
}
