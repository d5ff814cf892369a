/** The data's own range and the model space, x_model = (x - center) / scale; and the class labels. */

import { number, shown, UsageError, unknown } from "./errors.js";

export class DataSpace {
  /** @param {object} data the fields shape, range, center, scale, labels and sigma_data of a model */
  constructor(data) {
    this.shape = data.shape;
    this.labels = data.labels;
    this.range = data.range;
    this.size = data.shape.reduce((a, b) => a * b, 1);
    const inner = this.size / data.shape[0];
    const spread = (values) =>
      Float64Array.from({ length: this.size }, (_, i) =>
        values.length === 1 ? values[0] : values[Math.floor(i / inner)],
      );
    this.center = spread([data.center].flat());
    this.scale = spread([data.scale].flat());
    this.images = data.shape.length === 3;
  }

  /**
   * Return (x - center) / scale of n items, (n, d) float64.
   * @param {ArrayLike<number>} x flat, n times the numbers of an item; or an array of items
   */
  toModel(x, name = "x") {
    const flat = Array.isArray(x) && typeof x[0] !== "number" ? x.flat(Infinity) : x;
    if (!flat?.length || flat.length % this.size) {
      throw new UsageError(
        `${name}: ${flat?.length ?? 0} numbers do not fit; give n items of ${this.size} (${this.shape.join(" x ")})`,
      );
    }
    const out = new Float64Array(flat.length);
    for (let i = 0; i < out.length; i++) {
      const j = i % this.size;
      out[i] = (flat[i] - this.center[j]) / this.scale[j];
      if (!Number.isFinite(out[i]))
        throw new UsageError(`${name}: holds NaN or infinite values; remove them`);
    }
    return out;
  }

  /** Return x (n, d) of the model space in the data's range; images clipped to it if `clip`. */
  toData(x, clip = true) {
    const out = new Float32Array(x.length);
    const [low, high] = this.range;
    for (let i = 0; i < out.length; i++) {
      const j = i % this.size;
      const v = x[i] * this.scale[j] + this.center[j];
      if (!clip || !this.images) out[i] = v;
      else out[i] = Number.isFinite(v) ? Math.min(high, Math.max(low, v)) : NaN;
    }
    return out;
  }

  /**
   * Return n class indices, or null for a model without classes; nothing given: classes in turn.
   * @param {number | string | ArrayLike<number> | null | undefined} label -1: no class
   */
  classes(label, n) {
    const none = label === undefined || label === null;
    if (!this.labels.length) {
      if (none || label === -1) return null;
      throw new UsageError(`label: ${shown(label)} was given and this model has no classes; leave it out`);
    }
    if (none) return Int32Array.from({ length: n }, (_, i) => i % this.labels.length);
    let chosen = label;
    if (typeof label === "string") {
      chosen = this.labels.indexOf(label);
      if (chosen < 0) throw unknown("label", label, this.labels);
    }
    const list = typeof chosen === "number" ? new Array(n).fill(chosen) : Array.from(chosen);
    if (list.length !== n)
      throw new UsageError(`label: ${list.length} classes for ${n} samples; give one, or ${n}`);
    for (const one of list) number("label", one, { low: -1, high: this.labels.length - 1, whole: true });
    return Int32Array.from(list);
  }
}

/**
 * Return the fields of `DataSpace` from the arguments of ScoreModel.
 * @param {object} given
 */
export function describe({ shape, labels = [], data_range = [-1, 1], center, scale, sigma_data }) {
  const fits = [1, 3].includes(shape.length) && shape.every((s) => Number.isInteger(s) && s >= 1);
  if (!fits) throw new UsageError(`shape: ${shown(shape)} is not valid: write [d] for points or [C, H, W]`);
  const images = shape.length === 3;
  if (images && shape[0] > 4) throw new UsageError(`num_channels: ${shape[0]} is not valid: write 1 to 4`);
  const [low, high] = data_range;
  if (!(low < high))
    throw new UsageError(`data_range: ${shown(data_range)} is not valid: the first must be smaller`);
  const list = (name, value, options) => {
    const values = [value].flat();
    if (values.length !== 1 && (images || values.length !== shape[0])) {
      throw new UsageError(
        `${name}: ${shown(value)} is not valid: write one number${images ? "" : ` or ${shape[0]}`}`,
      );
    }
    return values.map((v) => number(name, v, options));
  };
  return {
    name: "",
    kind: images ? "images" : "points",
    shape: [...shape],
    range: [low, high],
    center: list("center", center ?? (low + high) / 2),
    scale: list("scale", scale ?? (high - low) / 2, { above: 0 }),
    sigma_data: number("sigma_data", sigma_data ?? (images ? 0.5 : 1), { above: 0 }),
    labels: [...labels],
  };
}
