/**
 * The networks' operations on tensors, each with its gradient.
 *
 * An operation is a TensorFlow.js kernel made of others, one node of the tape: gradients are lazy
 * (only those that are asked for are computed) and use the kernels that WebAssembly is fast at. A
 * matrix product is fast there if nothing is transposed within it, so that transposes are explicit.
 */

import * as tf from "@tensorflow/tfjs-core";

const ops = [];

/**
 * Define an operation.
 * @param {string} name
 * @param {string[]} saved inputs that the gradient needs
 * @param {(inputs: object, attributes: object) => tf.Tensor} forward
 * @param {(dy: tf.Tensor, saved: tf.Tensor[], attributes: object) => object} gradient
 *   input name -> function that returns its gradient
 */
export function define(name, saved, forward, gradient) {
  const kernelName = `sgm/${name}`;
  ops.push({ kernelName, kernelFunc: ({ inputs, attrs }) => tf.tidy(() => forward(inputs, attrs ?? {})) });
  tf.registerGradient({
    kernelName,
    inputsToSave: saved,
    gradFunc: (dy, kept, attrs) => gradient(dy, kept, attrs ?? {}),
  });
  return (inputs, attributes = {}) => tf.engine().runKernel(kernelName, inputs, attributes);
}

/** Make the operations known to a backend. */
export function registerOps(backendName) {
  for (const op of ops) tf.registerKernel({ ...op, backendName });
}

const ones = (rows) => tf.tensor2d(new Float32Array(rows).fill(1), [1, rows]);
const columnSums = (x) => tf.reshape(tf.matMul(ones(x.shape[0]), x), [x.shape[1]]);

/** x (n, i), weight (i, o), bias (o) -> x weight + bias (n, o). */
export const linear = (() => {
  const op = define(
    "Linear",
    ["x", "weight"],
    ({ x, weight, bias }) => (bias ? tf.fused.matMul({ a: x, b: weight, bias }) : tf.matMul(x, weight)),
    (dy, [x, weight]) => ({
      x: () => tf.matMul(dy, tf.transpose(weight)),
      weight: () => tf.matMul(tf.transpose(x), dy),
      bias: () => columnSums(dy),
    }),
  );
  return (x, weight, bias) => op(bias ? { x, weight, bias } : { x, weight });
})();

/** x sigmoid(x). */
export const silu = (() => {
  const op = define(
    "Silu",
    ["x"],
    ({ x }) => tf.mul(x, tf.sigmoid(x)),
    (dy, [x]) => ({
      x: () => {
        const s = tf.sigmoid(x);
        // s + x s (1 - s) = s + y - y s
        const y = tf.mul(x, s);
        return tf.mul(dy, tf.sub(tf.add(s, y), tf.mul(y, s)));
      },
    }),
  );
  return (x) => op({ x });
})();

/** a + b of one shape. */
export const add = (() => {
  const op = define(
    "Add",
    [],
    ({ a, b }) => tf.add(a, b),
    (dy) => ({ a: () => dy.clone(), b: () => dy.clone() }),
  );
  return (a, b) => op({ a, b });
})();

/** a * b, where no gradient of b is ever asked for and b broadcasts without growing a. */
export const weigh = (() => {
  const op = define(
    "Weigh",
    ["b"],
    ({ a, b }) => tf.mul(a, b),
    (dy, [b]) => ({ a: () => tf.mul(dy, b) }),
  );
  return (a, b) => op({ a, b });
})();

/** Columns of a (n, p) and b (n, q) side by side, or channels of images: the last axis. */
export const concat = (() => {
  const part = (dy, start, size) =>
    tf.slice(dy, [...dy.shape.slice(0, -1).map(() => 0), start], [...dy.shape.slice(0, -1), size]);
  const op = define(
    "Concat",
    [],
    ({ a, b }) => tf.concat([a, b], a.shape.length - 1),
    (dy, _, { width }) => ({
      a: () => part(dy, 0, width),
      b: () => part(dy, width, dy.shape.at(-1) - width),
    }),
  );
  return (a, b) => op({ a, b }, { width: a.shape.at(-1) });
})();

/** The first `width` columns of x (n, p). */
export const head = (() => {
  const op = define(
    "Head",
    [],
    ({ x }, { width }) => tf.slice(x, [0, 0], [x.shape[0], width]),
    (dy, _, { total, width }) => ({
      x: () =>
        tf.pad(dy, [
          [0, 0],
          [0, total - width],
        ]),
    }),
  );
  return (x, width) => (width === x.shape[1] ? x : op({ x }, { width, total: x.shape[1] }));
})();

/** sin and cos of the angles side by side, (n, p) -> (n, 2p). */
export const sinCos = (() => {
  const op = define(
    "SinCos",
    ["angle"],
    ({ angle }) => tf.concat([tf.sin(angle), tf.cos(angle)], 1),
    (dy, [angle]) => ({
      angle: () => {
        const [n, p] = angle.shape;
        const [ds, dc] = [tf.slice(dy, [0, 0], [n, p]), tf.slice(dy, [0, p], [n, p])];
        return tf.sub(tf.mul(ds, tf.cos(angle)), tf.mul(dc, tf.sin(angle)));
      },
    }),
  );
  return (angle) => op({ angle });
})();
