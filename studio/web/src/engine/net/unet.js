/**
 * U-Net for images (sgm_core/nets/unet.py): GroupNorm, SiLU, optional self-attention and classes.
 *
 * Any height and width: down-sampling rounds up, up-sampling takes the skip's size. `inner`: channels
 * inside each residual block (down, middle, up), as pruning leaves them. `patch`: blocks of so many pixels
 * each way become channels.
 */

import * as tf from "@tensorflow/tfjs-core";
import { UsageError } from "../errors.js";
import { noiseEmbedding, oneHot } from "./embedding.js";
import * as image from "./image_ops.js";
import { checkInner, Network } from "./network.js";
import * as ops from "./ops.js";
import { Parameters } from "./parameters.js";

/** Return the number of groups of `group` channels; else the largest <= 8 that divides the channels. */
const groupsOf = (channels, group) =>
  group && channels % group === 0 ? channels / group : [8, 6, 4, 3, 2, 1].find((g) => channels % g === 0);

const plain = (name, size, start) => ({ name, shape: [size], kind: "plain", start });
const norm = (name, size) => [plain(`${name}.weight`, size, "ones"), plain(`${name}.bias`, size, "zeros")];

/** PyTorch's default law: uniform up to 1 / sqrt(fan in), for weight and bias. */
function layer(name, shape, kind, zero = false) {
  const fan = shape.slice(1).reduce((a, b) => a * b, 1);
  const law = zero ? { start: "zeros" } : { start: "uniform", spread: fan ** -0.5 };
  return [
    { name: `${name}.weight`, shape, kind, ...law },
    { name: `${name}.bias`, shape: [shape[0]], kind: "plain", ...law },
  ];
}

const convolution = (name, outputs, inputs, size, zero) =>
  layer(name, [outputs, inputs, size, size], "convolution", zero);

function blockSpecs(name, { inputs, inside, outputs }, embedding) {
  return [
    ...norm(`${name}.norm1`, inputs),
    ...convolution(`${name}.conv1`, inside, inputs, 3),
    ...layer(`${name}.condition`, [2 * inside, embedding], "matrix"),
    ...norm(`${name}.norm2`, inside),
    ...convolution(`${name}.conv2`, outputs, inside, 3, true),
    ...(inputs === outputs ? [] : convolution(`${name}.skip`, outputs, inputs, 1)),
  ];
}

function attentionSpecs(name, channels) {
  return [
    ...norm(`${name}.norm`, channels),
    ...convolution(`${name}.qkv`, 3 * channels, channels, 1),
    ...convolution(`${name}.out`, channels, channels, 1, true),
  ];
}

/** Return the stages of the network in the order of PyTorch's modules: name, widths, attention. */
function stagesOf({ channels, multipliers, blocks, attention, inner = [] }) {
  const down = [];
  const up = [];
  const skips = [channels];
  let current = channels;
  multipliers.forEach((multiplier, level) => {
    for (let b = 0; b < blocks; b++) {
      const outputs = channels * multiplier;
      down.push({
        name: `down.${down.length}`,
        inputs: current,
        outputs,
        attends: attention.includes(level),
      });
      current = outputs;
      skips.push(current);
    }
    if (level < multipliers.length - 1) skips.push(current);
  });
  const last = multipliers.length - 1;
  const middle = { name: "middle", inputs: current, outputs: current, attends: attention.includes(last) };
  for (let level = last; level >= 0; level--) {
    for (let b = 0; b <= blocks; b++) {
      const outputs = channels * multipliers[level];
      const inputs = current + skips.pop();
      up.push({ name: `up.${up.length}`, inputs, outputs, attends: attention.includes(level) });
      current = outputs;
    }
  }
  const all = [...down, middle, ...up];
  checkInner(inner, all.length);
  all.forEach((stage, i) => {
    stage.inside = inner[i] ?? stage.outputs;
  });
  return { down, middle, up, last: current };
}

export class UNet extends Network {
  constructor({ shape, inChannels, classes }, options) {
    super();
    const { channels, multipliers, attention, heads, patch } = options;
    for (const level of attention) {
      const width = channels * (multipliers[level] ?? Number.NaN);
      if (width % heads === 0) continue;
      throw new UsageError(
        `attention: level ${level} does not exist, or ${heads} heads do not divide its channels`,
      );
    }
    Object.assign(this, options, { shape, inChannels, classes });
    this.rows = Math.max(1, Math.floor((2 ** 22 * patch ** 2) / (channels * shape[1] * shape[2])));
    this.stages = stagesOf(options);
    const { down, middle, up, last } = this.stages;
    const width = 4 * channels;
    this.parameters = new Parameters([
      ...layer("embed.0", [width, channels], "matrix"),
      ...layer("embed.2", [width, width], "matrix"),
      ...(classes
        ? [
            {
              name: "classes.table.weight",
              shape: [classes + 1, width],
              kind: "plain",
              start: "normal",
              spread: width ** -0.5,
            },
          ]
        : []),
      ...convolution("enter", channels, inChannels * shape[0] * patch ** 2, 3),
      ...[...down, middle, ...up].flatMap((stage) => [
        ...blockSpecs(`${stage.name}.0`, stage, width),
        ...(stage.attends ? attentionSpecs(`${stage.name}.1`, stage.outputs) : []),
      ]),
      ...norm("norm", last),
      ...convolution("leave", shape[0] * patch ** 2, last, 3, true),
    ]);
  }

  side(sigma, labels) {
    const n = sigma.length;
    const side = {
      noise: tf.tensor2d(noiseEmbedding(sigma, this.channels), [n, 2 * (this.channels >> 1)]),
    };
    if (this.classes) side.hot = tf.tensor2d(oneHot(labels, n, this.classes), [n, this.classes + 1]);
    return side;
  }

  /** Return the weights of a layer. */
  of(name) {
    return [this.parameters.get(`${name}.weight`), this.parameters.get(`${name}.bias`)];
  }

  norm(name, x) {
    return image.groupNorm(x, ...this.of(name), groupsOf(x.shape[3], this.group));
  }

  block(name, x, embedding) {
    const h = image.convolve(ops.silu(this.norm(`${name}.norm1`, x)), ...this.of(`${name}.conv1`));
    const film = ops.linear(embedding, ...this.of(`${name}.condition`));
    const inner = ops.silu(image.modulate(this.norm(`${name}.norm2`, h), film));
    const skip = this.parameters.has(`${name}.skip.weight`)
      ? image.pointwise(x, ...this.of(`${name}.skip`))
      : x;
    return ops.add(skip, image.convolve(inner, ...this.of(`${name}.conv2`)));
  }

  attentionBlock(name, x) {
    const qkv = image.pointwise(this.norm(`${name}.norm`, x), ...this.of(`${name}.qkv`));
    // PyTorch's channels of qkv are (3, heads, size), which is the order of `attend`.
    return ops.add(x, image.pointwise(image.attend(qkv, this.heads), ...this.of(`${name}.out`)));
  }

  stage({ name, attends }, x, embedding) {
    const h = this.block(`${name}.0`, x, embedding);
    return attends ? this.attentionBlock(`${name}.1`, h) : h;
  }

  embedding({ noise, hot }) {
    const inner = ops.silu(ops.linear(noise, ...this.of("embed.0")));
    const embedding = ops.linear(inner, ...this.of("embed.2"));
    if (!this.classes) return ops.silu(embedding);
    return ops.silu(ops.add(embedding, ops.linear(hot, this.parameters.get("classes.table.weight"))));
  }

  run(x, side) {
    const [channels, height, width] = this.shape;
    const embedding = this.embedding(side);
    let h = image.convolve(
      image.toPixels(x, [this.inChannels * channels, height, width], this.patch),
      ...this.of("enter"),
    );
    const skips = [h];
    const down = [...this.stages.down];
    this.multipliers.forEach((_, level) => {
      for (let b = 0; b < this.blocks; b++) {
        h = this.stage(down.shift(), h, embedding);
        skips.push(h);
      }
      if (level < this.multipliers.length - 1) {
        h = image.halve(h);
        skips.push(h);
      }
    });
    h = this.stage(this.stages.middle, h, embedding);
    for (const stage of this.stages.up) {
      const skip = skips.pop();
      if (h.shape[1] !== skip.shape[1] || h.shape[2] !== skip.shape[2]) h = image.double(h, skip);
      h = this.stage(stage, ops.concat(h, skip), embedding);
    }
    const out = image.convolve(ops.silu(this.norm("norm", h)), ...this.of("leave"));
    return image.fromPixels(out, this.shape, this.patch);
  }
}
