/**
 * A network F(inputs, sigma, labels) in float32: inputs (n, inChannels, d) whitened by the frame,
 * sigma (n) the noise level, labels (n) with -1 for no class; returns (n, d).
 */

import * as tf from "@tensorflow/tfjs-core";

export class Network {
  /** @type {import("./parameters.js").Parameters} */ parameters;

  /** Rows of one pass: what it keeps in memory grows with them. */
  rows = 1024;

  /**
   * Return F on tensors; recorded on the tape where gradients are taken.
   * @param {tf.Tensor} x (n, inChannels * d)
   * @param {Record<string, tf.Tensor>} side what `side` made
   * @returns {tf.Tensor} (n, d)
   */
  run(x, side) {
    throw new Error(`not defined for ${x.shape} and ${Object.keys(side)}`);
  }

  /** Return the embeddings of sigma and labels, as tensors by name. */
  side(sigma, labels) {
    throw new Error(`not defined for ${sigma.length} and ${labels}`);
  }

  /**
   * Return F on the host.
   * @param {Float32Array} inputs
   * @param {Float32Array} sigma
   * @param {Int32Array | null} labels
   */
  async forward(inputs, sigma, labels) {
    const n = sigma.length;
    const width = inputs.length / n;
    const parts = [];
    for (let first = 0; first < n; first += this.rows) {
      const last = Math.min(n, first + this.rows);
      const output = tf.tidy(() => {
        const x = tf.tensor2d(inputs.subarray(first * width, last * width), [last - first, width]);
        return this.run(x, this.side(sigma.subarray(first, last), labels?.subarray(first, last) ?? null));
      });
      parts.push(await output.data());
      output.dispose();
    }
    if (parts.length === 1) return parts[0];
    const all = new Float32Array(parts.reduce((total, part) => total + part.length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}
