/**
 * Exponential integrators for any number of channels: DDIM, ancestral, and their multistep versions.
 *
 * One step from s down to t is exact for x_0 estimates D that are polynomials in lambda = -ln sigma_eff:
 *
 *     u_t = Phi(t, s) u_s + sum_j c_j D_{n-j} + Q^1/2 z,     Q = Sigma_t - Phi Sigma_s Phi^T,
 *     c_j = l_j(lambda_t) m_t - l_j(lambda_s) Phi(t, s) m_s
 *           - int_{lambda_s}^{lambda_t} Phi(t, r) m_r l_j'(lambda_r) d lambda_r,
 *
 * l_j the Lagrange polynomials of the last `order` evaluations, the integral by Gauss-Legendre. Order 1:
 * DDIM (arXiv 2010.02502, 2206.05564) for eta = 0, DDPM's step (2006.11239) for eta = 1; order 2 for
 * k = 1: DPM-Solver++ 2M (2211.01095). As sgm_core/sample/exponential.py.
 */

import { NODES, WEIGHTS } from "../math/legendre.js";
import * as matrix from "../math/matrix.js";
import { applyTo, outerTo } from "../state.js";
import { Sampler } from "./base.js";
import { propagators } from "./propagator.js";

export class ExponentialIntegrator extends Sampler {
  constructor({ order = 1, eta = 0, ...settings }) {
    super(settings);
    this.order = order;
    this.eta = eta;
  }

  prepare() {
    const { process, times } = this;
    this.history = [];
    const level = times.map((t) => -Math.log(process.sigmaEff(t)));
    this.carry = [];
    this.gains = [];
    this.kick = [];
    for (let i = 0; i + 1 < times.length; i++) {
      const order = Math.min(this.order, i + 1);
      const inner =
        order > 1
          ? NODES.map((x) => process.timeOf(Math.exp(-(level[i] + x * (level[i + 1] - level[i])))))
          : [];
      const all = [times[i], ...inner];
      const carry = propagators(process, all, times[i + 1], this.eta);
      const carried = carry.map((phi, j) => matrix.apply(phi, process.mean(all[j])));
      this.carry.push(carry[0]);
      this.gains.push(gains(level.slice(0, i + 2), order, process.mean(times[i + 1]), carried));
      if (this.eta) {
        const spent = matrix.multiply(carry[0], process.covariance(times[i]), matrix.transpose(carry[0]));
        this.kick.push(matrix.symmetricRoot(matrix.subtract(process.covariance(times[i + 1]), spent)));
      }
    }
  }

  async step(i, u, denoise) {
    const x0 = await denoise(u, this.times[i]);
    this.history = [x0, ...this.history].slice(0, this.order);
    const next = applyTo(this.carry[i], u, this.size);
    this.gains[i].forEach((gain, j) => outerTo(gain, this.history[j], this.size, next));
    if (this.eta) applyTo(this.kick[i], this.draw(this.process.k), this.size, next);
    return [next, x0];
  }
}

/**
 * Return c_j (k) for the newest evaluation first.
 * @param {number[]} level lambda of all times up to the step's end, ascending
 * @param {number} order evaluations to use
 * @param {number[]} mean m_t
 * @param {number[][]} carried Phi(t, r) m_r at the step's start and at the nodes
 */
function gains(level, order, mean, carried) {
  if (order === 1) return [mean.map((m, c) => m - carried[0][c])];
  const start = level.at(-2);
  const span = level.at(-1) - start;
  // In units of the step: 0 at its start, 1 at its end, negative for earlier evaluations.
  const points = level
    .slice(0, -1)
    .reverse()
    .slice(0, order)
    .map((v) => (v - start) / span);
  return points.map((point, j) => {
    const others = points.filter((_, i) => i !== j);
    const norm = others.reduce((total, other) => total * (point - other), 1);
    const value = (x) => others.reduce((total, other) => total * (x - other), 1) / norm;
    const slope = (x) =>
      others.reduce(
        (sum, _, skip) =>
          sum + others.reduce((total, other, i) => (i === skip ? total : total * (x - other)), 1),
        0,
      ) / norm;
    return mean.map((m, c) => {
      let integral = 0;
      NODES.forEach((x, node) => {
        integral += WEIGHTS[node] * slope(x) * carried[node + 1][c];
      });
      return value(1) * m - value(0) * carried[0][c] - integral;
    });
  });
}
