/**
 * Batches of states u (n, k, d) as flat float64 arrays in C order; d counts the numbers of an item.
 *
 * @typedef {Float64Array} State
 */

/**
 * Return out + M u for a (j, k) matrix applied to every column: (n, k, d) -> (n, j, d).
 * @param {number[][]} m
 * @param {State} u
 * @param {number} d
 * @param {State} [out] added to in place
 */
export function applyTo(m, u, d, out) {
  const [rows, k] = [m.length, m[0].length];
  const n = u.length / (k * d);
  const result = out ?? new Float64Array(n * rows * d);
  for (let i = 0; i < n; i++) {
    for (let r = 0; r < rows; r++) {
      const to = (i * rows + r) * d;
      for (let c = 0; c < k; c++) {
        const [factor, from] = [m[r][c], (i * k + c) * d];
        if (factor === 0) continue;
        for (let x = 0; x < d; x++) result[to + x] += factor * u[from + x];
      }
    }
  }
  return result;
}

/** Return out + v x^T, (n, k, d), for v (k) and x (n, d). */
export function outerTo(v, x, d, out) {
  return applyTo(
    v.map((entry) => [entry]),
    x,
    d,
    out,
  );
}

/** Return row . u, (n, d), of u (n, k, d). */
export const along = (row, u, d) => applyTo([row], u, d);

/** Return a x + b y, number by number. */
export function combine(a, x, b, y) {
  const out = new Float64Array(x.length);
  for (let i = 0; i < out.length; i++) out[i] = a * x[i] + b * y[i];
  return out;
}
