// A picture file in the shape of a model: the middle square, resized, in the data's range.

/**
 * Decode a file and resize it to (C, H, W).
 * @param {Blob} file
 * @param {object} look see paint.js
 * @returns {Promise<Float32Array>}
 */
export async function readPicture(file, look) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(
      `${file.name ?? "This file"} is not a picture that this browser can read; use PNG, JPEG or WebP.`,
    );
  }
  const [channels, height, width] = look.shape;
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  // The largest part of the middle with the model's aspect ratio.
  const side = Math.min(bitmap.width / width, bitmap.height / height);
  const [w, h] = [side * width, side * height];
  context.drawImage(bitmap, (bitmap.width - w) / 2, (bitmap.height - h) / 2, w, h, 0, 0, width, height);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  return toRange(data, channels, height * width, look.range);
}

/** RGBA bytes over black -> (C, area) in the range; one channel is the luminance (BT.601). */
export function toRange(data, channels, area, [low, high]) {
  const out = new Float32Array(channels * area);
  for (let p = 0; p < area; p += 1) {
    const [r, g, b, a] = data.subarray(4 * p, 4 * p + 4);
    const values = channels < 3 ? [0.299 * r + 0.587 * g + 0.114 * b] : [r, g, b];
    for (let c = 0; c < channels; c += 1) {
      const value = ((values[c] ?? values[0]) * a) / 255 / 255;
      out[c * area + p] = low + value * (high - low);
    }
  }
  return out;
}
