/** Reverse-time samplers by name, with their own options and limits (sgm_core/sample/names.py). */

import { shown, UsageError, unknown } from "../errors.js";
import { fill, SAMPLING } from "../settings.js";
import { EulerMaruyama } from "./euler_maruyama.js";
import { ExponentialIntegrator } from "./exponential.js";
import { Heun } from "./heun.js";
import { ProbabilityFlowODE } from "./ode.js";
import { PredictorCorrector } from "./predictor_corrector.js";
import { SSCS, SSCS2 } from "./sscs.js";

const eta = { value: 0, low: 0, high: 1, text: "noise: 0 probability-flow ODE, 1 reverse SDE" };
const order = { value: 2, low: 1, high: 4, whole: true, text: "evaluations that a step extrapolates" };
const tolerance = { value: 1e-3, low: 1e-10, high: 1, text: "tolerance of the local error" };

/** @type {Record<string, {make: Function, fields: object, fixed?: object, only?: "scalar" | "langevin"}>} */
export const SAMPLERS = {
  multistep_sde: { make: ExponentialIntegrator, fields: { order }, fixed: { eta: 1 } },
  euler_maruyama: { make: EulerMaruyama, fields: {} },
  predictor_corrector: {
    make: PredictorCorrector,
    fields: { corrector: { value: 0.5, low: 0, high: 10, text: "Langevin time per unit of ln sigma_eff" } },
  },
  ancestral: { make: ExponentialIntegrator, fields: {}, fixed: { order: 1, eta: 1 } },
  ddim: { make: ExponentialIntegrator, fields: { eta }, fixed: { order: 1 } },
  multistep: { make: ExponentialIntegrator, fields: { order, eta } },
  heun: {
    make: Heun,
    only: "scalar",
    fields: {
      s_churn: { value: 0, low: 0, high: 1000, text: "EDM's churn over all steps" },
      s_tmin: { value: 0, low: 0, text: "churn from this noise level" },
      s_tmax: { value: Infinity, low: 0, text: "churn up to this noise level" },
      s_noise: { value: 1, low: 0, high: 2, text: "factor of the churn's noise" },
    },
  },
  ode: { make: ProbabilityFlowODE, fields: { rtol: tolerance, atol: tolerance } },
  sscs: { make: SSCS, fields: {}, only: "langevin" },
  sscs2: { make: SSCS2, fields: {}, only: "langevin" },
};

/** Whether a sampler can run under a process. */
export function samplerFits(name, process) {
  const only = SAMPLERS[name].only;
  return !only || (only === "langevin") === Boolean(process.marginal.langevin);
}

/**
 * Return the model's sampling settings with those that are given in place. The options of the model's
 * own sampler do not carry over to another one.
 * @param {object} own
 * @param {object} given
 */
export function settingsOf(own, given) {
  const chosen = Object.fromEntries(Object.entries(given).filter(([, v]) => v !== undefined && v !== null));
  const same = (chosen.sampler ?? own.sampler) === own.sampler;
  const options = { ...(same ? own.options : {}), ...chosen.options };
  const settings = fill("sampling", SAMPLING, { ...own, ...chosen, options });
  if (!Object.hasOwn(SAMPLERS, settings.sampler))
    throw unknown("sampler", settings.sampler, Object.keys(SAMPLERS));
  const { fields } = SAMPLERS[settings.sampler];
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(fields, name)) continue;
    const names = Object.keys(fields);
    throw new UsageError(
      `sampler ${shown(settings.sampler)} has no option ${shown(name)}; ` +
        (names.length ? `choose one of: ${names.join(", ")}` : "leave it out"),
    );
  }
  return settings;
}

/** Build a sampler from complete settings. */
export function makeSampler({ sampler, options, ...settings }) {
  const { make, fields, fixed } = SAMPLERS[sampler];
  return new make({ ...settings, ...fill(sampler, fields, options), ...fixed });
}
