/**
 * The U-Net's operations on images (n, height, width, channels), each with its gradient (see ops.js).
 *
 * WebAssembly has no kernel for the gradient of a convolution in its filter: it is a product of two
 * matrices, the image's shifted copies (im2col) and the output's gradient. The gradient in the image is
 * a convolution with the filter turned by half a turn.
 */

import * as tf from "@tensorflow/tfjs-core";
import { define } from "./ops.js";

const rows = (x) => tf.reshape(x, [-1, x.shape.at(-1)]);
const pixels = ([, height, width]) => height * width;

/** Means over all pixels, (n, h, w, c) -> (n, c). */
const pixelMeans = (x) =>
  tf.reshape(tf.avgPool(x, [x.shape[1], x.shape[2]], 1, "valid"), [x.shape[0], x.shape[3]]);

/** Sums over items and pixels, (n, h, w, c) -> (c). */
function channelSums(x) {
  const one = tf.ones([1, x.size / x.shape.at(-1)]);
  return tf.reshape(tf.matMul(one, rows(x)), [x.shape.at(-1)]);
}

/** Return the gradient of a 3 x 3 convolution in its filter, (3, 3, i, o). */
function filterGradient(x, dy) {
  const [n, height, width, inputs] = x.shape;
  const padded = tf.pad(tf.transpose(x, [3, 0, 1, 2]), [
    [0, 0],
    [0, 0],
    [1, 1],
    [1, 1],
  ]);
  const flat = rows(dy);
  const taps = [];
  for (let i = 0; i < 3; i++) {
    for (let j = 0; j < 3; j++) {
      const shifted = tf.slice(padded, [0, 0, i, j], [inputs, n, height, width]);
      taps.push(tf.reshape(shifted, [inputs, n * height * width]));
    }
  }
  return tf.reshape(tf.matMul(tf.concat(taps, 0), flat), [3, 3, inputs, dy.shape[3]]);
}

/** A 3 x 3 convolution that keeps the size: filter (3, 3, i, o), bias (o). */
export const convolve = (() => {
  const op = define(
    "Convolve",
    ["x", "filter"],
    ({ x, filter, bias }) => tf.fused.conv2d({ x, filter, strides: 1, pad: "same", bias }),
    (dy, [x, filter]) => ({
      x: () => tf.conv2d(dy, tf.transpose(tf.reverse(filter, [0, 1]), [0, 1, 3, 2]), 1, "same"),
      filter: () => filterGradient(x, dy),
      bias: () => channelSums(dy),
    }),
  );
  return (x, filter, bias) => op({ x, filter, bias });
})();

/** A 1 x 1 convolution: filter (1, 1, i, o), bias (o). */
export const pointwise = (() => {
  const matrix = (filter) => tf.reshape(filter, filter.shape.slice(2));
  const op = define(
    "Pointwise",
    ["x", "filter"],
    ({ x, filter, bias }) =>
      tf.reshape(tf.fused.matMul({ a: rows(x), b: matrix(filter), bias }), [
        ...x.shape.slice(0, 3),
        filter.shape[3],
      ]),
    (dy, [x, filter]) => ({
      x: () => tf.reshape(tf.matMul(rows(dy), tf.transpose(matrix(filter))), x.shape),
      filter: () => tf.reshape(tf.matMul(tf.transpose(rows(x)), rows(dy)), filter.shape),
      bias: () => channelSums(dy),
    }),
  );
  return (x, filter, bias) => op({ x, filter, bias });
})();

/** Return the (c, c) matrix that averages (n, c) over the channels of each group. */
function grouping(channels, groups) {
  const size = channels / groups;
  const values = new Float32Array(channels * channels);
  for (let i = 0; i < channels; i++) {
    const first = i - (i % size);
    for (let j = first; j < first + size; j++) values[i * channels + j] = 1 / size;
  }
  return tf.tensor2d(values, [channels, channels]);
}

/** (n, c) as (n, 1, 1, c), which broadcasts over pixels. */
const spread = (v) => tf.reshape(v, [v.shape[0], 1, 1, v.shape[1]]);

/** Return [(x - mean) / std, 1 / std as (n, 1, 1, c)] over each group's channels and all pixels. */
function normalised(x, groups) {
  const group = grouping(x.shape[3], groups);
  const centred = tf.sub(x, spread(tf.matMul(pixelMeans(x), group)));
  const variance = tf.matMul(pixelMeans(tf.mul(centred, centred)), group);
  const scale = spread(tf.rsqrt(tf.add(variance, 1e-5)));
  return [tf.mul(centred, scale), scale];
}

/** GroupNorm: gain (c), bias (c). */
export const groupNorm = (() => {
  const op = define(
    "GroupNorm",
    ["x", "gain"],
    ({ x, gain, bias }, { groups }) => tf.add(tf.mul(normalised(x, groups)[0], gain), bias),
    (dy, [x, gain], { groups }) => {
      const again = () => normalised(x, groups);
      return {
        // dx = (g - mean(g) - z mean(g z)) / std with g = dy gain and z the normalised image.
        x: () => {
          const [z, scale] = again();
          const group = grouping(x.shape[3], groups);
          const g = tf.mul(dy, gain);
          const mean = spread(tf.matMul(pixelMeans(g), group));
          const slope = spread(tf.matMul(pixelMeans(tf.mul(g, z)), group));
          return tf.mul(tf.sub(tf.sub(g, mean), tf.mul(z, slope)), scale);
        },
        gain: () => channelSums(tf.mul(dy, again()[0])),
        bias: () => channelSums(dy),
      };
    },
  );
  return (x, gain, bias, groups) => op({ x, gain, bias }, { groups });
})();

/** x (1 + scale) + shift, where `film` (n, 2c) holds scale and shift. */
export const modulate = (() => {
  const parts = (film) => {
    const [n, width] = [film.shape[0], film.shape[1] / 2];
    return [0, width].map((at) => spread(tf.slice(film, [0, at], [n, width])));
  };
  const op = define(
    "Modulate",
    ["x", "film"],
    ({ x, film }) => {
      const [scale, shift] = parts(film);
      return tf.add(tf.mul(x, tf.add(scale, 1)), shift);
    },
    (dy, [x, film]) => ({
      x: () => tf.mul(dy, tf.add(parts(film)[0], 1)),
      film: () => tf.mul(tf.concat([pixelMeans(tf.mul(dy, x)), pixelMeans(dy)], 1), pixels(x.shape)),
    }),
  );
  return (x, film) => op({ x, film });
})();

/** Halve height and width by means over 2 x 2 pixels; an odd size is rounded up. */
export const halve = (() => {
  const op = define(
    "Halve",
    ["x"],
    ({ x }) => tf.avgPool(x, 2, 2, "same"),
    (dy, [x]) => ({ x: () => doubled(tf.mul(dy, shares(x.shape)), x.shape) }),
  );
  return (x) => op({ x });
})();

/** Return 1 / (pixels of each mean), (1, h, w, 1): fewer at the far edges of odd sizes. */
function shares([, height, width]) {
  const [h, w] = [(height + 1) >> 1, (width + 1) >> 1];
  const count = (i, size) => (2 * i + 1 < size ? 2 : 1);
  const values = new Float32Array(h * w);
  for (let i = 0; i < h; i++) {
    for (let j = 0; j < w; j++) values[i * w + j] = 1 / (count(i, height) * count(j, width));
  }
  return tf.tensor4d(values, [1, h, w, 1]);
}

/** Repeat every pixel twice in both directions, cut to a size. */
function doubled(x, [, height, width]) {
  const [n, h, w, c] = x.shape;
  const wide = tf.reshape(tf.tile(tf.reshape(x, [n * h, 1, w, c]), [1, 2, 1, 1]), [n * 2 * h * w, 1, c]);
  const all = tf.reshape(tf.tile(wide, [1, 2, 1]), [n, 2 * h, 2 * w, c]);
  return 2 * h === height && 2 * w === width ? all : tf.slice(all, [0, 0, 0, 0], [n, height, width, c]);
}

/** Double height and width by repeating pixels, to an image of the size of `like` (or one less). */
export const double = (() => {
  const op = define(
    "Double",
    ["x"],
    ({ x }, { size }) => doubled(x, size),
    (dy, [x]) => ({
      x: () => {
        const [, h, w] = x.shape;
        const padding = [
          [0, 0],
          [0, 2 * h - dy.shape[1]],
          [0, 2 * w - dy.shape[2]],
          [0, 0],
        ];
        return tf.mul(tf.avgPool(tf.pad(dy, padding), 2, 2, "valid"), 4);
      },
    }),
  );
  return (x, like) => op({ x }, { size: like.shape });
})();

/** Softmax attention over pixels: qkv (n, h, w, 3c) -> (n, h, w, c). */
export const attend = (() => {
  /** (n, h, w, 3c) -> q, k, v as (n heads, pixels, c / heads). */
  const split = (qkv, heads) => {
    const [n, h, w, three] = qkv.shape;
    const size = three / 3 / heads;
    const parts = tf.transpose(tf.reshape(qkv, [n, h * w, 3, heads, size]), [2, 0, 3, 1, 4]);
    return [0, 1, 2].map((i) =>
      tf.reshape(tf.slice(parts, [i, 0, 0, 0, 0], [1, n, heads, h * w, size]), [n * heads, h * w, size]),
    );
  };
  const weights = (q, k) => tf.softmax(tf.mul(tf.matMul(q, k, false, true), q.shape[2] ** -0.5));
  const op = define(
    "Attend",
    ["qkv"],
    ({ qkv }, { heads }) => {
      const [n, h, w, three] = qkv.shape;
      const [q, k, v] = split(qkv, heads);
      const mixed = tf.reshape(tf.matMul(weights(q, k), v), [n, heads, h * w, three / 3 / heads]);
      return tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [n, h, w, three / 3]);
    },
    (dy, [qkv], { heads }) => ({
      qkv: () => {
        const [n, h, w, three] = qkv.shape;
        const size = three / 3 / heads;
        const [q, k, v] = split(qkv, heads);
        const p = weights(q, k);
        const apart = tf.transpose(tf.reshape(dy, [n, h * w, heads, size]), [0, 2, 1, 3]);
        const d = tf.reshape(apart, [n * heads, h * w, size]);
        const dp = tf.matMul(d, v, false, true);
        const inner = tf.mul(p, tf.sub(dp, tf.sum(tf.mul(p, dp), -1, true)));
        const ds = tf.mul(inner, size ** -0.5);
        const grads = [tf.matMul(ds, k), tf.matMul(ds, q, true, false), tf.matMul(p, d, true, false)];
        const joined = tf.reshape(tf.concat(grads, 0), [3, n, heads, h * w, size]);
        return tf.reshape(tf.transpose(joined, [1, 3, 0, 2, 4]), qkv.shape);
      },
    }),
  );
  return (qkv, heads) => op({ qkv }, { heads });
})();

/** Images (n, c, h, w) as PyTorch has them -> (n, h / p, w / p, c p p): blocks of p x p pixels become channels. */
function unshuffled(x, patch) {
  const [n, c, h, w] = x.shape;
  if (patch === 1) return tf.transpose(x, [0, 2, 3, 1]);
  const blocks = tf.reshape(x, [n, c, h / patch, patch, w / patch, patch]);
  const size = [n, h / patch, w / patch, c * patch ** 2];
  return tf.reshape(tf.transpose(blocks, [0, 2, 4, 1, 3, 5]), size);
}

/** The inverse of `unshuffled`. */
function shuffled(x, patch) {
  const [n, h, w, all] = x.shape;
  if (patch === 1) return tf.transpose(x, [0, 3, 1, 2]);
  const blocks = tf.reshape(x, [n, h, w, all / patch ** 2, patch, patch]);
  const size = [n, all / patch ** 2, h * patch, w * patch];
  return tf.reshape(tf.transpose(blocks, [0, 3, 1, 4, 2, 5]), size);
}

/** Part of an image (n, c, h, w) along height (axis 2) or width (axis 3). */
function part(x, axis, first, count) {
  if (count === x.shape[axis]) return x;
  const begin = [0, 0, 0, 0];
  begin[axis] = first;
  return tf.slice(
    x,
    begin,
    x.shape.map((size, i) => (i === axis ? count : size)),
  );
}

/** Repeat the last row (axis 2) or column (axis 3) until there are `size`. */
function extended(x, axis, size) {
  if (x.shape[axis] === size) return x;
  const last = part(x, axis, x.shape[axis] - 1, 1);
  return tf.concat([x, ...Array.from({ length: size - x.shape[axis] }, () => last)], axis);
}

/** The gradient of `extended`: what the repetitions got belongs to the last one of `size`. */
function gathered(dy, axis, size) {
  if (dy.shape[axis] === size) return dy;
  const last = tf.sum(part(dy, axis, size - 1, dy.shape[axis] - size + 1), axis, true);
  return size === 1 ? last : tf.concat([part(dy, axis, 0, size - 1), last], axis);
}

const whole = (side, patch) => Math.ceil(side / patch) * patch;

/** (n, c h w) as PyTorch has it -> (n, h / p, w / p, c p p); sides that p does not divide are extended. */
export const toPixels = (() => {
  const op = define(
    "ToPixels",
    [],
    ({ x }, { size: [c, h, w], patch }) => {
      const tall = extended(tf.reshape(x, [-1, c, h, w]), 2, whole(h, patch));
      return unshuffled(extended(tall, 3, whole(w, patch)), patch);
    },
    (dy, _, { size: [, h, w], patch }) => ({
      x: () => tf.reshape(gathered(gathered(shuffled(dy, patch), 3, w), 2, h), [dy.shape[0], -1]),
    }),
  );
  return (x, size, patch) => op({ x }, { size, patch });
})();

/** (n, h / p, w / p, c p p) -> (n, c h w) of an image of `size` (c, h, w). */
export const fromPixels = (() => {
  const op = define(
    "FromPixels",
    [],
    ({ x }, { size: [, h, w], patch }) => {
      const image = shuffled(x, patch);
      return tf.reshape(part(part(image, 2, 0, h), 3, 0, w), [x.shape[0], -1]);
    },
    (dy, _, { size: [c, h, w], patch }) => ({
      x: () => {
        const padding = [
          [0, 0],
          [0, 0],
          [0, whole(h, patch) - h],
          [0, whole(w, patch) - w],
        ];
        return unshuffled(tf.pad(tf.reshape(dy, [-1, c, h, w]), padding), patch);
      },
    }),
  );
  return (x, size, patch) => op({ x }, { size, patch });
})();
