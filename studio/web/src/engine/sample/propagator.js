/**
 * The linear map of the reverse dynamics with x_0 held at D, for every amount of noise eta.
 *
 * The family with marginals p_t (eta = 0: probability-flow ODE, eta = 1: reverse SDE) is linear in
 * r = u - m D:  r_t = Phi(t, s) r_s + Q^1/2 z for t < s, where
 *
 *     Phi' = (F + (1 + eta^2)/2 G G^T Sigma^-1) Phi,   Q = Sigma_t - Phi Sigma_s Phi^T,
 *     eta = 1:  Phi = Sigma_t Psi(s, t)^T Sigma_s^-1
 *     k = 1:    Phi = (Sigma_t / Sigma_s)^((1 - eta^2)/2) Phi_1^(eta^2)
 *
 * and otherwise an ODE in ln t (sgm_core/sample/propagator.py; gDDIM, arXiv 2206.05564).
 */

import { integrate } from "../math/dopri5.js";
import * as matrix from "../math/matrix.js";

const { add, multiply, scale, transpose } = matrix;

/**
 * Return Phi(end, start_i) for decreasing times start_0 > start_1 > ... >= end.
 * @param {import("../process/base.js").Process} process
 * @param {number[]} starts
 * @param {number} end
 * @param {number} eta
 * @returns {number[][][]}
 */
export function propagators(process, starts, end, eta) {
  if (eta === 1 || process.k === 1) return starts.map((start) => closed(process, start, end, eta));
  // Phi(end, a) = Phi(end, b) Phi(b, a): piece by piece, from the last start on.
  const found = [];
  let [from, total] = [end, matrix.identity(process.k)];
  for (const start of [...starts].reverse()) {
    total = multiply(total, integrated(process, start, from, eta));
    from = start;
    found.unshift(total);
  }
  return found;
}

function closed(process, start, end, eta) {
  const back = transpose(process.transition(end, start));
  const ancestral = multiply(process.covariance(end), back, process.precision(start));
  if (eta === 1) return ancestral;
  const flow = Math.sqrt(process.covariance(end)[0][0] / process.covariance(start)[0][0]);
  return [[flow ** (1 - eta ** 2) * ancestral[0][0] ** (eta ** 2)]];
}

function integrated(process, start, end, eta) {
  const k = process.k;
  const span = Math.log(end / start);
  const gain = 0.5 * (1 + eta ** 2);
  const slope = (theta, flat) => {
    const t = start * Math.exp(theta * span);
    const noise = scale(gain, multiply(process.diffusion(t), process.precision(t)));
    const rate = scale(t * span, add(process.drift(t), noise));
    const phi = matrix.build(k, k, (i, j) => flat[i * k + j]);
    return multiply(rate, phi).flat();
  };
  const flat = integrate(slope, matrix.identity(k).flat(), { rtol: 1e-9, atol: 1e-11 });
  return matrix.build(k, k, (i, j) => flat[i * k + j]);
}
