/** Dormand-Prince 5(4), with a step size of its own for every sample (J. Comput. Appl. Math. 6, 1980). */

const C = [0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1];
const A = [
  [],
  [1 / 5],
  [3 / 40, 9 / 40],
  [44 / 45, -56 / 15, 32 / 9],
  [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
  [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
  [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
];
const E = [71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40];
const MAX_CALLS = 5000;
const [FIRST_STEP, SMALLEST_STEP] = [0.02, 1e-10]; // shares of the interval

/** Return u + h sum_j a_j k_j. */
function ahead(u, h, row, slopes) {
  const out = Float64Array.from(u);
  row.forEach((a, j) => {
    if (a) for (let x = 0; x < out.length; x++) out[x] += h * a * slopes[j][x];
  });
  return out;
}

/** Return the root mean square of the step's error over its tolerance; Infinity if that is no number. */
function errorRatio(u, next, h, slopes, rtol, atol) {
  let total = 0;
  for (let x = 0; x < u.length; x++) {
    let error = 0;
    for (let j = 0; j < E.length; j++) error += E[j] * slopes[j][x];
    total += ((h * error) / (atol + rtol * Math.max(Math.abs(u[x]), Math.abs(next[x])))) ** 2;
  }
  const ratio = Math.sqrt(total / u.length);
  return Number.isFinite(ratio) ? ratio : Infinity;
}

const resized = (h, ratio) => h * Math.min(5, Math.max(0.2, 0.9 * Math.max(ratio, 1e-10) ** -0.2));

/**
 * Carry one small system from s = 0 to s = 1.
 * @param {(s: number, u: Float64Array) => ArrayLike<number>} slope
 * @param {ArrayLike<number>} start
 */
export function integrate(slope, start, { rtol, atol }) {
  let u = Float64Array.from(start);
  let first = slope(0, u);
  for (let passed = 0, size = FIRST_STEP; passed < 1; ) {
    const h = Math.min(size, 1 - passed);
    const slopes = [first];
    let next = u;
    for (let j = 1; j < C.length; j++) {
      next = ahead(u, h, A[j], slopes);
      slopes.push(slope(passed + C[j] * h, next));
    }
    const ratio = errorRatio(u, next, h, slopes, rtol, atol);
    size = resized(h, ratio);
    if (ratio > 1 && h > SMALLEST_STEP) continue;
    [u, first] = [next, slopes.at(-1)];
    passed = h === 1 - passed ? 1 : passed + h;
  }
  return u;
}

/**
 * Carry every sample from s = start to s = end. Slopes are asked for all samples at once, those that are
 * done as they were last, so that what a sample is given besides (labels, masks) stays in place.
 *
 * @param {(s: Float64Array, states: Float64Array[], active: number[]) => Promise<Float64Array[]>} slope
 *   du/ds of the active samples, in their order
 * @param {Float64Array[]} states
 * @returns {Promise<{states: Float64Array[], late: number}>} late: samples that ran out of calls
 */
export async function integrateEach(slope, states, start, end, { rtol, atol }) {
  const n = states.length;
  const [span, sign] = [Math.abs(end - start), end >= start ? 1 : -1];
  const current = states.map((u) => u.slice());
  let active = current.map((_, i) => i);
  const first = await slope(new Float64Array(n).fill(start), current, active);
  const passed = new Float64Array(n);
  const size = new Float64Array(n).fill(FIRST_STEP * span);
  for (let round = 0; active.length && round < Math.floor((MAX_CALLS - 1) / (C.length - 1)); round++) {
    const h = active.map((i) => Math.min(size[i], span - passed[i]));
    const slopes = [active.map((i) => first[i])];
    let next = [];
    for (let j = 1; j < C.length; j++) {
      next = active.map((i, a) =>
        ahead(
          current[i],
          sign * h[a],
          A[j],
          slopes.map((s) => s[a]),
        ),
      );
      const at = Float64Array.from(active, (i, a) => start + sign * (passed[i] + C[j] * h[a]));
      slopes.push(await slope(at, next, active));
    }
    const done = new Set();
    active.forEach((i, a) => {
      const own = slopes.map((s) => s[a]);
      const ratio = errorRatio(current[i], next[a], h[a], own, rtol, atol);
      if (ratio <= 1) {
        if (h[a] === span - passed[i]) done.add(i);
        [current[i], first[i]] = [next[a], own.at(-1)];
        passed[i] += h[a];
      } else if (h[a] < SMALLEST_STEP * span) {
        done.add(i);
        if (ratio === Infinity) current[i].fill(NaN);
      }
      size[i] = resized(h[a], ratio);
    });
    active = active.filter((i) => !done.has(i));
  }
  return { states: current, late: active.length };
}
