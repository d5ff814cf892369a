/**
 * A network F(inputs, sigma, labels) in float32: inputs (n, inChannels, d) whitened by the frame,
 * sigma (n) the noise level, labels (n) with -1 for no class; returns (n, d).
 */

import * as tf from "@tensorflow/tfjs-core";
import { UsageError } from "../errors.js";
import { Tape } from "./tape.js";

/** Return arrays one after the other. */
function joined(parts) {
  if (parts.length === 1) return parts[0];
  const all = new Float32Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Refuse widths of residual blocks that are not one per block. */
export function checkInner(inner, blocks) {
  if (!inner.length || inner.length === blocks) return;
  throw new UsageError(
    `inner: ${inner.length} widths for ${blocks} residual blocks; write one for each, or leave it out`,
  );
}

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
    const parts = [];
    for (const pass of this.passes(inputs, sigma, labels)) {
      const output = tf.tidy(() =>
        this.run(tf.tensor2d(pass.inputs, pass.shape), this.side(pass.sigma, pass.labels)),
      );
      parts.push(await output.data());
      output.dispose();
    }
    return joined(parts);
  }

  /** Return the arguments of a batch in parts of at most `rows`. */
  passes(inputs, sigma, labels) {
    const n = sigma.length;
    const width = inputs.length / n;
    const parts = [];
    for (let first = 0; first < n; first += this.rows) {
      const last = Math.min(n, first + this.rows);
      parts.push({
        inputs: inputs.subarray(first * width, last * width),
        shape: [last - first, width],
        sigma: sigma.subarray(first, last),
        labels: labels?.subarray(first, last) ?? null,
      });
    }
    return parts;
  }

  /**
   * Return F and its transposed Jacobian in the inputs, which can be asked as often as needed.
   * @returns {Promise<{output: Float32Array, back: (v: Float32Array) => Promise<Float32Array>, release: () => void}>}
   */
  async linearised(inputs, sigma, labels) {
    const lines = this.passes(inputs, sigma, labels).map((pass) => {
      const x = tf.keep(tf.tensor2d(pass.inputs, pass.shape));
      const tape = new Tape(
        () => this.run(x, this.side(pass.sigma, pass.labels)),
        () => [x],
      );
      return { x, tape };
    });
    return {
      output: joined(await Promise.all(lines.map(({ tape }) => tape.y.data()))),
      async back(v) {
        let at = 0;
        const parts = [];
        for (const { tape } of lines) {
          const own = v.subarray(at, at + tape.y.size);
          at += tape.y.size;
          const [gradient] = tf.tidy(() => tape.back(tf.tensor2d(own, tape.y.shape)));
          parts.push(await gradient.data());
          gradient.dispose();
        }
        return joined(parts);
      },
      release() {
        for (const { x, tape } of lines) {
          tape.release();
          x.dispose();
        }
      },
    };
  }
}
