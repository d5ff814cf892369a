/**
 * Where a sampler begins other than at a draw of the prior (sgm_core/control/paths.py):
 *
 *     path [a, b]  n states evenly on the great circle between the noises of two seeds (2010.02502)
 *     strength     an item noised to the level where this share of the grid is left (SDEdit, 2108.01073)
 */

import { number, shown, UsageError } from "../errors.js";
import { NoiseStream, seedOf } from "../math/noise.js";
import { makeGrid } from "../sample/grid.js";
import { applyTo, outerTo } from "../state.js";

const DETERMINISTIC = ["multistep", "ddim", "heun", "ode"];
const PARALLEL = 1e-6;

/** Return the n points from a to b on the great circle between them; parallel ones are joined by a line. */
export function slerp(a, b, n) {
  const length = (v) => Math.sqrt(v.reduce((sum, x) => sum + x * x, 0));
  const dot = a.reduce((sum, x, i) => sum + x * b[i], 0);
  const theta = Math.acos(Math.max(-1, Math.min(1, dot / Math.max(length(a) * length(b), 1e-300))));
  const sine = Math.sin(theta);
  const out = new Float64Array(n * a.length);
  for (let i = 0; i < n; i++) {
    const w = n > 1 ? i / (n - 1) : 0;
    const [of, to] =
      sine < PARALLEL ? [1 - w, w] : [Math.sin((1 - w) * theta) / sine, Math.sin(w * theta) / sine];
    for (let j = 0; j < a.length; j++) out[i * a.length + j] = of * a[j] + to * b[j];
  }
  return out;
}

/**
 * The states of a path at tMax, (n, k, d): the prior's draws are L xi, and xi is what is interpolated.
 * @param {import("../process/base.js").Process} process
 * @param {[number, number]} seeds
 */
export function pathStates(process, seeds, n, size, { sampler, options }) {
  if (!DETERMINISTIC.includes(sampler) || options?.eta || options?.s_churn) {
    throw new UsageError(
      `sampler: ${shown(sampler)} draws fresh noise; a path needs one of: ${DETERMINISTIC.join(", ")}`,
    );
  }
  const [a, b] = seeds.map((seed) => new NoiseStream([seedOf(seed, "path")]).draw(0, process.k * size));
  return applyTo(process.cholesky(process.tMax), slerp(a, b, n), size);
}

/**
 * The states from which an item is drawn anew, and the rest of the grid.
 * @param {Float64Array} x the item in model space, (d)
 * @param {bigint[]} seeds one per sample
 * @returns {{start: Float64Array, steps: number, sigma_max?: number}}
 */
export function editStates(process, x, strength, seeds, settings) {
  number("strength", strength, { above: 0, high: 1 });
  const times = makeGrid(process, settings);
  const last = times.length - 1;
  const index = Math.max(0, Math.min(last - 1, Math.floor((1 - strength) * last + 0.5)));
  const t = times[index];
  const noise = new NoiseStream(seeds).draw(0, process.k * x.length);
  const start = applyTo(process.cholesky(t), noise, x.length);
  const copies = new Float64Array(seeds.length * x.length);
  for (let i = 0; i < seeds.length; i++) copies.set(x, i * x.length);
  outerTo(process.mean(t), copies, x.length, start);
  const rest = { start, steps: settings.steps - index };
  return index ? { ...rest, sigma_max: process.sigmaEff(t) } : rest;
}
