// A grid of variations: pictures of neighbouring seeds, each a button that makes its seed the one.

import { h } from "../dom.js";
import { paint } from "../paint.js";
import { ANY } from "./settings.js";

const PICTURES = 12;
const CLOUDS = 6;
const CLOUD_POINTS = 500;

/**
 * Which seeds the grid shows, and the one request that draws them all. Sample i has seed first + i;
 * where the class follows from the seed, the batch's classes in turn must meet their seeds, so that
 * the first seed is that of the first class. Points come in clouds of neighbouring seeds.
 */
export function planOf(settings, request) {
  const { info, label, seed } = settings;
  const { most } = info;
  if (info.kind === "points") {
    const each = Math.min(settings.n, CLOUD_POINTS, Math.floor(most / CLOUDS));
    const seeds = Array.from({ length: CLOUDS }, (_, i) => seed + i * each);
    return { seeds, request: { ...request, n: CLOUDS * each } };
  }
  const any = label === ANY;
  const first = any ? seed - (seed % info.labels.length) : seed;
  const count = Math.min(any ? Math.max(PICTURES, info.labels.length) : PICTURES, most, 24);
  const seeds = Array.from({ length: count }, (_, i) => first + i);
  const drawn = { ...request, n: count, seed: first };
  if (any) delete drawn.label;
  return { seeds, request: drawn };
}

/** Build the grid; `choose(seed)` is called when one is picked. */
export function createGrid(choose) {
  const element = h("ul", { class: "variations" });
  let tiles = [];

  return {
    element,
    get filled() {
      return tiles.length > 0;
    },
    clear() {
      element.replaceChildren();
      tiles = [];
    },
    /** Empty tiles for these seeds. */
    begin(info, seeds, current) {
      tiles = seeds.map((seed) => {
        const canvas = h("canvas", { "aria-hidden": "true" });
        const button = h(
          "button",
          {
            type: "button",
            "aria-label": `Seed ${seed}`,
            "aria-pressed": String(seed === current),
            onclick: () => choose(seed),
          },
          canvas,
          h("span", {}, String(seed)),
        );
        return { seed, canvas, button };
      });
      element.dataset.kind = info.kind;
      element.replaceChildren(...tiles.map(({ button }) => h("li", {}, button)));
    },
    /** Draw samples x (n, *shape) into the tiles. */
    show(look, x) {
      const size = x.length / tiles.length;
      tiles.forEach(({ canvas }, i) => {
        paint(canvas, look, x.subarray(i * size, (i + 1) * size));
      });
    },
    /** Mark the tile whose picture is on the stage. */
    mark(current) {
      for (const { seed, button } of tiles) {
        button.setAttribute("aria-pressed", String(seed === current));
      }
    },
  };
}
