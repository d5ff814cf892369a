/**
 * Variance-preserving SDE (arXiv 2011.13456): du = -beta/2 u dt + sqrt(beta) dw, B = int_0^t beta:
 *
 *     m = exp(-B/2),  Sigma = 1 - exp(-B),  sigma_eff = sqrt(exp(B) - 1).
 *
 * Linear schedule: beta = beta_min + t (beta_max - beta_min). Cosine schedule (arXiv 2102.09672):
 * m = cos a_t / cos a_0, a_t = pi/2 (t + s) / (1 + s), so that exp(B) - 1 = sin(a_t - a_0)
 * sin(a_t + a_0) / cos^2 a_t; its mean vanishes at t = 1 and sampling starts at 0.999.
 *
 * Sub-VP has the same mean and less noise: Sigma = (1 - exp(-B))^2, sigma_eff = 2 sinh(B/2).
 */

import { ScalarProcess } from "./base.js";

export class VP extends ScalarProcess {
  kind = "vp";

  constructor({ beta_min, beta_max, schedule, s }) {
    super();
    this.betaMin = beta_min;
    this.betaMax = beta_max;
    this.cosine = schedule === "cosine";
    if (this.cosine) this.tMax = 0.999;
    this.turn = (0.5 * Math.PI) / (1 + s); // da / dt
    this.first = this.turn * s; // a_0
  }

  /** Return B(t). */
  rateIntegral(t) {
    if (this.cosine) {
      const angle = this.turn * t + this.first;
      return Math.log1p((Math.sin(this.turn * t) * Math.sin(angle + this.first)) / Math.cos(angle) ** 2);
    }
    return t * (this.betaMin + 0.5 * t * (this.betaMax - this.betaMin));
  }

  beta(t) {
    if (this.cosine) return 2 * this.turn * Math.tan(this.turn * t + this.first);
    return this.betaMin + t * (this.betaMax - this.betaMin);
  }

  alpha(t) {
    return Math.exp(-0.5 * this.rateIntegral(t));
  }
  variance(t) {
    return -Math.expm1(-this.rateIntegral(t));
  }
  snr(t) {
    return 1 / Math.expm1(this.rateIntegral(t));
  }
  rate(t) {
    return -0.5 * this.beta(t);
  }
  noiseRate(t) {
    return this.beta(t);
  }

  transition(s, t) {
    if (this.cosine) {
      return [[Math.cos(this.turn * t + this.first) / Math.cos(this.turn * s + this.first)]];
    }
    // B(t) - B(s) factored, so that nearby times do not cancel.
    const span = (t - s) * (this.betaMin + 0.5 * (t + s) * (this.betaMax - this.betaMin));
    return [[Math.exp(-0.5 * span)]];
  }
}

export class SubVP extends VP {
  kind = "subvp";

  variance(t) {
    return Math.expm1(-this.rateIntegral(t)) ** 2;
  }
  snr(t) {
    return 1 / (2 * Math.sinh(0.5 * this.rateIntegral(t))) ** 2;
  }
  noiseRate(t) {
    return -this.beta(t) * Math.expm1(-2 * this.rateIntegral(t));
  }
}
