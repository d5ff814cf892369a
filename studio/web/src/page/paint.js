// Samples on a canvas: pictures as crisp pixels, points as a scatter on fixed axes.

import { colours } from "./theme.js";

/** How far the axes of points reach from the data's centre, in its scales. */
const REACH = 2.2;

/**
 * What a canvas needs to know of a model's data.
 * @param {object} info an entry of /api/models
 */
export function lookOf(info) {
  const { shape } = info;
  const center = [info.data.center].flat();
  const scale = [info.data.scale].flat();
  const range = info.data.range ?? [-1, 1];
  const sigmaData = info.data.sigma_data ?? (info.kind === "points" ? 1 : 0.5);
  return { kind: info.kind, shape, center, scale, range, sigmaData };
}

/**
 * The factor that brings y = x_0 + sigma eps back to the spread of the data, so that noise of any
 * level fits the picture: what variance preserving processes do, 1 / sqrt(1 + (sigma / sigma_data)^2).
 */
export function shrink(look, sigma) {
  return 1 / Math.hypot(1, sigma / look.sigmaData);
}

/** Draw n samples; `factor` shrinks them towards the data's centre. */
export function paint(canvas, look, x, factor = 1) {
  if (look.kind === "points") scatter(canvas, look, x, factor);
  else pictures(canvas, look, x, factor);
}

function pictures(canvas, look, x, factor) {
  const [channels, height, width] = look.shape;
  const size = channels * height * width;
  const n = Math.max(1, Math.floor(x.length / size));
  const columns = Math.ceil(Math.sqrt(n));
  const rows = Math.ceil(n / columns);
  resize(canvas, columns * (width + 1) - 1, rows * (height + 1) - 1);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < n; i += 1) {
    const image = pixels(look, x.subarray(i * size, (i + 1) * size), factor);
    context.putImageData(image, (i % columns) * (width + 1), Math.floor(i / columns) * (height + 1));
  }
}

/** One picture (C, H, W) in the data's range as ImageData. */
export function pixels(look, x, factor = 1) {
  const [channels, height, width] = look.shape;
  const [low, high] = look.range;
  const area = height * width;
  const image = new ImageData(width, height);
  const gain = 255 / (high - low);
  for (let p = 0; p < area; p += 1) {
    for (let c = 0; c < 3; c += 1) {
      const channel = channels < 3 ? 0 : c;
      const middle = look.center[channel % look.center.length];
      const value = middle + factor * (x[channel * area + p] - middle);
      image.data[4 * p + c] = (value - low) * gain; // clamped by ImageData
    }
    image.data[4 * p + 3] = 255;
  }
  return image;
}

/** Give a canvas its resolution, if it has another. */
export function resize(canvas, width, height) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}

/** Data coordinates -> pixels of a square plane of `side` pixels; and back. */
export function planeOf(look, side) {
  const scale = Math.max(...look.scale);
  const center = (c) => look.center[c % look.center.length];
  const unit = side / (2 * REACH * scale);
  return {
    unit,
    x: (value) => side / 2 + (value - center(0)) * unit,
    y: (value) => side / 2 - (value - center(1)) * unit,
    dataX: (pixel) => center(0) + (pixel - side / 2) / unit,
    dataY: (pixel) => center(1) - (pixel - side / 2) / unit,
  };
}

export const PLANE = 720; // pixels of a plane's canvas
const DOT = 3.4; // and of a point

function scatter(canvas, look, x, factor) {
  resize(canvas, PLANE, PLANE);
  const context = canvas.getContext("2d");
  const plane = planeOf(look, PLANE);
  axes(context, PLANE);
  // Dots keep their size on the screen where the plane is shown small.
  const size = DOT * Math.min(3, Math.max(1, (0.6 * PLANE) / (canvas.clientWidth || PLANE)));
  dots(context, plane, look, x, { colour: colours().accent, factor, size });
}

/** The empty plane with its two axes. */
export function axes(context, side) {
  const { plane, line } = colours();
  context.globalAlpha = 1;
  context.fillStyle = plane;
  context.fillRect(0, 0, side, side);
  context.strokeStyle = line;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(side / 2, 0);
  context.lineTo(side / 2, side);
  context.moveTo(0, side / 2);
  context.lineTo(side, side / 2);
  context.stroke();
}

/** Points (n, d): the first two coordinates; with d = 1 the second is the sample's place in line. */
export function dots(context, plane, look, x, { colour, factor = 1, size = DOT, alpha = 0.62 }) {
  const d = look.shape[0];
  const n = Math.floor(x.length / d);
  const [cx, cy] = [look.center[0], look.center[1 % look.center.length]];
  const span = 2 * Math.max(...look.scale);
  context.fillStyle = colour;
  context.globalAlpha = alpha;
  for (let i = 0; i < n; i += 1) {
    const px = plane.x(cx + factor * (x[i * d] - cx));
    const second = d > 1 ? factor * (x[i * d + 1] - cy) : (i / n - 0.5) * span;
    context.fillRect(px - size / 2, plane.y(cy + second) - size / 2, size, size);
  }
  context.globalAlpha = 1;
}

/** A canvas's picture enlarged by whole numbers to `least` pixels or more, as a new canvas. */
export function enlarged(canvas, least = 512) {
  const factor = Math.max(1, Math.ceil(least / Math.max(canvas.width, canvas.height)));
  const copy = document.createElement("canvas");
  resize(copy, canvas.width * factor, canvas.height * factor);
  const context = copy.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(canvas, 0, 0, copy.width, copy.height);
  return copy;
}
