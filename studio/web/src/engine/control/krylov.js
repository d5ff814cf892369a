/**
 * V A^T (A V A^T + s^2)^-1 r for a mask A by Lanczos' method, safe for a covariance V that is only
 * estimated (sgm_core/control/krylov.py).
 *
 * With q_1 = r / |r|, an orthonormal basis Q of span{r, S r, S^2 r, ...}, S = A V A^T, the solution is
 * c = V Q (T + s^2)^-1 Q^T r with the small matrix T = Q^T V Q. V of a network is neither symmetric nor
 * positive definite. What is antisymmetric in T is error for certain: its size is added to s^2; negative
 * eigenvalues of the symmetric part are set to zero, in T together with one more direction, the part of c
 * that is not observed. Every sample has a basis of its own.
 */

import * as matrix from "../math/matrix.js";

// A direction is new if this much of it is left when the known ones are taken out.
const NEW = 1e-10;

/** A batch of vectors (n, d) and what is done with each of its rows. */
const rowsOf = (x, d) => Array.from({ length: x.length / d }, (_, i) => x.subarray(i * d, (i + 1) * d));
const inverseOf = (value) => (value > 0 ? 1 / value : 0);

/** Return row i of x times factors[i]. */
function scaled(factors, x, d) {
  return x.map((v, at) => factors[Math.floor(at / d)] * v);
}

/** Return sum_j weights[i][j] vectors[j], sample by sample. */
function combined(weights, vectors, d) {
  const out = new Float64Array(vectors[0].length);
  vectors.forEach((vector, j) => {
    for (let at = 0; at < out.length; at++) out[at] += weights[Math.floor(at / d)][j] * vector[at];
  });
  return out;
}

/** Return the matrices of inner products of each sample. */
function products(a, b, d) {
  const n = a[0].length / d;
  return Array.from({ length: n }, (_, i) => {
    const part = (v) => v.subarray(i * d, (i + 1) * d);
    return matrix.build(a.length, b.length, (p, q) => matrix.dot(part(a[p]), part(b[q])));
  });
}

/** Return {basis of each sample's space, V times it}; zeros once a sample's space is exhausted. */
async function lanczos(spread, mask, residual, d, iterations) {
  const [basis, images] = [[], []];
  let left = residual;
  let size = rowsOf(left, d).map(matrix.norm);
  let scale = size.map(() => 0);
  for (let round = 0; round < iterations; round++) {
    const alive = size.map((s, i) => s > NEW * scale[i]);
    if (!alive.some(Boolean)) break;
    basis.push(
      scaled(
        size.map((s, i) => (alive[i] ? 1 / s : 0)),
        left,
        d,
      ),
    );
    images.push(await spread(basis.at(-1)));
    left = images.at(-1).map((v, at) => mask[at] * v);
    scale = rowsOf(left, d).map((row, i) => Math.max(scale[i], matrix.norm(row)));
    // Twice is enough (Kahan): orthogonal to rounding.
    for (let pass = 0; pass < 2; pass++) {
      for (const known of basis) {
        const along = products([known], [left], d).map(([[v]]) => v);
        const part = scaled(along, known, d);
        left = left.map((v, at) => v - part[at]);
      }
    }
    size = rowsOf(left, d).map(matrix.norm);
  }
  return { basis, images };
}

/** Return the positive semi-definite part of a matrix, and how far to doubt it. */
function trusted(table, gram) {
  const own = Math.max(1, gram.filter((row, i) => row[i] > 0).length);
  const odd = matrix.subtract(table, matrix.transpose(table));
  const doubt = (0.5 * matrix.norm(odd.flat())) / Math.sqrt(own);
  return { table: matrix.ofEigenvalues(table, (value) => Math.max(0, value)), doubt };
}

/** Return (T + variance)^-1 e_1 length; nothing where that is singular. */
function solved(table, variance, length) {
  const inverse = matrix.ofEigenvalues(table, (value) => inverseOf(Math.max(0, value) + variance));
  return inverse.map((row) => row[0] * length);
}

/** Return the pseudo-inverse of a symmetric matrix. */
function pseudoInverse(gram) {
  const largest = Math.max(...matrix.eigen(gram).values.map(Math.abs));
  const least = gram.length * Number.EPSILON * largest;
  return matrix.ofEigenvalues(gram, (value) => (Math.abs(value) > least ? 1 / value : 0));
}

/**
 * Return V A^T (A V A^T + variance)^-1 residual, (n, d).
 * @param {(w: Float64Array) => Promise<Float64Array>} spread w -> V w, sample by sample; called at most
 *   `iterations` + 1 times
 * @param {ArrayLike<number>} mask (n d), 1 where a number is observed
 * @param {Float64Array} residual (n, d), zero where nothing is observed
 */
export async function gain(spread, mask, residual, d, variance, iterations) {
  const { basis, images } = await lanczos(spread, mask, residual, d, iterations);
  if (!basis.length) return new Float64Array(residual.length);
  const m = basis.length;
  const length = rowsOf(residual, d).map(matrix.norm);
  const gram = products(basis, basis, d);
  const inverse = gram.map(pseudoInverse);
  const first = products(basis, images, d).map((table, i) => trusted(table, gram[i]));
  const z = first.map(({ table, doubt }, i) => solved(table, variance + doubt, length[i]));
  const guess = combined(z, images, d);
  // The part of the solution that the observed directions do not span, at their length.
  const inside = products(basis, [guess], d).map((column, i) => matrix.multiply(inverse[i], column).flat());
  const spanned = combined(inside, basis, d);
  const beyond = guess.map((v, at) => v - spanned[at]);
  const size = rowsOf(beyond, d).map(matrix.norm);
  const whole = rowsOf(guess, d).map(matrix.norm);
  const scale = gram.map((g) => Math.sqrt(Math.max(...g.map((row, j) => row[j]))));
  const fresh = size.map((s, i) => (s > NEW * whole[i] ? scale[i] / s : 0));
  basis.push(scaled(fresh, beyond, d));
  images.push(await spread(basis.at(-1)));
  const full = products(basis, basis, d);
  const weights = products(basis, images, d).map((raw, i) => {
    const { table, doubt } = trusted(raw, full[i]);
    const seen = table.slice(0, m).map((row) => row.slice(0, m));
    const cross = matrix.apply(
      table.map((row) => row.slice(0, m)),
      solved(seen, variance + doubt, length[i]),
    );
    return [...matrix.apply(inverse[i], cross.slice(0, m)), cross[m] * inverseOf(scale[i] ** 2)];
  });
  return combined(weights, basis, d);
}
