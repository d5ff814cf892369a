/**
 * Processes that keep the mean, m = 1:
 *
 *     VE (arXiv 2011.13456):   sigma(t) = sigma_min (sigma_max / sigma_min)^t on [0, 1]
 *     EDM (arXiv 2206.00364):  sigma(t) = t on [sigma_min, sigma_max]
 */

import { ScalarProcess } from "./base.js";

class Exploding extends ScalarProcess {
  alpha() {
    return 1;
  }
  rate() {
    return 0;
  }
  transition() {
    return [[1]];
  }
}

export class VE extends Exploding {
  kind = "ve";

  constructor({ sigma_min, sigma_max }) {
    super();
    this.sigmaMin = sigma_min;
    this.logRatio = Math.log(sigma_max / sigma_min);
  }
  variance(t) {
    return this.sigmaMin ** 2 * Math.exp(2 * this.logRatio * t);
  }
  noiseRate(t) {
    return 2 * this.logRatio * this.variance(t);
  }
}

export class EDM extends Exploding {
  kind = "edm";

  constructor({ sigma_min, sigma_max }) {
    super();
    this.tMin = sigma_min;
    this.tMax = sigma_max;
  }
  variance(t) {
    return t * t;
  }
  noiseRate(t) {
    return 2 * t;
  }
}
