/**
 * What the studio's engine costs here: `node benchmarks/engine.mjs`.
 *
 * CPU time of this process, which other work on the machine disturbs less than the clock: training
 * steps a second of multi-layer perceptrons and a U-Net, and milliseconds of a U-Net's evaluation.
 */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = new URL("../studio/static/", import.meta.url);
globalThis.WorkerGlobalScope = class {}; // TensorFlow.js asks which platform it is on
const { ScoreModel, start } = await import(new URL("engine.js", folder).href);
const binary = readFileSync(fileURLToPath(new URL("tfjs-backend-wasm-simd.wasm", folder)));
await start({ wasm: `data:application/wasm;base64,${binary.toString("base64")}` });

/** Return CPU milliseconds per call: the least of some rounds of `count` calls. */
async function cost(count, rounds, call) {
  await call(count);
  let least = Infinity;
  for (let round = 0; round < rounds; round++) {
    const before = process.cpuUsage();
    await call(count);
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / 1000 / count);
  }
  return least;
}

const random = (count) => Float32Array.from({ length: count }, () => 2 * Math.random() - 1);
const say = (what, value, unit) => console.log(`${what.padEnd(62)} ${value.toFixed(1).padStart(8)} ${unit}`);

// Width 96 is what the page's lab trains, and the pipeline's `mlp`; 128 its `mlp_wide`.
for (const width of [64, 96, 128]) {
  const model = new ScoreModel({ shape: [2], net: { kind: "mlp", width, depth: 3, fourier: 32 } });
  const items = random(10000);
  const ms = await cost(100, 6, (steps) => model.train({ items, steps, batch: 256, every: 100 }));
  say(`train: mlp, width ${width}, depth 3, batch 256 (${model.parameters} weights)`, 1000 / ms, "steps/s");
}
for (const [net, size] of [
  [{ kind: "unet", channels: 24 }, 28],
  [{ kind: "unet", channels: 32, multipliers: [1, 2, 2], attention: [2] }, 28],
]) {
  const model = new ScoreModel({ img_size: size, num_channels: 1, net });
  const what = `unet of ${model.parameters} weights, ${size} x ${size}`;
  const one = await cost(25, 3, (steps) => model.generate({ steps }));
  say(`evaluate: ${what}, batch 1`, one, "ms");
  const batch = random(8 * size * size);
  const ms = await cost(2, 3, async (steps) => {
    for (let i = 0; i < steps; i++) await model.trainStep(batch);
  });
  say(`train: ${what}, batch 8`, ms, "ms/step");
  model.dispose();
}
