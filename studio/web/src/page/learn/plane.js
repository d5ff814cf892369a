// The lab's plane: data dissolving in noise, samples or their density, and arrows of the score.

import { axes, dots, PLANE, planeOf, resize } from "../paint.js";
import { colours } from "../theme.js";

const SHOWN = 1800; // data points drawn
const CELLS = 72; // of the density, in each direction

/** The plane's frame is fixed, whatever the data: coordinates from -2.2 to 2.2. */
export const FIXED = { shape: [2], center: [0, 0], scale: [1] };

export function fixedPlane(side = PLANE) {
  return planeOf(FIXED, side);
}

/**
 * Draw a scene.
 * @param {object} scene data, samples: (n, 2) or null; density: samples as density; arrows: or null
 */
export function drawPlane(canvas, { data, samples, density, arrows, marks }) {
  resize(canvas, PLANE, PLANE);
  const context = canvas.getContext("2d");
  const plane = fixedPlane();
  const { data: grey, accent } = colours();
  axes(context, PLANE);
  if (samples && density) heat(context, plane, samples);
  if (data) dots(context, plane, FIXED, data.subarray(0, 2 * SHOWN), { colour: grey, alpha: 0.75 });
  if (samples && !density) dots(context, plane, FIXED, samples, { colour: accent, alpha: 0.8, size: 4 });
  if (arrows) drawArrows(context, plane, arrows);
  for (const mark of marks ?? []) ring(context, plane, mark);
}

/** A histogram of samples, smoothed a little, as strength of the accent colour. */
function heat(context, plane, samples) {
  const counts = new Float32Array(CELLS * CELLS);
  const cell = PLANE / CELLS;
  for (let i = 0; i < samples.length; i += 2) {
    const column = Math.floor(plane.x(samples[i]) / cell);
    const row = Math.floor(plane.y(samples[i + 1]) / cell);
    const inside = column > 0 && row > 0 && column < CELLS - 1 && row < CELLS - 1;
    if (!inside) continue;
    for (let a = -1; a <= 1; a += 1) {
      for (let b = -1; b <= 1; b += 1) {
        counts[(row + a) * CELLS + column + b] += (a ? 1 : 2) * (b ? 1 : 2);
      }
    }
  }
  const most = Math.max(...counts) || 1;
  context.fillStyle = colours().accent;
  counts.forEach((count, i) => {
    if (!count) return;
    context.globalAlpha = 0.85 * Math.sqrt(count / most);
    context.fillRect((i % CELLS) * cell, Math.floor(i / CELLS) * cell, cell + 0.4, cell + 0.4);
  });
  context.globalAlpha = 1;
}

const LONGEST = 0.24; // of an arrow, in the plane's units

/** Arrows {at: (n, 2), to: (n, 2)}: from a place towards where the density rises. */
function drawArrows(context, plane, { at, to }) {
  context.strokeStyle = colours().second;
  context.lineWidth = 2;
  context.lineCap = "round";
  context.beginPath();
  for (let i = 0; i < at.length; i += 2) {
    const [dx, dy] = [to[i] - at[i], to[i + 1] - at[i + 1]];
    const length = Math.hypot(dx, dy);
    if (length < 0.01) continue;
    // Long ones saturate, so that short ones remain visible.
    const drawn = LONGEST * Math.tanh(length / LONGEST / 1.5);
    const [ux, uy] = [dx / length, dy / length];
    const [x, y] = [plane.x(at[i]), plane.y(at[i + 1])];
    const [tx, ty] = [x + ux * drawn * plane.unit, y - uy * drawn * plane.unit];
    const head = Math.min(7, 0.4 * drawn * plane.unit);
    context.moveTo(x, y);
    context.lineTo(tx, ty);
    context.moveTo(tx - head * (ux + 0.6 * uy), ty + head * (uy - 0.6 * ux));
    context.lineTo(tx, ty);
    context.lineTo(tx - head * (ux - 0.6 * uy), ty + head * (uy + 0.6 * ux));
  }
  context.stroke();
}

function ring(context, plane, { x, y }) {
  context.strokeStyle = colours().second;
  context.lineWidth = 2.5;
  context.beginPath();
  context.arc(plane.x(x), plane.y(y), 10, 0, 2 * Math.PI);
  context.stroke();
}
