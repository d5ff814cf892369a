// What to draw: the settings of a picture, their form, and their place in the address.

import { h } from "../dom.js";
import { chips, number, rollSeed, select, slider } from "../fields.js";
import { icon } from "../icons.js";
import { findModel, namesOf, processText, samplerText, versionsOf, versionText } from "../models.js";
import { wholeOf } from "../route.js";

export const ANY = "any"; // the class follows from the seed, so that dice show all of them
const NONE = -1;
const MOST_CHIPS = 12;
const POINTS = { least: 100, most: 5000, otherwise: 2000 };
const GREATEST_SEED = 2 ** 31;

/** Read settings from an address's parameters; what is missing is the model's own. */
export function settingsOf(models, limits, params) {
  const info = findModel(models, params.model, params.version);
  const own = info.defaults ?? {};
  const process = info.processes?.includes(params.process) ? params.process : info.process.kind;
  const wished = params.sampler ?? own.sampler;
  const fits = info.fits[process];
  const sampler = [wished, own.sampler].find((name) => fits.includes(name)) ?? fits[0];
  const options = {};
  for (const [name, option] of Object.entries(info.samplers[sampler] ?? {})) {
    const inherited = sampler === own.sampler ? own.options?.[name] : undefined;
    const given = Number(params[name]);
    const value = params[name] !== undefined && Number.isFinite(given) ? given : inherited;
    if (value !== undefined) options[name] = held(value, option);
  }
  const labels = info.labels ?? [];
  const label = params.label === ANY || params.label === undefined ? ANY : Number(params.label);
  return {
    info,
    process,
    sampler,
    options,
    seed: wholeOf(params, "seed", 0, 0, GREATEST_SEED),
    steps: wholeOf(params, "steps", own.steps ?? 25, 2, limits.steps),
    guidance: params.guidance === undefined ? (own.guidance ?? 1) : Number(params.guidance) || 0,
    label: !labels.length ? NONE : label === ANY || !(label < labels.length) ? ANY : label,
    n: info.kind === "points" ? pointsOf(params, info) : 1,
  };
}

/** What a link asks for and these settings are not, as a sentence; null if they are all that it says. */
export function unmet(params, settings) {
  const has = paramsOf(settings);
  const other = Object.keys(has).filter(
    (name) =>
      params[name] !== undefined &&
      has[name] !== undefined &&
      params[name] !== String(has[name]) &&
      !(Number(params[name]) === Number(has[name])),
  );
  if (!other.length) return null;
  const [first] = other; // of another model nothing else can be said
  const told = first === "model" ? [first] : other;
  const asked = told.map((name) => `${name} ${params[name]}`).join(", ");
  return `This link asks for ${asked}, which is not here: what is drawn differs from what it showed.`;
}

function pointsOf(params, info) {
  const most = Math.min(POINTS.most, info.most);
  return wholeOf(params, "n", Math.min(POINTS.otherwise, most), 1, most);
}

function held(value, { low, high }) {
  return Math.min(high ?? Infinity, Math.max(low ?? -Infinity, value));
}

/** The class that is drawn with this seed: an index, or -1. */
export function labelOf({ info, label, seed }) {
  return label === ANY ? seed % info.labels.length : label;
}

/** The parameters that draw this picture again. */
export function paramsOf(settings, engine) {
  const { info, process, sampler, options, seed, steps, guidance, n } = settings;
  return {
    model: info.name,
    version: info.version,
    label: info.labels?.length ? settings.label : undefined,
    seed,
    steps,
    sampler,
    ...options,
    process,
    guidance: info.labels?.length ? guidance : undefined,
    n: info.kind === "points" ? n : undefined,
    on: engine,
  };
}

/** The request of these settings. */
export function requestOf(settings) {
  const { info, process, sampler, options, seed, steps, guidance, n } = settings;
  const label = labelOf(settings);
  const request = { n, seed, steps, sampler, options, process };
  if (!info.labels?.length) return request;
  // Points of any class: all classes in turn, as the sampler does where no label is given.
  if (info.kind === "points" && settings.label === ANY) return { ...request, guidance };
  return { ...request, label, guidance };
}

/**
 * The form. `change(patch)` is called with parameters that changed: those of other models or
 * samplers fall back to their defaults.
 */
export function settingsForm(models, limits, settings, change) {
  const { info } = settings;
  const basics = [modelField(models, settings, change), versionField(models, settings, change)];
  if (info.labels?.length) basics.push(classField(settings, change));
  basics.push(seedField(settings, change));
  const most = Math.min(limits.steps, 100);
  const fine = [
    slider("Steps", {
      min: 2,
      max: Math.max(most, settings.steps),
      step: 1,
      value: settings.steps,
      onchange: (steps) => change({ steps }),
    }).element,
    processField(settings, change),
    samplerField(settings, change),
    ...optionFields(settings, change),
  ];
  if (info.labels?.length) fine.push(guidanceField(settings, change));
  if (info.kind === "points") fine.push(pointsField(settings, change));
  return { basics: basics.filter(Boolean), fine };
}

function modelField(models, { info }, change) {
  const choices = namesOf(models).map((name) => [name, name]);
  return select("Model", {
    choices,
    value: info.name,
    onchange: (model) => change({ model }, { anew: true }),
  }).element;
}

function versionField(models, { info }, change) {
  const versions = versionsOf(models, info.name);
  if (versions.length < 2 && !info.aliases?.length) return null;
  const choices = versions.map((m) => [m.version, versionText(m)]);
  return select("Version", {
    choices,
    value: info.version,
    onchange: (version) => change({ model: info.name, version }, { anew: true }),
  }).element;
}

function classField({ info, label }, change) {
  const choices = [[ANY, "any"], ...info.labels.map((name, i) => [i, name])];
  const onchange = (value) => change({ label: value });
  if (info.labels.length > MOST_CHIPS) {
    return select("Class", { choices, value: label, onchange }).element;
  }
  return chips("Class", { choices, value: label, onchange }).element;
}

function seedField({ seed }, change) {
  const dice = h(
    "button",
    {
      type: "button",
      class: "square",
      "aria-label": "Random seed",
      title: "Random seed",
      onclick: () => change({ seed: rollSeed() }),
    },
    icon("dice"),
  );
  const onchange = (value) => change({ seed: value });
  return number("Seed", { min: 0, max: GREATEST_SEED, value: seed, onchange }, dice).element;
}

function processField({ info, process }, change) {
  const kinds = info.processes ?? [info.process.kind];
  const choices = kinds.map((kind) => [kind, processText(kind)]);
  return select("Process (SDE)", {
    choices,
    value: process,
    onchange: (kind) => change({ process: kind }),
  }).element;
}

function samplerField({ info, process, sampler }, change) {
  const choices = info.fits[process].map((name) => [name, samplerText(name)]);
  return select("Sampler", {
    choices,
    value: sampler,
    onchange: (name) => change({ sampler: name }),
  }).element;
}

const OPTION_NAMES = { eta: "Stochasticity η", order: "Order", corrector: "Corrector" };
const SHOWN_HIGH = { s_churn: 80, corrector: 4, s_noise: 2 };
const HIDDEN = new Set(["s_tmin", "s_tmax", "atol"]); // unbounded: the address and Python set these

function optionFields({ info, sampler, options }, change) {
  return Object.entries(info.samplers[sampler] ?? {})
    .filter(([name]) => !HIDDEN.has(name))
    .map(([name, option]) => {
      const value = options[name] ?? option.default;
      const set = (next) => change({ [name]: next });
      if (name === "rtol") {
        const choices = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5].map((v) => [v, v.toExponential(0)]);
        const tell = (v) => change({ rtol: Number(v), atol: Number(v) });
        return select("Tolerance", { choices, value, onchange: tell }).element;
      }
      const whole = name === "order";
      const max = SHOWN_HIGH[name] ?? option.high;
      return slider(OPTION_NAMES[name] ?? name, {
        min: option.low,
        max,
        step: whole ? 1 : (max - option.low) / 20,
        value,
        format: (v) => (whole ? String(v) : v.toFixed(2)),
        onchange: set,
      }).element;
    });
}

function guidanceField({ guidance }, change) {
  return slider("Guidance", {
    min: 0,
    max: 6,
    step: 0.25,
    value: guidance,
    format: (v) => `${v.toFixed(2)} ×`,
    onchange: (value) => change({ guidance: value }),
  }).element;
}

function pointsField({ info, n }, change) {
  const max = Math.min(POINTS.most, info.most);
  return slider("Points", {
    min: Math.min(POINTS.least, max),
    max,
    step: 100,
    value: n,
    onchange: (value) => change({ n: value }),
  }).element;
}
