// A picture that can be painted on and partly hidden, pixel by pixel: with a pointer or the keyboard.

import { h } from "../dom.js";
import { pixels, resize } from "../paint.js";
import { colours, onScheme } from "../theme.js";

const SCALE_TO = 448; // pixels of the shorter view on the canvas
const TINT = 0.72; // of hidden pixels

/**
 * The pad holds `image` (C, H, W) in the data's range and `known` (H, W), 1 where it is kept.
 * @param {object} hooks changed(): after every stroke
 */
export function createPad(hooks) {
  const canvas = h("canvas", { tabindex: 0, role: "img" });
  const own = document.createElement("canvas");
  let look = null;
  let image = null;
  let known = null;
  let cursor = null; // {row, column} of the keyboard
  let last = null; // of the pointer
  const tool = { name: "hide", size: 1, level: 1 };

  const [channels, height, width] = [() => look.shape[0], () => look.shape[1], () => look.shape[2]];

  function redraw() {
    if (!look) return;
    const factor = Math.max(1, Math.round(SCALE_TO / Math.max(height(), width())));
    resize(own, width(), height());
    own.getContext("2d").putImageData(pixels(look, image), 0, 0);
    resize(canvas, width() * factor, height() * factor);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(own, 0, 0, canvas.width, canvas.height);
    const { accent, second } = colours();
    context.fillStyle = accent;
    context.globalAlpha = TINT;
    known.forEach((kept, i) => {
      if (kept) return;
      const [row, column] = [Math.floor(i / width()), i % width()];
      context.fillRect(column * factor, row * factor, factor, factor);
    });
    context.globalAlpha = 1;
    if (cursor && document.activeElement === canvas) {
      context.strokeStyle = second;
      context.lineWidth = 3;
      context.strokeRect(cursor.column * factor + 1.5, cursor.row * factor + 1.5, factor - 3, factor - 3);
    }
    const hidden = known.reduce((sum, kept) => sum + (kept ? 0 : 1), 0);
    canvas.setAttribute(
      "aria-label",
      `Your picture, ${width()} by ${height()} pixels, ${hidden} of them hidden; arrow keys move, space paints`,
    );
  }

  /** Apply the tool around a pixel. */
  function touch(row, column) {
    const reach = tool.size - 1;
    const radius = reach + 0.4;
    for (let r = row - reach; r <= row + reach; r += 1) {
      for (let c = column - reach; c <= column + reach; c += 1) {
        const inside = r >= 0 && c >= 0 && r < height() && c < width();
        if (inside && Math.hypot(r - row, c - column) <= radius) apply(r * width() + c);
      }
    }
  }

  function apply(p) {
    if (tool.name === "hide") known[p] = 0;
    else if (tool.name === "keep") known[p] = 1;
    else {
      const [low, high] = look.range;
      for (let k = 0; k < channels(); k += 1) {
        image[k * height() * width() + p] = low + tool.level * (high - low);
      }
    }
  }

  function pixelAt(event) {
    const box = canvas.getBoundingClientRect();
    return {
      row: Math.floor(((event.clientY - box.top) / box.height) * height()),
      column: Math.floor(((event.clientX - box.left) / box.width) * width()),
    };
  }

  function line(from, to) {
    const n = Math.max(1, Math.abs(to.row - from.row), Math.abs(to.column - from.column));
    for (let i = 1; i <= n; i += 1) {
      const share = i / n;
      touch(
        Math.round(from.row + share * (to.row - from.row)),
        Math.round(from.column + share * (to.column - from.column)),
      );
    }
  }

  function done() {
    redraw();
    hooks.changed();
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = pixelAt(event);
    touch(last.row, last.column);
    redraw();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    const next = pixelAt(event);
    line(last, next);
    last = next;
    redraw();
  });
  for (const type of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(type, () => {
      if (last) hooks.changed();
      last = null;
    });
  }
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (move) {
      cursor ??= { row: Math.floor(height() / 2), column: Math.floor(width() / 2) };
      cursor.row = Math.min(height() - 1, Math.max(0, cursor.row + move[0]));
      cursor.column = Math.min(width() - 1, Math.max(0, cursor.column + move[1]));
      if (event.shiftKey) touch(cursor.row, cursor.column);
    } else if (event.key === " ") {
      cursor ??= { row: Math.floor(height() / 2), column: Math.floor(width() / 2) };
      touch(cursor.row, cursor.column);
    } else return;
    event.preventDefault();
    done();
  });
  canvas.addEventListener("focus", redraw);
  canvas.addEventListener("blur", redraw);
  onScheme(redraw);

  return {
    canvas,
    tool,
    get image() {
      return image;
    },
    /** The mask for every number of the image, (C, H, W): 1 where it is known. */
    get mask() {
      return Uint8Array.from(image, (_, i) => known[i % known.length]);
    },
    get hidden() {
      return known.some((kept) => !kept);
    },
    /** Take another kind of picture: an empty one. */
    dress(next) {
      look = next;
      cursor = null;
      image = new Float32Array(look.shape.reduce((a, b) => a * b, 1)).fill(look.range[0]);
      known = new Uint8Array(height() * width()).fill(1);
      redraw();
    },
    put(next) {
      image = Float32Array.from(next);
      redraw();
    },
    /** Hide exactly the pixels for which hidden({x, y}) holds, places from 0 to 1. */
    hide(hidden) {
      known = known.map((_, i) => {
        const place = {
          x: ((i % width()) + 0.5) / width(),
          y: (Math.floor(i / width()) + 0.5) / height(),
        };
        return hidden(place) ? 0 : 1;
      });
      done();
    },
    redraw,
  };
}
