// The published models: their choice by name and version, and what can be asked of them.

/** Names in the server's order (champions first), each once. */
export function namesOf(models) {
  return [...new Set(models.map((m) => m.name))];
}

export function versionsOf(models, name) {
  return models.filter((m) => m.name === name);
}

/** A version in words: "3 · champion". */
export function versionText(info) {
  return [String(info.version), ...(info.aliases ?? [])].join(" · ");
}

/** The model of these parameters, or the first; null if there is none. */
export function findModel(models, name, version) {
  const own = versionsOf(models, name);
  return own.find((m) => String(m.version) === String(version)) ?? own[0] ?? models[0] ?? null;
}

export const LANGEVIN = new Set(["cld", "psld", "hold3"]);

const PROCESS_NAMES = {
  vp: "Variance preserving (VP)",
  subvp: "Sub-variance preserving",
  ve: "Variance exploding (VE)",
  edm: "EDM",
  flow: "Rectified flow",
  cld: "Critically-damped Langevin (CLD)",
  psld: "Phase-space Langevin (PSLD)",
  hold3: "Third-order Langevin",
};

export function processText(kind) {
  return PROCESS_NAMES[kind] ?? kind;
}

const SAMPLER_NAMES = {
  euler_maruyama: "Euler–Maruyama",
  predictor_corrector: "Predictor–corrector",
  ancestral: "Ancestral",
  ddim: "DDIM",
  multistep: "Multistep",
  multistep_sde: "Multistep, stochastic",
  heun: "Heun",
  ode: "Probability-flow ODE",
  sscs: "Symmetric splitting (SSCS)",
  sscs2: "Symmetric splitting, order 2",
};

export function samplerText(name) {
  return SAMPLER_NAMES[name] ?? name;
}

/** Whether a sampler can run under a process: Heun has one channel, SSCS splits Langevin dynamics. */
export function samplerFits(name, process) {
  if (name === "heun") return !LANGEVIN.has(process);
  if (name.startsWith("sscs")) return LANGEVIN.has(process);
  return true;
}

/** What is drawn, in a few words: "digits, class 7". */
export function subjectOf(info, label) {
  const what = info.kind === "points" ? "points" : "picture";
  const named = info.labels?.length && label >= 0 ? `, class ${info.labels[label]}` : "";
  return `${what} from ${info.name}${named}`;
}
