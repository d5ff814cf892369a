/**
 * Sampling given the known numbers of an item (inpainting): a denoiser of p(x_0 | u_t, obs) from one of
 * p(x_0 | u_t), as sgm_core/control/conditioned.py.
 *
 * For obs = A x_0 + s n with a mask A, and y = x_0 + sigma eps, the posterior p(x_0 | y) is taken to be
 * Gaussian with its true first two moments (arXiv 2310.06721, 2405.13712):
 *
 *     D = E[x_0 | y],     V = Cov[x_0 | y] = sigma^2 dD/dy,
 *     E[x_0 | y, obs] = D + V A^T (A V A^T + s^2 I)^-1 (obs - A D).
 *
 * V w is one vector-Jacobian product; the linear system is solved in a Krylov space.
 */

import { number, UsageError } from "../errors.js";
import { gain } from "./krylov.js";

/**
 * Return what an item and a mask say of it.
 * @param {import("../space.js").DataSpace} space
 * @param {ArrayLike<number>} image in the data's range; what stands at unknown places does not matter
 * @param {ArrayLike<number>} mask 1 where a number is known
 */
export function observed(space, image, mask) {
  const { size, center } = space;
  if (image?.length !== size) {
    throw new UsageError(`image: ${image?.length ?? 0} numbers do not fit; give one item of ${size}`);
  }
  if (mask.length !== size || Array.from(mask).some((v) => Number(v) !== 0 && Number(v) !== 1)) {
    throw new UsageError(`mask: write ${size} numbers, 1 where the item is known and 0 elsewhere`);
  }
  const known = Float64Array.from(mask, Number);
  const filled = Float64Array.from(image, (v, i) => (known[i] ? v : center[i]));
  const values = space.toModel(filled, "image").map((v, i) => known[i] * v);
  return { known, values, exact: filled };
}

export class Conditioned {
  /**
   * @param {import("../denoiser.js").Denoiser} denoiser
   * @param {ReturnType<typeof observed>} observation
   * @param {{std?: number, iterations?: number}} [options] std: noise of the known numbers in model space
   *   that is assumed; iterations: largest dimension of the Krylov space
   */
  constructor(denoiser, observation, { std = 0.01, iterations = 3 } = {}) {
    this.denoiser = denoiser;
    this.observation = observation;
    this.variance = number("std", std, { low: 0 }) ** 2;
    this.iterations = number("iterations", iterations, { low: 1, whole: true });
  }

  /** See Denoiser.denoise. */
  async denoise(u, t, condition) {
    const { known, values } = this.observation;
    const d = known.length;
    const line = await this.denoiser.linearised(u, t, condition);
    try {
      const { x0 } = line;
      const mask = x0.map((_, at) => known[at % d]);
      const residual = x0.map((v, at) => mask[at] * (values[at % d] - v));
      const correction = await gain(
        (w) => line.spread(w),
        mask,
        residual,
        d,
        this.variance,
        this.iterations,
      );
      return x0.map((v, at) => v + correction[at]);
    } finally {
      line.release();
    }
  }
}
