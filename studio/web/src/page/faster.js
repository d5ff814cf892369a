// Whether WebGL draws a model faster than WebAssembly on this device: measured, never guessed.
//
// Small networks are faster on WebAssembly nearly everywhere, and what a browser calls WebGL may be a
// program on the same cores. So where an evaluation takes long, the same few steps are drawn on both;
// WebGL is taken if it is clearly faster and says the same.

/** Milliseconds an evaluation on WebAssembly below which there is nothing to gain. */
export const LONG = 30;

const STEPS = 3;
const GAIN = 1.3; // how much faster
const TOLERANCE = 1e-3; // of the largest number
const PATIENCE = 20_000; // ms, for fetching, compiling and drawing
const now = () => performance.now();

/** The least time of two runs, the first of which may compile, and what was drawn. */
async function timed(model, request, clock) {
  let least = Infinity;
  let x;
  for (let run = 0; run < 2; run += 1) {
    const begin = clock();
    x = await model.generate(request);
    least = Math.min(least, clock() - begin);
  }
  return { ms: least, x };
}

function agree(one, other) {
  const scale = one.reduce((most, v) => Math.max(most, Math.abs(v)), 1);
  return one.length === other.length && one.every((v, i) => Math.abs(v - other[i]) <= TOLERANCE * scale);
}

/**
 * Measure.
 * @param {{generate: Function}} wasm the model on WebAssembly
 * @param {{load: () => Promise<{generate: Function}>, close: () => void}} other the way to the same on WebGL
 * @param {object} request what was drawn last
 * @param {{patience?: number, clock?: () => number}} [options] milliseconds to wait at most, and their clock
 * @returns {Promise<object | null>} the model on WebGL, or null (it is closed then)
 */
export async function faster(wasm, other, request, { patience = PATIENCE, clock = now } = {}) {
  const late = new Promise((resolve) => setTimeout(resolve, patience, null));
  const few = { ...request, steps: STEPS };
  const measure = async () => {
    const model = await other.load();
    const [here, there] = [await timed(wasm, few, clock), await timed(model, few, clock)];
    return GAIN * there.ms < here.ms && agree(here.x, there.x) ? model : null;
  };
  const found = await Promise.race([late, measure().catch(() => null)]);
  if (!found) other.close();
  return found;
}
