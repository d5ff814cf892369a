// The loss curve: every step faint, the running mean in the accent colour.

import { resize } from "../paint.js";
import { colours } from "../theme.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [640, 250, 66, 36];

/** Draw losses of training steps; at most one point per pixel. */
export function drawLoss(canvas, { raw, losses, steps }) {
  resize(canvas, WIDTH, HEIGHT);
  const context = canvas.getContext("2d");
  const { card, line, muted, accent, data } = colours();
  context.fillStyle = card;
  context.fillRect(0, 0, WIDTH, HEIGHT);
  const n = losses.length;
  const every = Math.max(1, Math.floor(n / (WIDTH - LEFT)));
  const shown = losses.filter((_, i) => i % every === 0);
  const faint = raw.filter((_, i) => i % every === 0);
  const top = n ? 1.15 * Math.max(...shown) : 1;
  const low = n ? 0.75 * Math.min(...shown) : 0;
  const x = (i) => LEFT + ((WIDTH - LEFT - 8) * i) / Math.max(1, shown.length - 1);
  const y = (v) => HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - 10) * (Math.min(v, top) - low)) / (top - low || 1);
  context.strokeStyle = line;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(LEFT, 6);
  context.lineTo(LEFT, HEIGHT - BOTTOM);
  context.lineTo(WIDTH - 8, HEIGHT - BOTTOM);
  context.stroke();
  context.fillStyle = muted;
  context.font = "22px Inter, system-ui, sans-serif";
  context.textAlign = "right";
  if (n) {
    context.fillText(top.toPrecision(2), LEFT - 10, 24);
    context.fillText(low.toPrecision(2), LEFT - 10, HEIGHT - BOTTOM);
    context.fillText(`${steps} steps`, WIDTH - 8, HEIGHT - 8);
  }
  curve(context, faint, x, y, data, 0.6, 1.5);
  curve(context, shown, x, y, accent, 1, 4);
}

function curve(context, values, x, y, colour, alpha, width) {
  context.strokeStyle = colour;
  context.globalAlpha = alpha;
  context.lineWidth = width;
  context.lineJoin = "round";
  context.beginPath();
  values.forEach((v, i) => {
    if (i) context.lineTo(x(i), y(v));
    else context.moveTo(x(i), y(v));
  });
  context.stroke();
  context.globalAlpha = 1;
}
