// Drawing points by hand on the plane: with a pointer, or with arrow keys and the space bar.

const SPACING = 0.03; // between points of a stroke, in the plane's units
const STRIDE = 0.15; // of an arrow key

/**
 * Let points be drawn on a canvas.
 * @param {object} pen plane(): the plane's frame for the canvas's own pixels; enabled(): whether
 *   drawing is on; add(points): flat new points; moved({x, y}): where the keyboard's cursor is
 */
export function attachPen(canvas, { plane, enabled, add, moved }) {
  let last = null;
  const cursor = { x: 0, y: 0 };

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    const scale = canvas.width / box.width;
    const frame = plane();
    return {
      x: frame.dataX((event.clientX - box.left) * scale),
      y: frame.dataY((event.clientY - box.top) * scale),
    };
  };
  const stroke = (from, to) => {
    const n = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / SPACING));
    const points = [];
    for (let i = 1; i <= n; i += 1) {
      points.push(from.x + ((to.x - from.x) * i) / n, from.y + ((to.y - from.y) * i) / n);
    }
    add(points);
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (!enabled()) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    last = at(event);
    add([last.x, last.y]);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    const next = at(event);
    stroke(last, next);
    last = next;
  });
  for (const type of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(type, () => {
      last = null;
    });
  }
  canvas.addEventListener("keydown", (event) => {
    if (!enabled()) return;
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (step) {
      const before = { ...cursor };
      cursor.x = Math.max(-2.1, Math.min(2.1, cursor.x + STRIDE * step[0]));
      cursor.y = Math.max(-2.1, Math.min(2.1, cursor.y + STRIDE * step[1]));
      if (event.shiftKey) stroke(before, cursor); // held: draws a line
      moved(cursor);
    } else if (event.key === " ") add([cursor.x, cursor.y]);
    else return;
    event.preventDefault();
  });
}
