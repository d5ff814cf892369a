/**
 * A forward process is its perturbation kernel.
 *
 * The state u in R^{k x d} carries k channels per data coordinate, the data in channel 0:
 *
 *     p(u_t | x_0) = N( m_t x_0^T , Sigma_t (x) I_d ),   m_t in R^k,  Sigma_t in R^{k x k}
 *
 * The posterior of x_0 depends on u_t through one number per coordinate,
 *
 *     y = m^T Sigma^-1 u / SNR = x_0 + sigma_eff eps,   SNR = m^T Sigma^-1 m,  sigma_eff = SNR^-1/2,
 *
 * so E[x_0 | u_t] = D(y; sigma_eff) and score(u, t) = Sigma^-1 (m D - u) for every process. All
 * kernels are float64 closed forms without cancellation, as in sgm_core/process.
 */

import { UsageError } from "../errors.js";
import * as matrix from "../math/matrix.js";

const NODES = 512;

/** A linear diffusion on t in [0, tMax]; subclasses give the kernel of one time t in closed form. */
export class Process {
  /** @type {string} */ kind;
  /** Channels per data coordinate, position first. */
  k = 1;
  /** Smallest time of grids and training. */
  tMin = 1e-7;
  /** Where sampling starts. */
  tMax = 1;

  /** The kernel with all auxiliary initial values integrated out; denoisers and samplers use it. */
  get marginal() {
    return this;
  }

  /** Return the lower Cholesky factor L of Sigma_t. */
  cholesky(t) {
    return matrix.cholesky(this.covariance(t));
  }

  /** Return Sigma_t^-1 = L^-T L^-1. */
  precision(t) {
    const inverse = matrix.invertLower(this.cholesky(t));
    return matrix.multiply(matrix.transpose(inverse), inverse);
  }

  /** Return B with u_t = m x_0 + B xi; column k - 1 is the noise that `native` predicts. */
  noiseFactor(t) {
    return this.cholesky(t);
  }

  /** Return L^-1 v. */
  whiten(v, t) {
    return matrix.solveLower(this.cholesky(t), v);
  }

  snr(t) {
    const white = this.whiten(this.mean(t), t);
    return matrix.dot(white, white);
  }

  sigmaEff(t) {
    return 1 / Math.sqrt(this.snr(t));
  }

  /** Return Sigma^-1 m. */
  precisionMean(t) {
    const factor = this.cholesky(t);
    return matrix.solveUpper(matrix.transpose(factor), matrix.solveLower(factor, this.mean(t)));
  }

  /** ln sigma_eff on a grid of ln t, for bracketing the root in `timeOf`. */
  get levelTable() {
    if (!this._levels) {
      const [low, high] = [Math.log(this.tMin), Math.log(this.tMax)];
      const times = Float64Array.from({ length: NODES }, (_, i) =>
        Math.exp(low + ((high - low) * i) / (NODES - 1)),
      );
      times[0] = this.tMin;
      times[NODES - 1] = this.tMax;
      this._levels = { times, levels: times.map((t) => Math.log(this.marginal.sigmaEff(t))) };
    }
    return this._levels;
  }

  /** Return the noise levels at tMin and tMax. */
  sigmaRange() {
    const { levels } = this.levelTable;
    return [Math.exp(levels[0]), Math.exp(levels[NODES - 1])];
  }

  /**
   * Return the t at which sigma_eff(t) = sigma; clipped to [tMin, tMax].
   *
   * Bracketed by a table, then the Illinois method in (ln t, ln sigma_eff), nearly a straight line.
   */
  timeOf(sigma) {
    const { times, levels } = this.levelTable;
    const goal = Math.log(sigma);
    if (goal <= levels[0]) return times[0];
    if (goal >= levels[NODES - 1]) return times[NODES - 1];
    let index = 1;
    for (let top = NODES - 1; index < top; ) {
      const middle = (index + top) >> 1;
      if (levels[middle] < goal) index = middle + 1;
      else top = middle;
    }
    let [low, high] = [Math.log(times[index - 1]), Math.log(times[index])];
    let [below, above] = [levels[index - 1] - goal, levels[index] - goal];
    if (above <= 0) return times[index];
    let [t, side] = [low, 0];
    for (let round = 0; round < 60; round++) {
      t = low - (below * (high - low)) / (above - below);
      const value = Math.log(this.marginal.sigmaEff(Math.exp(t))) - goal;
      if (Math.abs(value) < 1e-12 * (1 + Math.abs(goal))) break;
      // Illinois: an end that stays for a second time is halved, so that both ends close in.
      if (value < 0) {
        if (side < 0) above *= 0.5;
        [low, below, side] = [t, value, -1];
      } else {
        if (side > 0) below *= 0.5;
        [high, above, side] = [t, value, 1];
      }
    }
    return Math.exp(t);
  }

  /** Return the row m^T Sigma^-1 / SNR that maps u to y. */
  statistic(t) {
    if (this.k === 1) return [1 / this.mean(t)[0]];
    const snr = this.snr(t);
    return this.precisionMean(t).map((v) => v / snr);
  }

  /**
   * Return R (k, k - 1) with R R^T = Sigma - m m^T / SNR: u = m y + R zeta has the statistic y, and
   * zeta ~ N(0, I) is what of u says nothing of x_0.
   */
  complement(t) {
    const basis = matrix.reflection(this.whiten(this.mean(t), t));
    return matrix.multiply(
      this.cholesky(t),
      basis.map((row) => row.slice(1)),
    );
  }

  /** Return (Psi, N) of the exactly solvable half of SSCS; only for Langevin processes. */
  reverseSplitting() {
    throw new UsageError(
      `samplers "sscs" and "sscs2" split a Langevin process and "${this.kind}" is none; ` +
        'use "multistep_sde", "multistep", "ddim" or "ode"',
    );
  }
}

/** A process with k = 1: m_t = alpha(t), Sigma_t = variance(t); rate = d ln alpha / dt, noiseRate = g^2. */
export class ScalarProcess extends Process {
  mean(t) {
    return [this.alpha(t)];
  }
  covariance(t) {
    return [[this.variance(t)]];
  }
  cholesky(t) {
    return [[Math.sqrt(this.variance(t))]];
  }
  drift(t) {
    return [[this.rate(t)]];
  }
  diffusion(t) {
    return [[this.noiseRate(t)]];
  }
}
