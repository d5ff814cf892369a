/**
 * The affine frame around a network: D = c_skip . u + c_out F(c_in u, sigma), three of them.
 *
 * - `edm` (arXiv 2206.00364): on the sufficient statistic y = m^T Sigma^-1 u / SNR = x_0 + sigma eps,
 *
 *       c_in^2 = 1 / (sigma_d^2 + sigma^2),  c_skip = sigma_d^2 c_in^2,  c_out = sigma sigma_d c_in;
 *
 * - `native`: F predicts the noise of the last channel, [L^-1 (u - m x_0)]_k, from all k channels of
 *   C^-1/2 u, C = sigma_d^2 m m^T + Sigma;
 * - `mixed` (arXiv 2112.07068): the same noise less its best linear estimate, with `edm`'s c_skip.
 *
 * The same as sgm_core/preconditioning.py.
 */

import * as matrix from "./math/matrix.js";

/**
 * @typedef {object} Coefficients of one time
 * @property {number[][]} cIn (inChannels, k)
 * @property {number[]} cSkip (k)
 * @property {number} cOut
 * @property {number} sigma
 */

export class Frame {
  /**
   * @param {import("./process/base.js").Process} process the one the network is trained under
   * @param {number} sigmaData standard deviation of the data in model space
   * @param {"edm" | "native" | "mixed"} parametrisation
   */
  constructor(process, sigmaData, parametrisation = "edm") {
    this.process = process;
    this.sigmaData = sigmaData;
    this.parametrisation = parametrisation;
  }

  /** Channels of the whitened state that the network sees. */
  get inChannels() {
    return this.parametrisation === "edm" ? 1 : this.process.k;
  }

  /** Return EDM's [c_in, c_skip, c_out] at a noise level, for y = x_0 + sigma eps. */
  level(sigma) {
    const cIn = 1 / Math.sqrt(sigma ** 2 + this.sigmaData ** 2);
    return [cIn, this.sigmaData ** 2 * cIn ** 2, sigma * this.sigmaData * cIn];
  }

  /** @returns {Coefficients} */
  coefficients(t) {
    const { marginal } = this.process;
    const sigma = marginal.sigmaEff(t);
    const [cIn, cSkip, cOut] = this.level(sigma);
    if (this.parametrisation === "edm") {
      const row = marginal.statistic(t);
      return { cIn: [row.map((v) => cIn * v)], cSkip: row.map((v) => cSkip * v), cOut, sigma };
    }
    const { last, lastMean, ratio } = this.lastNoise(t);
    const skip =
      this.parametrisation === "mixed"
        ? marginal.statistic(t).map((v) => cSkip * v)
        : last.map((v) => v / lastMean);
    return { cIn: whitening(marginal, t, this.sigmaData), cSkip: skip, cOut: -ratio / lastMean, sigma };
  }

  /**
   * Return how u_t = m x_0 + L xi gives the last channel's noise: last . u = lastMean x_0 + xi_k, with
   * `last` the last row of L^-1; and the ratio of the marginal's L_kk to that of the kernel that
   * training draws from, E[xi_k | u] = ratio F.
   */
  lastNoise(t) {
    const { marginal, k } = this.process;
    const factor = marginal.cholesky(t);
    const last = matrix.invertLower(factor)[k - 1];
    const ratio = factor[k - 1][k - 1] / this.process.cholesky(t)[k - 1][k - 1];
    return { last, lastMean: matrix.dot(last, marginal.mean(t)), ratio };
  }

  /** Return the row lin that `mixed` takes off the noise: F = E[xi_k - lin . u | u]. */
  linear(t) {
    const { marginal } = this.process;
    const { last, lastMean, ratio } = this.lastNoise(t);
    const cSkip = this.level(marginal.sigmaEff(t))[1];
    const row = marginal.statistic(t);
    return last.map((v, i) => (v - lastMean * cSkip * row[i]) / ratio);
  }
}

/** Return C^-1/2 with C = sigma_d^2 m m^T + Sigma and first row along C^-1 m. */
function whitening(process, t, sigmaData) {
  const mean = process.mean(t);
  const covariance = process
    .covariance(t)
    .map((row, i) => row.map((v, j) => v + sigmaData ** 2 * mean[i] * mean[j]));
  const inverse = matrix.invertLower(matrix.cholesky(covariance));
  if (process.k === 1) return inverse;
  return matrix.multiply(matrix.reflection(matrix.apply(inverse, mean)), inverse);
}
