// Laws of points in the plane to learn from; each has mean 0 and a spread of about 1.

import { normals, uniforms } from "./random.js";

const TURN = 2 * Math.PI;

/** A point of scikit-learn's swiss roll (columns x and z) with noise, and its centre. */
function roll(uniform, normal, size) {
  const t = 1.5 * Math.PI * (1 + 2 * uniform());
  const noise = 0.35;
  return [size * (t * Math.cos(t) + noise * normal()), size * (t * Math.sin(t) + noise * normal())];
}

const CENTRES = [
  [0, 0],
  [1, 1],
  [1, -1],
  [-1, 1],
  [-1, -1],
];

const SHAPES = {
  swiss: { text: "Swiss roll", draw: (u, g) => roll(u, g, 0.128) },
  rolls: {
    text: "Five rolls",
    draw(u, g) {
      const [cx, cy] = CENTRES[Math.floor(5 * u())];
      const [x, y] = roll(u, g, 0.0155);
      return [1.24 * (cx + x * 1.15), 1.24 * (cy + y * 1.15)].map((v) => 0.9 * v);
    },
  },
  moons: {
    text: "Two moons",
    draw(u, g) {
      const upper = u() < 0.5;
      const angle = Math.PI * u();
      const [x, y] = upper
        ? [Math.cos(angle), Math.sin(angle)]
        : [1 - Math.cos(angle), 0.5 - Math.sin(angle)];
      return [1.45 * (x - 0.5) + 0.07 * g(), 1.45 * (y - 0.25) + 0.07 * g()];
    },
  },
  rings: {
    text: "Rings",
    draw(u, g) {
      const radius = u() < 0.7 ? 1.75 : 0.75;
      const angle = TURN * u();
      return [radius * Math.cos(angle) + 0.05 * g(), radius * Math.sin(angle) + 0.05 * g()];
    },
  },
  flower: {
    text: "Flower",
    draw(u, g) {
      const angle = TURN * u();
      const radius = 1.35 + 0.65 * Math.cos(5 * angle);
      return [radius * Math.cos(angle) + 0.04 * g(), radius * Math.sin(angle) + 0.04 * g()];
    },
  },
  board: {
    text: "Chessboard",
    draw(u) {
      const row = Math.floor(4 * u());
      const column = 2 * Math.floor(2 * u()) + (row % 2);
      return [0.95 * (column + u() - 2), 0.95 * (row + u() - 2)];
    },
  },
};

export const HAND = "hand";

/** [[name, text], ...] of all shapes, the one drawn by hand last. */
export const SHAPE_CHOICES = [
  ...Object.entries(SHAPES).map(([name, { text }]) => [name, text]),
  [HAND, "Drawn by hand"],
];

/** n points of a shape, (n, 2), the same for the same seed. */
export function drawShape(name, n, seed = 1) {
  const uniform = uniforms(seed);
  const normal = normals(uniform);
  const points = new Float32Array(2 * n);
  for (let i = 0; i < n; i += 1) points.set(SHAPES[name].draw(uniform, normal), 2 * i);
  return points;
}

const BLUR = 0.035; // of points drawn by hand, so that there is a density to learn

/** n points around those drawn by hand (m, 2). */
export function blur(drawn, n, seed = 1) {
  const uniform = uniforms(seed);
  const normal = normals(uniform);
  const m = drawn.length / 2;
  const points = new Float32Array(2 * n);
  for (let i = 0; i < n; i += 1) {
    const j = Math.floor(m * uniform());
    points[2 * i] = drawn[2 * j] + BLUR * normal();
    points[2 * i + 1] = drawn[2 * j + 1] + BLUR * normal();
  }
  return points;
}

/** Mean of each coordinate and the common spread of points (n, 2). */
export function frameOf(points) {
  const n = points.length / 2;
  const center = [0, 0];
  points.forEach((v, i) => {
    center[i % 2] += v / n;
  });
  let square = 0;
  points.forEach((v, i) => {
    square += (v - center[i % 2]) ** 2;
  });
  return { center, scale: Math.max(0.15, Math.sqrt(square / (2 * n))) };
}
