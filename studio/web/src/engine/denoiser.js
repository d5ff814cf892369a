/**
 * Network + process + frame = denoise(u, t) -> E[x_0 | u_t].
 *
 * E[x_0 | u_t] depends on u through y = x_0 + sigma_eff eps alone, whatever the process: a network
 * that was trained under one process denoises the states of any other (twin.js).
 *
 * Classifier-free guidance (arXiv 2207.12598), D = D_none + w (D_label - D_none), evaluates both
 * branches in one batch.
 */

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
    const single = typeof t === "number" ? this.coefficients(t) : null;
    for (let i = 0; i < n; i++) {
      const c = single ?? this.coefficients(t[i]);
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
    return { inputs: Float32Array.from(inputs), sigma, skip, out, n };
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
  async denoise(u, t, { labels = null, guidance = 1 } = {}) {
    const { inputs, sigma, skip, out, n } = this.prepare(u, t);
    const guided = guidance !== 1 && labels?.some((label) => label >= 0);
    this.nfe += guided ? 2 : 1;
    const output = guided
      ? await this.both(inputs, sigma, labels, guidance)
      : await this.net.forward(inputs, sigma, labels);
    const x0 = skip;
    for (let i = 0, at = 0; i < n; i++) {
      for (let x = 0; x < this.size; x++, at++) x0[at] += out[i] * output[at];
    }
    return x0;
  }

  async both(inputs, sigma, labels, guidance) {
    const none = new Int32Array(labels.length).fill(-1);
    const twice = (a) => {
      const doubled = new a.constructor(2 * a.length);
      doubled.set(a);
      doubled.set(a, a.length);
      return doubled;
    };
    const output = await this.net.forward(
      twice(inputs),
      twice(sigma),
      Int32Array.from([...labels, ...none]),
    );
    const half = output.length / 2;
    // D is affine in F with the same coefficients for both, so that guiding F is guiding D.
    return Float64Array.from({ length: half }, (_, i) => {
      const without = output[half + i];
      return without + guidance * (output[i] - without);
    });
  }
}
