/**
 * Residual multi-layer perceptron for points (sgm_core/nets/mlp.py).
 *
 * Input: the whitened state, an embedding of the noise level (and class), and random Fourier features
 * of the position that fade with the noise,
 *
 *     phi_j(y, sigma) = exp(-(w_j sigma)^2 / 2) [sin(w_j . y), cos(w_j . y)],
 *     block(h) = h + W2 silu(W1 silu(h) + We e).
 */

import * as tf from "@tensorflow/tfjs-core";
import { noiseEmbedding, oneHot } from "./embedding.js";
import { checkInner, Network } from "./network.js";
import * as ops from "./ops.js";
import { Parameters } from "./parameters.js";

const NOISE_WIDTH = 32;

export class MLP extends Network {
  rows = 4096;

  constructor(
    { shape, inChannels, sigmaData, classes },
    { width, depth, fourier, fourier_scale, inner = [] },
  ) {
    super();
    checkInner(inner, depth);
    Object.assign(this, { d: shape[0], inChannels, sigmaData, classes, depth, fourier });
    const kaiming = (name, out, inputs, factor = 1) => ({
      name: `${name}.weight`,
      shape: [out, inputs],
      kind: "matrix",
      start: "normal",
      spread: factor * Math.sqrt(2 / inputs),
    });
    const bias = (name, out) => ({ name: `${name}.bias`, shape: [out], kind: "plain", start: "zeros" });
    const features = inChannels * this.d + 2 * fourier + NOISE_WIDTH;
    const table = {
      name: "classes.table.weight",
      shape: [classes + 1, NOISE_WIDTH],
      kind: "plain",
      start: "normal",
      spread: NOISE_WIDTH ** -0.5,
    };
    const waves = {
      name: "fourier.frequencies",
      shape: [fourier, this.d],
      kind: "matrix",
      start: "normal",
      spread: fourier_scale,
      fixed: true,
    };
    this.parameters = new Parameters([
      ...(classes ? [table] : []),
      ...(fourier ? [waves] : []),
      kaiming("enter", width, features),
      bias("enter", width),
      ...Array.from({ length: depth }, (_, i) => [`blocks.${i}`, inner[i] ?? width]).flatMap(
        ([block, inside]) => [
          kaiming(`${block}.first`, inside, width),
          bias(`${block}.first`, inside),
          kaiming(`${block}.second`, width, inside, depth ** -0.5),
          bias(`${block}.second`, width),
          kaiming(`${block}.condition`, inside, NOISE_WIDTH),
        ],
      ),
      { name: "leave.weight", shape: [this.d, width], kind: "matrix", start: "zeros" },
      bias("leave", this.d),
    ]);
  }

  side(sigma, labels) {
    const n = sigma.length;
    const side = { noise: tf.tensor2d(noiseEmbedding(sigma, NOISE_WIDTH), [n, NOISE_WIDTH]) };
    if (this.classes) side.hot = tf.tensor2d(oneHot(labels, n, this.classes), [n, this.classes + 1]);
    if (this.fourier) {
      side.scale = tf.tensor2d(
        sigma.map((s) => Math.sqrt(s * s + this.sigmaData ** 2)),
        [n, 1],
      );
      side.fade = tf.tensor2d(this.fades(sigma), [n, 2 * this.fourier]);
    }
    return side;
  }

  /** Return exp(-(w_j sigma)^2 / 2) for the sines and again for the cosines, (n, 2 fourier). */
  fades(sigma) {
    const { data } = this.parameters.values.get("fourier.frequencies"); // (d, fourier)
    const count = this.fourier;
    const squared = Float64Array.from({ length: count }, (_, j) => {
      let total = 0;
      for (let x = 0; x < this.d; x++) total += data[x * count + j] ** 2;
      return total;
    });
    const out = new Float32Array(sigma.length * 2 * count);
    for (let i = 0; i < sigma.length; i++) {
      const at = 2 * count * i;
      for (let j = 0; j < count; j++) {
        out[at + j] = Math.exp(-0.5 * squared[j] * sigma[i] ** 2);
        out[at + count + j] = out[at + j];
      }
    }
    return out;
  }

  run(x, side) {
    const p = (name) => this.parameters.get(name);
    let embedding = side.noise;
    if (this.classes) embedding = ops.add(embedding, ops.linear(side.hot, p("classes.table.weight")));
    let features = ops.concat(x, embedding);
    if (this.fourier) {
      const y = ops.weigh(ops.head(x, this.d), side.scale);
      const angle = ops.linear(y, p("fourier.frequencies"));
      features = ops.concat(features, ops.weigh(ops.sinCos(angle), side.fade));
    }
    let h = ops.linear(features, p("enter.weight"), p("enter.bias"));
    for (let i = 0; i < this.depth; i++) {
      const block = `blocks.${i}`;
      const first = ops.linear(ops.silu(h), p(`${block}.first.weight`), p(`${block}.first.bias`));
      const inner = ops.silu(ops.add(first, ops.linear(embedding, p(`${block}.condition.weight`))));
      h = ops.add(h, ops.linear(inner, p(`${block}.second.weight`), p(`${block}.second.bias`)));
    }
    return ops.linear(ops.silu(h), p("leave.weight"), p("leave.bias"));
  }
}
