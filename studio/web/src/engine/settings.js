/** Fields with defaults and limits, and what a model's configuration is filled up with. */

import { number, shown, UsageError, unknown } from "./errors.js";

/**
 * @typedef {{value: unknown, low?: number, high?: number, above?: number, whole?: boolean,
 *   choices?: string[], list?: boolean, text?: string}} Field
 */

/**
 * Return all `fields`: those given, checked, and the defaults of the others.
 * @param {string} where name for messages
 * @param {Record<string, Field>} fields
 * @param {Record<string, unknown>} given undefined and null count as not given
 */
export function fill(where, fields, given = {}) {
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(fields, name)) throw unknown(`field of ${where}:`, name, Object.keys(fields));
  }
  const entries = Object.entries(fields).map(([name, field]) => {
    const value = given[name] ?? field.value;
    return [name, field.free ? value : checked(`${where}.${name}`, value, field)];
  });
  return Object.fromEntries(entries);
}

function checked(name, value, field) {
  if (field.choices) {
    if (!field.choices.includes(value)) throw unknown(name, value, field.choices);
    return value;
  }
  if (!field.list) return number(name, value, field);
  if (!Array.isArray(value)) {
    throw new UsageError(`${name}: ${shown(value)} is not valid: write a list, such as [1, 2]`);
  }
  return value.map((entry, i) => number(`${name}.${i}`, entry, field));
}

const whole = { whole: true };
const decay = { low: 0, high: 1 };

/** Fields of training (sgm_core/config/training.py) that a browser has a use for, or keeps. */
export const TRAINING = {
  steps: { value: 2000, low: 1, ...whole },
  batch: { value: 256, low: 1, ...whole },
  lr: { value: 3e-3, above: 0 },
  betas: { value: [0.9, 0.99], list: true, ...decay },
  weight_decay: { value: 0, low: 0 },
  warmup: { value: 50, low: 0, ...whole },
  schedule: { value: "constant", choices: ["cosine", "constant"] },
  grad_clip: { value: 1, above: 0 },
  ema: { value: 0.99, ...decay },
  parametrisation: { value: "edm", choices: ["edm", "native", "mixed"] },
  weighting: { value: "auto", choices: ["auto", "edm", "epsilon", "min_snr", "likelihood"] },
  min_snr_gamma: { value: 5, above: 0 },
  time_sampling: { value: "lognormal", choices: ["lognormal", "loguniform", "uniform"] },
  p_mean: { value: -1.2 },
  p_std: { value: 1.2, above: 0 },
  label_dropout: { value: 0.1, low: 0, high: 1 },
};

/** Fields of networks (sgm_core/config/net.py). */
export const NETS = {
  mlp: {
    width: { value: 128, low: 4, high: 8192, ...whole },
    depth: { value: 3, low: 1, high: 64, ...whole },
    fourier: { value: 32, low: 0, high: 4096, ...whole },
    fourier_scale: { value: 4, above: 0 },
    inner: { value: [], list: true, low: 1, ...whole },
  },
  unet: {
    channels: { value: 32, low: 4, high: 2048, ...whole },
    multipliers: { value: [1, 2], list: true, low: 1, high: 64, ...whole },
    blocks: { value: 1, low: 1, high: 16, ...whole },
    attention: { value: [], list: true, low: 0, ...whole },
    heads: { value: 4, low: 1, high: 64, ...whole },
    dropout: { value: 0, low: 0, high: 1 },
    inner: { value: [], list: true, low: 1, ...whole },
    patch: { value: 1, low: 1, high: 16, ...whole },
    group: { value: 0, low: 0, ...whole },
  },
};

/** Fields of sampling (sgm_core/config/training.py); the sampler's own options are checked there. */
export const SAMPLING = {
  sampler: { value: "multistep_sde", free: true },
  steps: { value: 25, low: 1, high: 100000, ...whole },
  options: { value: {}, free: true },
  grid: { value: "log", choices: ["log", "rho", "quadratic", "uniform"] },
  sigma_min: { value: 0.002, above: 0, high: 10 },
  guidance: { value: 1, low: 0 },
};
