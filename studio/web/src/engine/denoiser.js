/**
 * Network + process + frame = denoise(u, t) -> E[x_0 | u_t].
 *
 * E[x_0 | u_t] depends on u through y = x_0 + sigma_eff eps alone, whatever the process: a network
 * that was trained under one process denoises the states of any other (twin.js).
 *
 * Classifier-free guidance (arXiv 2207.12598), D = D_none + w (D_label - D_none), evaluates both
 * branches in one batch.
 */

import * as matrix from "./math/matrix.js";
import { applyTo } from "./state.js";
import { sameKernel, Twin } from "./twin.js";

export class Denoiser {
  /**
   * @param {import("./net/network.js").Network} net
   * @param {import("./frame.js").Frame} frame
   * @param {number} size numbers of an item
   * @param {import("./process/base.js").Process} [process] whose states come in; default: trained under
   */
  constructor(net, frame, size, process) {
    const trained = frame.process.marginal;
    this.net = net;
    this.frame = frame;
    this.size = size;
    this.process = process ? process.marginal : trained;
    this.twin = process && !sameKernel(this.process, trained) ? new Twin(frame, this.process) : null;
    this.nfe = 0;
  }

  /**
   * Return what the network is fed and how its output is used, at one time or one per state.
   * @param {Float64Array} u (n, k, d)
   * @param {number | ArrayLike<number>} t
   */
  prepare(u, t) {
    const { size, process } = this;
    const [width, n] = [process.k * size, u.length / (process.k * size)];
    const channels = this.frame.inChannels;
    const inputs = new Float64Array(n * channels * size);
    const skip = new Float64Array(n * size);
    const sigma = new Float32Array(n);
    const out = new Float64Array(n);
    const coefficients = [];
    const single = typeof t === "number" ? this.coefficients(t) : null;
    for (let i = 0; i < n; i++) {
      const c = single ?? this.coefficients(t[i]);
      coefficients.push(c);
      const own = u.subarray(i * width, (i + 1) * width);
      const [to, from] = [i * channels * size, i * size];
      applyTo(c.cIn, own, size, inputs.subarray(to, to + channels * size));
      applyTo([c.cSkip], own, size, skip.subarray(from, from + size));
      if (c.restIn) {
        applyTo(c.restIn, c.zeta, size, inputs.subarray(to, to + channels * size));
        applyTo([c.restSkip], c.zeta, size, skip.subarray(from, from + size));
      }
      sigma[i] = c.sigma;
      out[i] = c.cOut;
    }
    return { inputs: Float32Array.from(inputs), sigma, skip, out, coefficients, n };
  }

  coefficients(t) {
    return this.twin ? this.twin.coefficients(t, this.size) : this.frame.coefficients(t);
  }

  /**
   * Return the estimate of x_0, (n, d).
   * @param {Float64Array} u (n, k, d)
   * @param {number | ArrayLike<number>} t one time, or one per state
   * @param {{labels?: Int32Array | null, guidance?: number}} [condition] labels -1: no class
   */
  async denoise(u, t, condition) {
    const frame = this.prepare(u, t);
    const branches = this.branches(frame, condition);
    const output = await this.net.forward(...branches.given);
    return this.finished(frame, branches, output);
  }

  /**
   * Return the estimate, and V w = sigma_eff^2 (dD/dy)^T w as a function of w (n, d), y = u's statistic.
   * @returns {Promise<{x0: Float64Array, spread: (w: Float64Array) => Promise<Float64Array>, release: () => void}>}
   */
  async linearised(u, t, condition) {
    const frame = this.prepare(u, t);
    const branches = this.branches(frame, condition);
    const line = await this.net.linearised(...branches.given);
    const { size, process } = this;
    const levels = frame.coefficients.map((_, i) => {
      const time = typeof t === "number" ? t : t[i];
      return { mean: process.mean(time), variance: process.sigmaEff(time) ** 2 };
    });
    const spread = async (w) => {
      const half = w.map((v, at) => frame.out[Math.floor(at / size)] * v);
      const back = await line.back(Float32Array.from(branches.adjoint(half)));
      const result = new Float64Array(w.length);
      frame.coefficients.forEach(({ cIn, cSkip }, i) => {
        const { mean, variance } = levels[i];
        const [skip, feed] = [matrix.dot(cSkip, mean), matrix.apply(cIn, mean)];
        for (let x = 0; x < size; x++) {
          let total = skip * w[i * size + x];
          for (const offset of branches.offsets) {
            feed.forEach((factor, c) => {
              total += factor * back[((i + offset) * feed.length + c) * size + x];
            });
          }
          result[i * size + x] = variance * total;
        }
      });
      return result;
    };
    return { x0: this.finished(frame, branches, line.output), spread, release: () => line.release() };
  }

  /** Return D of the network's output. */
  finished({ skip, out, n }, branches, output) {
    const mixed = branches.mixed(output);
    for (let i = 0, at = 0; i < n; i++) {
      for (let x = 0; x < this.size; x++, at++) skip[at] += out[i] * mixed[at];
    }
    return skip;
  }

  /**
   * Return what the network is given, and how F is made of its output; D is affine in F with the same
   * coefficients for both branches of guidance, so that guiding F is guiding D.
   */
  branches({ inputs, sigma, n }, { labels = null, guidance = 1 } = {}) {
    const guided = guidance !== 1 && labels?.some((label) => label >= 0);
    this.nfe += guided ? 2 : 1;
    if (!guided) {
      const same = (v) => v;
      return { given: [inputs, sigma, labels], offsets: [0], mixed: same, adjoint: same };
    }
    const none = new Int32Array(n).fill(-1);
    return {
      given: [twice(inputs, inputs), twice(sigma, sigma), twice(labels, none)],
      offsets: [0, n],
      mixed: (output) => {
        const half = output.length / 2;
        return Float64Array.from(
          { length: half },
          (_, i) => output[half + i] + guidance * (output[i] - output[half + i]),
        );
      },
      adjoint: (v) =>
        twice(
          v.map((x) => guidance * x),
          v.map((x) => (1 - guidance) * x),
        ),
    };
  }
}

function twice(first, second) {
  const both = new first.constructor(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
