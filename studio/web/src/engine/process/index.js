/** Forward processes by name: `makeProcess({kind: "cld", beta: 4})`; defaults are the papers'. */

import { shown, UsageError, unknown } from "../errors.js";
import { fill } from "../settings.js";
import { EDM, VE } from "./exploding.js";
import { Flow } from "./flow.js";
import { CLD, HOLD3, PSLD } from "./langevin.js";
import { SubVP, VP } from "./vp.js";

const positive = { above: 0 };
const auxiliary = { low: 1e-6, high: 100 };
const objective = { value: "hsm", choices: ["hsm", "dsm"] };
const vp = {
  beta_min: { value: 0.1, ...positive },
  beta_max: { value: 20, ...positive },
  schedule: { value: "linear", choices: ["linear", "cosine"] },
  s: { value: 0.008, above: 0, high: 1 },
};

/** Class and parameters of every process. */
export const PROCESSES = {
  vp: { make: VP, fields: vp },
  subvp: { make: SubVP, fields: vp },
  ve: {
    make: VE,
    fields: { sigma_min: { value: 0.01, low: 1e-6 }, sigma_max: { value: 50, ...positive } },
  },
  edm: {
    make: EDM,
    fields: { sigma_min: { value: 0.002, low: 1e-6 }, sigma_max: { value: 80, ...positive } },
  },
  flow: { make: Flow, fields: { eps: { value: 1e-3, above: 0, high: 0.1 } } },
  cld: {
    make: CLD,
    fields: {
      m_inv: { value: 4, low: 1e-6, high: 1e6 },
      beta: { value: 4, ...positive },
      gamma: { value: 0.04, ...auxiliary },
      objective,
    },
  },
  psld: {
    make: PSLD,
    fields: {
      gamma: { value: 0.01, low: 0 },
      nu: { value: 4.01, ...positive },
      beta: { value: 8, ...positive },
      kappa: { value: 0.04, ...auxiliary },
      objective,
    },
  },
  hold3: {
    make: HOLD3,
    fields: {
      omega: { value: 2, low: 1e-6, high: 1e6 },
      beta: { value: 4, ...positive },
      aux_variance: { value: 0.04, ...auxiliary },
      objective,
    },
  },
};

// Sampling starts from noise alone; above the upper limit float64 runs out.
const [FORGOTTEN, LARGEST] = [2, 1e6];

/**
 * Return {kind, ...all parameters}.
 * @param {string | {kind: string}} wanted
 */
export function processFields(wanted) {
  const given = typeof wanted === "string" ? { kind: wanted } : wanted;
  const { kind, ...parameters } = given ?? {};
  if (!Object.hasOwn(PROCESSES, kind ?? "")) throw unknown("process", kind, Object.keys(PROCESSES));
  return { kind, ...fill(kind, PROCESSES[kind].fields, parameters) };
}

/**
 * Build a forward process.
 * @param {string | {kind: string}} wanted
 * @returns {import("./base.js").Process}
 */
export function makeProcess(wanted) {
  const { kind, ...parameters } = processFields(wanted);
  if (parameters.sigma_max <= parameters.sigma_min || parameters.beta_max < parameters.beta_min) {
    throw new UsageError(
      `process ${shown({ kind, ...parameters })}: the largest value is below the smallest`,
    );
  }
  const process = new PROCESSES[kind].make(parameters);
  const level = process.sigmaRange()[1];
  if (!(level >= FORGOTTEN * (1 - 1e-9) && level <= LARGEST * (1 + 1e-9))) {
    throw new UsageError(
      `process ${shown({ kind, ...parameters })} ends at noise level ${level}; choose parameters that ` +
        `end between ${FORGOTTEN} and ${LARGEST}`,
    );
  }
  return process;
}
