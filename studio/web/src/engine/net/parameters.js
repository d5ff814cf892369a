/**
 * A network's weights: float32 arrays on the host, and tensors of them while the network runs.
 *
 * Files hold them as PyTorch does; here a matrix (out, in) is kept as (in, out) and a convolution
 * (out, in, h, w) as (h, w, in, out), which is what TensorFlow.js multiplies with.
 */

import * as tf from "@tensorflow/tfjs-core";
import { UsageError } from "../errors.js";
import { NoiseStream } from "../math/noise.js";

/** Axes of PyTorch's layout in the order of ours, by the kind of a weight. */
const AXES = { matrix: [1, 0], convolution: [2, 3, 1, 0] };

/**
 * @typedef {object} Spec what a network needs
 * @property {string} name
 * @property {number[]} shape as in PyTorch
 * @property {"matrix" | "convolution" | "plain"} kind
 * @property {"zeros" | "ones" | "normal" | "uniform"} start law of the initial values
 * @property {number} [spread] standard deviation, or largest value
 * @property {boolean} [fixed] not trained
 */

export class Parameters {
  /** @param {Spec[]} specs */
  constructor(specs) {
    this.specs = specs;
    /** @type {Map<string, {shape: number[], data: Float32Array}>} in our layout */
    this.values = new Map();
    this.tensors = new Map();
  }

  /** Draw initial values from a seed. */
  draw(seed) {
    const random = new NoiseStream([BigInt(seed)]);
    this.specs.forEach((spec, i) => {
      const size = spec.shape.reduce((a, b) => a * b, 1);
      let data = new Float32Array(size);
      if (spec.start === "ones") data.fill(1);
      if (spec.start === "normal") data = Float32Array.from(random.draw(i, size), (v) => spec.spread * v);
      if (spec.start === "uniform")
        data = Float32Array.from(random.uniform(i, size), (v) => spec.spread * (2 * v - 1));
      this.values.set(spec.name, { shape: layout(spec), data });
    });
    return this;
  }

  /**
   * Take the weights of a file.
   * @param {Map<string, {shape: number[], data: Float32Array}>} weights as PyTorch keeps them
   */
  read(weights) {
    for (const spec of this.specs) {
      const found = weights.get(spec.name);
      if (!found) throw new UsageError(`the model's weights lack ${spec.name}; publish the model again`);
      if (found.shape.length !== spec.shape.length || found.shape.some((s, i) => s !== spec.shape[i])) {
        throw new UsageError(
          `${spec.name} has shape [${found.shape}] and the configuration asks for [${spec.shape}]; publish the model again`,
        );
      }
      const axes = AXES[spec.kind];
      const data = axes ? permuted(found.data, found.shape, axes) : Float32Array.from(found.data);
      this.values.set(spec.name, { shape: axes ? axes.map((a) => found.shape[a]) : found.shape, data });
    }
    const extra = [...weights.keys()].find((name) => !this.values.has(name));
    if (extra)
      throw new UsageError(`the model's weights hold ${extra}, which the configuration has no use for`);
    return this;
  }

  /** Return copies of the weights as PyTorch keeps them; `from`: other values by name (an average). */
  write(from = this.values) {
    return new Map(
      this.specs.map(({ name, kind }) => {
        const { shape, data } = from.get(name);
        const axes = AXES[kind];
        if (!axes) return [name, { shape, data: data.slice() }];
        const back = axes.map((_, i) => axes.indexOf(i));
        return [name, { shape: back.map((a) => shape[a]), data: permuted(data, shape, back) }];
      }),
    );
  }

  /** Return a copy with values of its own. */
  copy() {
    const twin = new Parameters(this.specs);
    for (const [name, { shape, data }] of this.values) twin.values.set(name, { shape, data: data.slice() });
    return twin;
  }

  /** Return the tensor of a weight; it is kept until `release`. */
  get(name) {
    let tensor = this.tensors.get(name);
    if (!tensor) {
      const { shape, data } = this.values.get(name);
      tensor = tf.keep(tf.tensor(data, shape, "float32"));
      this.tensors.set(name, tensor);
    }
    return tensor;
  }

  has(name) {
    return this.values.has(name);
  }

  /** Names of the weights that are trained. */
  get trained() {
    return this.specs.filter((spec) => !spec.fixed).map((spec) => spec.name);
  }

  /** Number of trainable numbers. */
  get count() {
    return this.trained.reduce((total, name) => total + this.values.get(name).data.length, 0);
  }

  /** Free the tensors; the values stay. */
  release() {
    for (const tensor of this.tensors.values()) tensor.dispose();
    this.tensors.clear();
  }
}

function layout({ shape, kind }) {
  return AXES[kind] ? AXES[kind].map((axis) => shape[axis]) : shape;
}

/** Return data of a shape with its axes in another order. */
function permuted(data, shape, axes) {
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
  const [sizes, steps] = [axes.map((a) => shape[a]), axes.map((a) => strides[a])];
  const out = new Float32Array(data.length);
  const index = new Array(axes.length).fill(0);
  for (let to = 0, from = 0; to < out.length; to++) {
    out[to] = data[from];
    for (let axis = axes.length - 1; axis >= 0; axis--) {
      from += steps[axis];
      if (++index[axis] < sizes[axis]) break;
      from -= steps[axis] * sizes[axis];
      index[axis] = 0;
    }
  }
  return out;
}
