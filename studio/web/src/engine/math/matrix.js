/**
 * Matrices of the size of a process' state (k = 1 to 3, Krylov spaces of 4), as arrays of rows of
 * float64 numbers; vectors are arrays.
 */

/** @typedef {number[][]} Matrix */
/** @typedef {number[]} Vector */

// Plain loops: kernels are evaluated thousands of times before a sampler takes its first step.

/** @returns {Matrix} */
export function build(rows, columns, entry) {
  const out = new Array(rows);
  for (let i = 0; i < rows; i++) {
    const row = new Array(columns);
    for (let j = 0; j < columns; j++) row[j] = entry(i, j);
    out[i] = row;
  }
  return out;
}

export const identity = (k) => build(k, k, (i, j) => (i === j ? 1 : 0));
export const diagonal = (values) =>
  build(values.length, values.length, (i, j) => (i === j ? values[i] : 0));
export const transpose = (a) => build(a[0].length, a.length, (i, j) => a[j][i]);
export const scale = (factor, a) => build(a.length, a[0].length, (i, j) => factor * a[i][j]);
export const add = (a, b) => build(a.length, a[0].length, (i, j) => a[i][j] + b[i][j]);
export const subtract = (a, b) => build(a.length, a[0].length, (i, j) => a[i][j] - b[i][j]);

/** Return the length of a vector. */
export const norm = (v) => Math.sqrt(dot(v, v));

export function dot(a, b) {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i] * b[i];
  return total;
}

/** Return a v. */
export function apply(a, v) {
  const out = new Array(a.length);
  for (let i = 0; i < a.length; i++) out[i] = dot(a[i], v);
  return out;
}

function product(a, b) {
  const [rows, inner, columns] = [a.length, b.length, b[0].length];
  const out = new Array(rows);
  for (let i = 0; i < rows; i++) {
    const row = new Array(columns);
    for (let j = 0; j < columns; j++) {
      let total = 0;
      for (let l = 0; l < inner; l++) total += a[i][l] * b[l][j];
      row[j] = total;
    }
    out[i] = row;
  }
  return out;
}

export const multiply = (...matrices) => matrices.reduce(product);

/** Return the lower triangular L with L L^T = a, a symmetric positive definite. */
export function cholesky(a) {
  const l = build(a.length, a.length, () => 0);
  for (let i = 0; i < a.length; i++) {
    for (let j = 0; j <= i; j++) {
      let left = a[i][j];
      for (let m = 0; m < j; m++) left -= l[i][m] * l[j][m];
      l[i][j] = i === j ? Math.sqrt(left) : left / l[j][j];
    }
  }
  return l;
}

/** Return L^-1 v for a lower triangular L. */
export function solveLower(l, v) {
  const x = [];
  for (let i = 0; i < v.length; i++) {
    let left = v[i];
    for (let j = 0; j < i; j++) left -= l[i][j] * x[j];
    x.push(left / l[i][i]);
  }
  return x;
}

/** Return U^-1 v for an upper triangular U. */
export function solveUpper(u, v) {
  const x = new Array(v.length);
  for (let i = v.length - 1; i >= 0; i--) {
    let left = v[i];
    for (let j = i + 1; j < v.length; j++) left -= u[i][j] * x[j];
    x[i] = left / u[i][i];
  }
  return x;
}

/** Return the inverse of a lower triangular matrix. */
export function invertLower(l) {
  return transpose(identity(l.length).map((unit) => solveLower(l, unit)));
}

/** Return the inverse by Gauss-Jordan elimination with row exchanges. */
export function invert(a) {
  const k = a.length;
  const rows = a.map((row, i) => [...row, ...identity(k)[i]]);
  for (let i = 0; i < k; i++) {
    let pivot = i;
    for (let r = i + 1; r < k; r++) if (Math.abs(rows[r][i]) > Math.abs(rows[pivot][i])) pivot = r;
    [rows[i], rows[pivot]] = [rows[pivot], rows[i]];
    const head = rows[i][i];
    rows[i] = rows[i].map((v) => v / head);
    for (let r = 0; r < k; r++) {
      const factor = rows[r][i];
      if (r !== i) rows[r] = rows[r].map((v, j) => v - factor * rows[i][j]);
    }
  }
  return rows.map((row) => row.slice(k));
}

/**
 * Return the eigenvalues and eigenvectors (columns) of a symmetric matrix, by Jacobi rotations.
 * @param {Matrix} matrix
 * @returns {{values: Vector, vectors: Matrix}}
 */
export function eigen(matrix) {
  const k = matrix.length;
  const a = build(k, k, (i, j) => 0.5 * (matrix[i][j] + matrix[j][i]));
  const v = identity(k);
  for (let sweep = 0; sweep < 60; sweep++) {
    let rotated = false;
    for (let p = 0; p < k; p++) {
      for (let q = p + 1; q < k; q++) {
        if (Math.abs(a[p][q]) <= 1e-17 * Math.sqrt(Math.abs(a[p][p] * a[q][q]))) continue;
        rotate(a, v, p, q);
        rotated = true;
      }
    }
    if (!rotated) break;
  }
  return { values: a.map((row, i) => row[i]), vectors: v };
}

/** Make a[p][q] zero by a rotation, which v takes along. */
function rotate(a, v, p, q) {
  const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
  const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.hypot(theta, 1));
  const c = 1 / Math.hypot(t, 1);
  const s = t * c;
  for (const m of [a, v]) {
    for (const row of m) [row[p], row[q]] = [c * row[p] - s * row[q], s * row[p] + c * row[q]];
  }
  for (let j = 0; j < a.length; j++) {
    [a[p][j], a[q][j]] = [c * a[p][j] - s * a[q][j], s * a[p][j] + c * a[q][j]];
  }
  a[p][q] = 0;
  a[q][p] = 0;
}

/** Return V f(values) V^T of a symmetric matrix. */
export function ofEigenvalues(matrix, f) {
  const { values, vectors } = eigen(matrix);
  return multiply(vectors, diagonal(values.map(f)), transpose(vectors));
}

/** Return the square root of a positive semi-definite matrix, a singular one too. */
export function symmetricRoot(matrix) {
  if (matrix.length === 1) return [[Math.sqrt(Math.max(0, matrix[0][0]))]];
  return ofEigenvalues(matrix, (value) => Math.sqrt(Math.max(0, value)));
}

/** Return the lower triangular L with positive diagonal and L L^T = f f^T, by Gram-Schmidt on rows. */
export function lowerOf(f) {
  const basis = [];
  return f.map((row) => {
    let left = row;
    const entries = new Array(f.length).fill(0);
    // Twice is enough (Kahan): orthogonal to rounding.
    for (let pass = 0; pass < 2; pass++) {
      basis.forEach((q, j) => {
        const along = dot(left, q);
        entries[j] += along;
        left = left.map((v, i) => v - along * q[i]);
      });
    }
    const size = norm(left);
    entries[basis.length] = size;
    basis.push(left.map((v) => v / size));
    return entries;
  });
}

/**
 * Return an orthogonal, symmetric matrix whose first row is v / |v| (a Householder reflection,
 * from the side that does not cancel).
 */
export function reflection(v) {
  const length = norm(v);
  const along = v.map((x) => x / length);
  const sign = along[0] > 0 ? -1 : 1;
  const normal = along.map((x, i) => x - (i === 0 ? sign : 0));
  const size = norm(normal);
  return build(
    v.length,
    v.length,
    (i, j) => sign * (Number(i === j) - (2 * normal[i] * normal[j]) / size ** 2),
  );
}
