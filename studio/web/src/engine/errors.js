/** Errors that a person reads: one sentence that names the field, the value and the fix. */

/** The input was wrong. */
export class UsageError extends Error {
  constructor(message) {
    super(message);
    this.name = "UsageError";
  }
}

/** Show a value as a person wrote it. */
export function shown(value) {
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  return value === undefined ? "nothing" : JSON.stringify(value);
}

/**
 * Return the error for a name that does not exist.
 * @param {string} field
 * @param {unknown} value
 * @param {Iterable<string>} choices
 */
export function unknown(field, value, choices) {
  return new UsageError(`unknown ${field} ${shown(value)}; choose one of: ${[...choices].join(", ")}`);
}

/**
 * Return a number in [low, high]; a whole one if `whole`.
 * @param {string} name
 * @param {unknown} value
 * @param {{low?: number, high?: number, whole?: boolean, above?: number}} range
 */
export function number(name, value, { low = -Infinity, high = Infinity, whole = false, above } = {}) {
  const fits =
    typeof value === "number" &&
    !Number.isNaN(value) &&
    value >= low &&
    value <= high &&
    (above === undefined || value > above) &&
    (!whole || Number.isInteger(value));
  if (fits) return value;
  const kind = whole ? "a whole number" : "a number";
  const least = above !== undefined ? ` above ${above}` : low > -Infinity ? ` from ${low}` : "";
  const most = high < Infinity ? (least ? ` to ${high}` : ` up to ${high}`) : "";
  throw new UsageError(`${name}: ${shown(value)} is not valid: write ${kind}${least}${most}`);
}
