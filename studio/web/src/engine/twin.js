/**
 * States of one process as states of another at the same noise level (the scalar twin).
 *
 * Let u be a state of the process that is walked, with statistic y = x_0 + sigma eps, and let the
 * network be trained under another process, with m', Sigma' at the time t' of the same level. A state of
 * that process with the same information about x_0 is
 *
 *     u' = m' y + R zeta,    R R^T = Sigma' - m' m'^T / SNR',   zeta ~ N(0, I_{k'-1}),
 *
 * zeta one fixed draw per item shape: any will do for an exact denoiser, this one is that of
 * sgm_core/twin.py. An `edm` network sees y and sigma only. `native` and `mixed` ones know the levels of
 * the trained process only: above them y shrinks to the last one.
 */

import { Frame } from "./frame.js";
import * as matrix from "./math/matrix.js";
import { torchNormals } from "./math/torch_random.js";

// Of the components of u' that carry no information.
const SEED = 20190;

export class Twin {
  /**
   * @param {Frame} trained the network's frame
   * @param {import("./process/base.js").Process} process whose states come in
   */
  constructor(trained, process) {
    this.trained = trained;
    this.walked = new Frame(process, trained.sigmaData, "edm");
    this.scalar = trained.parametrisation === "edm";
    this.zeta = new Map();
  }

  /**
   * Return the frame for states of the walked process at its time t; what does not depend on u is
   * restIn zeta (inputs) and restSkip . zeta (D).
   */
  coefficients(t, size) {
    if (this.scalar) return this.walked.coefficients(t);
    const { marginal } = this.trained.process;
    const sigma = this.walked.process.sigmaEff(t);
    const time = marginal.timeOf(sigma);
    const inner = this.trained.coefficients(time);
    // Within the range, timeOf's last bits must not scale y.
    const shrink = time < marginal.tMax ? 1 : Math.min(1, inner.sigma / sigma);
    const row = this.walked.process.statistic(t).map((v) => shrink * v);
    const mean = marginal.mean(time);
    const frame = {
      cIn: matrix.apply(inner.cIn, mean).map((v) => row.map((r) => v * r)),
      cSkip: row.map((r) => matrix.dot(inner.cSkip, mean) * r),
      cOut: inner.cOut,
      sigma: inner.sigma,
    };
    if (marginal.k === 1) return frame;
    const across = marginal.complement(time);
    frame.restIn = matrix.multiply(inner.cIn, across);
    frame.restSkip = matrix.multiply([inner.cSkip], across)[0];
    frame.zeta = this.draw((marginal.k - 1) * size);
    return frame;
  }

  draw(count) {
    if (!this.zeta.has(count)) this.zeta.set(count, torchNormals(SEED, count));
    return this.zeta.get(count);
  }
}

/** Whether two processes are one, compared by their kernels (which is what a process is). */
export function sameKernel(a, b) {
  if (a === b) return true;
  if (a.k !== b.k || a.tMin !== b.tMin || a.tMax !== b.tMax) return false;
  for (let i = 0; i < 9; i++) {
    const t = a.tMin + ((a.tMax - a.tMin) * i) / 8;
    const [p, q] = [a, b].map((process) => [process.mean(t), process.covariance(t)].flat(2));
    if (p.some((v, j) => v !== q[j])) return false;
  }
  return true;
}
