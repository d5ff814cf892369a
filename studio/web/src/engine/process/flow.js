/**
 * Rectified flow with Gaussian noise (arXiv 2209.03003): u = (1 - t) x_0 + t eps, as a diffusion.
 *
 *     m = 1 - t,  Sigma = t^2,  sigma_eff = t / (1 - t),  F = -1 / (1 - t),  g^2 = 2 t / (1 - t)
 *
 * The mean vanishes at t = 1; sampling starts at 1 - eps.
 */

import { ScalarProcess } from "./base.js";

export class Flow extends ScalarProcess {
  kind = "flow";

  constructor({ eps }) {
    super();
    this.tMax = 1 - eps;
  }
  alpha(t) {
    return 1 - t;
  }
  variance(t) {
    return t * t;
  }
  rate(t) {
    return -1 / (1 - t);
  }
  noiseRate(t) {
    return (2 * t) / (1 - t);
  }
  transition(s, t) {
    return [[(1 - t) / (1 - s)]];
  }
}
