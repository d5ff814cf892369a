// Taking pictures along: PNG, animated GIF, and the link that draws them again.

import { applyPalette, GIFEncoder, quantize } from "gifenc";
import { breathe } from "./dom.js";

/** Offer a blob as a file. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** A canvas as a PNG blob. */
export function png(canvas) {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The picture is empty."))));
  });
}

/** At most `most` indices from 0 to count - 1, evenly spaced, both ends included. */
export function evenly(count, most) {
  if (count <= most) return Array.from({ length: count }, (_, i) => i);
  return Array.from({ length: most }, (_, i) => Math.round((i * (count - 1)) / (most - 1)));
}

const DELAY = 80; // milliseconds per frame
const HOLD = 1600; // of the last one

/**
 * Encode an animation; the page breathes between frames.
 * @param {number} count frames
 * @param {(i: number) => HTMLCanvasElement} draw the picture of frame i
 * @returns {Promise<Blob>}
 */
export async function gif(count, draw) {
  const encoder = GIFEncoder();
  for (let i = 0; i < count; i += 1) {
    const canvas = draw(i);
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    const palette = quantize(data, 256);
    const delay = i === count - 1 ? HOLD : DELAY;
    encoder.writeFrame(applyPalette(data, palette), width, height, { palette, delay, repeat: 0 });
    await breathe();
  }
  encoder.finish();
  return new Blob([encoder.bytes()], { type: "image/gif" });
}

/** Put a text on the clipboard; false where the browser does not allow it. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
