// A row of results that form while they are drawn.

import { h } from "../dom.js";
import { paint } from "../paint.js";

/** n tiles; `show(look, x)` draws samples (n, *shape) into them. */
export function createGallery(n, what) {
  const canvases = Array.from({ length: n }, (_, i) =>
    h("canvas", { role: "img", "aria-label": `${what} ${i + 1}, not drawn yet` }),
  );
  const element = h(
    "div",
    { class: "gallery" },
    canvases.map((canvas) => h("div", { class: "frame" }, canvas)),
  );
  let waiting = null;
  const paintAll = (look, x) => {
    const size = x.length / n;
    canvases.forEach((canvas, i) => {
      paint(canvas, look, x.subarray(i * size, (i + 1) * size));
    });
  };
  return {
    element,
    show(look, x) {
      if (!waiting)
        requestAnimationFrame(() => {
          paintAll(...waiting);
          waiting = null;
        });
      waiting = [look, x];
    },
    done(look, x) {
      waiting = waiting && [look, x];
      paintAll(look, x);
      canvases.forEach((canvas, i) => canvas.setAttribute("aria-label", `${what} ${i + 1}`));
    },
  };
}
