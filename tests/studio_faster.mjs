/**
 * Asks page/faster.js about models that are slow, wrong, broken, hanging or faster on WebGL:
 *
 *     node studio_faster.mjs FASTER.js
 *
 * Prints {case: [whether WebGL is taken, whether it was closed]}.
 */

import { pathToFileURL } from "node:url";

const { faster } = await import(pathToFileURL(process.argv[2]).href);

let time = 0; // of a clock that only drawing moves
const clock = () => time;
const model = (ms, x = [1, 2, 3]) => ({
  generate: async (request) => {
    if (request.steps !== 3 || request.seed !== 7) throw new Error("another request");
    time += ms;
    return Float32Array.from(x);
  },
});
const cases = {
  faster: async () => model(2),
  slower: async () => model(80),
  wrong: async () => model(2, [1, 2, 3.01]),
  nan: async () => model(2, [1, 2, Number.NaN]),
  missing: () => Promise.reject(new Error("this browser has no WebGL")),
  hanging: () => new Promise(() => {}),
};
const found = {};
for (const [name, load] of Object.entries(cases)) {
  let closed = false;
  const other = { load, close: () => (closed = true) };
  const taken = await faster(
    model(40),
    other,
    { seed: 7, steps: 25 },
    {
      patience: name === "hanging" ? 50 : 60_000,
      clock,
    },
  );
  found[name] = [taken !== null, closed];
}
console.log(JSON.stringify(found));
process.exit(0);
