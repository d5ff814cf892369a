/**
 * Critically damped linear diffusions of order k, in closed form without cancellation.
 *
 * In coordinates with unit stationary covariance, and time tau = beta t,
 *
 *     du = A u dtau + Q^1/2 dw,     A = J - R,  J skew,  Q = 2 R,
 *
 * with one eigenvalue -lambda, k-fold. B = A + lambda I is nilpotent and, with y = 2 lambda tau and P
 * the regularised lower incomplete gamma function,
 *
 *     Psi(tau) = exp(-lambda tau) sum_{j<k} (tau B)^j / j!
 *     N(tau)   = int_0^tau Psi Q Psi^T = sum_{n <= 2k-2} P(n + 1, y) C_n,
 *     C_n      = (2 lambda)^-(n+1) sum_{i+j=n} binom(n, i) B^i Q (B^T)^j,
 *     Sigma    = N + Psi Sigma_0 Psi^T.
 *
 * Towards stationarity, where the sum cancels, N = I - Psi Psi^T. Near t = 0, where the covariance's
 * entries differ by powers of tau, SNR and Cholesky factor are taken in the coordinates of t = 0:
 * Sigma = Psi W Psi^T, W = Sigma_0 + Psi^-1 N Psi^-T, SNR = (W^-1)_xx. (sgm_core/process/critical.py;
 * arXiv 2112.07068 for k = 2, 2303.01748, 2404.12814 for k = 3.)
 */

import { gammaP } from "../math/gamma.js";
import * as matrix from "../math/matrix.js";
import { Process } from "./base.js";

const { add, diagonal, identity, multiply, scale, subtract, transpose } = matrix;
// Below this y the kernel's inverse is taken in the coordinates of t = 0, above it directly.
const SMALL_Y = 2;
const FACTORIAL = [1, 1, 2, 6, 24];

export class CriticallyDamped extends Process {
  langevin = true;

  /**
   * @param {number[][]} drift A in unit stationary coordinates
   * @param {number} beta rate of time
   * @param {number[]} start variances of the channels at t = 0 in unit coordinates, start[0] = 0
   * @param {number[]} scales standard deviations of the stationary law, scales[0] = 1
   * @param {"hsm" | "dsm"} objective hsm: auxiliary initial values are integrated out; dsm: drawn
   */
  constructor(drift, beta, start, scales, objective) {
    super();
    this.k = start.length;
    this.arguments = [drift, beta, start, scales];
    this.beta = beta;
    this.objective = objective;
    this.unitDrift = drift;
    this.noiseRate = scale(-1, add(drift, transpose(drift)));
    this.drawn = start;
    this.start = objective === "hsm" ? start : start.map(() => 0);
    this.scales = scales;
    this.decay = -drift.reduce((total, row, i) => total + row[i], 0) / this.k;
    const nilpotent = add(drift, scale(this.decay, identity(this.k)));
    this.powers = [identity(this.k)];
    while (this.powers.length < this.k) this.powers.push(multiply(nilpotent, this.powers.at(-1)));
    this.gramian = this.coefficients(this.powers);
    this.reverseGramian = this.coefficients(this.powers.map(transpose));
  }

  get marginal() {
    if (this.objective === "hsm") return this;
    if (!this._marginal) {
      this._marginal = new CriticallyDamped(...this.arguments, "hsm");
      this._marginal.kind = this.kind;
    }
    return this._marginal;
  }

  /** Return C_n, n < 2k - 1. */
  coefficients(powers) {
    const total = Array.from({ length: 2 * this.k - 1 }, () => scale(0, identity(this.k)));
    powers.forEach((left, i) => {
      powers.forEach((right, j) => {
        const binomial = FACTORIAL[i + j] / (FACTORIAL[i] * FACTORIAL[j]);
        const weight = binomial * (2 * this.decay) ** -(i + j + 1);
        total[i + j] = add(total[i + j], scale(weight, multiply(left, this.noiseRate, transpose(right))));
      });
    });
    return total;
  }

  // -- in unit coordinates, as functions of tau --------------------------------------------------

  /** Return Psi(tau); Psi(-tau) is its inverse. */
  flow(tau) {
    const terms = this.powers.map((power, j) => scale(tau ** j / FACTORIAL[j], power));
    return scale(Math.exp(-this.decay * tau), terms.reduce(add));
  }

  /** Return N(tau); `reverse`: of the process with A^T. */
  noise(tau, reverse = false) {
    const flow = reverse ? transpose(this.flow(tau)) : this.flow(tau);
    const spent = multiply(flow, transpose(flow));
    if (settled(spent)) return subtract(identity(this.k), spent);
    const y = 2 * this.decay * tau;
    const coefficients = reverse ? this.reverseGramian : this.gramian;
    return coefficients.map((c, n) => scale(gammaP(n + 1, y), c)).reduce(add);
  }

  /** Return W = Psi^-1 Sigma Psi^-T = Sigma_0 + K; for small tau. */
  atOrigin(tau) {
    const back = this.flow(-tau);
    return add(diagonal(this.start), multiply(back, this.noise(tau), transpose(back)));
  }

  early(t) {
    return 2 * this.decay * this.beta * t < SMALL_Y;
  }

  // -- the contract ------------------------------------------------------------------------------

  /** Carry a covariance from unit coordinates to the process' own. */
  scaled(covariance) {
    return covariance.map((row, i) => row.map((v, j) => this.scales[i] * v * this.scales[j]));
  }

  /** Carry a map of states from unit coordinates to the process' own. */
  mapped(map) {
    return map.map((row, i) => row.map((v, j) => (this.scales[i] * v) / this.scales[j]));
  }

  mean(t) {
    return this.flow(this.beta * t).map((row, i) => this.scales[i] * row[0]);
  }

  covariance(t) {
    const tau = this.beta * t;
    const flow = this.flow(tau);
    if (settled(multiply(flow, transpose(flow)))) {
      const left = diagonal(this.start.map((v) => 1 - v));
      return this.scaled(subtract(identity(this.k), multiply(flow, left, transpose(flow))));
    }
    return this.scaled(add(this.noise(tau), multiply(flow, diagonal(this.start), transpose(flow))));
  }

  transition(s, t) {
    return this.mapped(this.flow(this.beta * t - this.beta * s));
  }
  drift() {
    return scale(this.beta, this.mapped(this.unitDrift));
  }
  diffusion() {
    return scale(this.beta, this.scaled(this.noiseRate));
  }

  cholesky(t) {
    if (!this.early(t)) return matrix.cholesky(this.covariance(t));
    // Psi (factor of W) is a factor of Sigma, which is made triangular.
    const tau = this.beta * t;
    const factor = multiply(this.flow(tau), backwardFactor(this.atOrigin(tau)));
    return matrix.lowerOf(factor.map((row, i) => row.map((v) => this.scales[i] * v)));
  }

  noiseFactor(t) {
    if (this.objective === "hsm") return this.cholesky(t);
    const flow = this.flow(this.beta * t);
    return this.cholesky(t).map((row, i) => [
      ...row,
      ...flow[i].slice(1).map((v, j) => this.scales[i] * v * Math.sqrt(this.drawn[j + 1])),
    ]);
  }

  precisionMean(t) {
    if (!this.early(t)) return super.precisionMean(t);
    // Sigma^-1 m = Psi^-T W^-1 e_x.
    const tau = this.beta * t;
    const factor = backwardFactor(this.atOrigin(tau));
    const first = matrix.solveUpper(factor, identity(this.k)[0]);
    const inner = matrix.solveLower(transpose(factor), first);
    return matrix.apply(transpose(this.flow(-tau)), inner).map((v, i) => v / this.scales[i]);
  }

  snr(t) {
    if (!this.early(t)) return super.snr(t);
    return 1 / backwardFactor(this.atOrigin(this.beta * t))[0][0] ** 2;
  }

  stationaryCovariance() {
    return diagonal(this.scales.map((v) => v ** 2));
  }

  /**
   * Return [Psi, N] that carry u from time s down to t < s with the score -Sigma_inf^-1 u, the exactly
   * solved half of SSCS; reversal flips the sign of J, which turns A into A^T.
   */
  reverseSplitting(s, t) {
    const tau = this.beta * s - this.beta * t;
    return [this.mapped(transpose(this.flow(tau))), this.scaled(this.noise(tau, true))];
  }
}

/** Whether so little of the start is left that I - Psi Psi^T does not cancel. */
function settled(spent) {
  return Math.max(...spent.map((row, i) => row[i])) < 0.5;
}

/** Return upper triangular U with U U^T = w: the position is eliminated last; rows of unit variance. */
function backwardFactor(w) {
  const size = w.map((row, i) => Math.sqrt(row[i]));
  const last = w.length - 1;
  const flipped = w.map((row, i) =>
    row.map((_, j) => w[last - i][last - j] / (size[last - i] * size[last - j])),
  );
  const factor = matrix.cholesky(flipped);
  return w.map((row, i) => row.map((_, j) => size[i] * factor[last - i][last - j]));
}
