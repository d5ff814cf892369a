// Which model to explore, and the class that is drawn.

import { h } from "../dom.js";
import { select } from "../fields.js";
import { findModel, namesOf, versionsOf, versionText } from "../models.js";

/** Fields for model, version and class; `changed()` after another was chosen. */
export function modelChoice(models, changed) {
  const state = { info: null, label: -1 };
  const element = h("div", { class: "row tools" });

  function render() {
    const { info } = state;
    const names = namesOf(models).map((name) => [name, name]);
    const fields = [select("Model", { choices: names, value: info.name, onchange: (name) => take(name) })];
    const versions = versionsOf(models, info.name);
    if (versions.length > 1) {
      const choices = versions.map((m) => [m.version, versionText(m)]);
      const onchange = (version) => take(info.name, version);
      fields.push(select("Version", { choices, value: info.version, onchange }));
    }
    if (info.labels.length) {
      const choices = [[-1, "no class"], ...info.labels.map((name, i) => [i, name])];
      const onchange = (value) => {
        state.label = Number(value);
        changed(false);
      };
      fields.push(select("Class", { choices, value: state.label, onchange }));
    }
    element.replaceChildren(...fields.map((field) => field.element));
  }

  function take(name, version) {
    state.info = findModel(models, name, version);
    state.label = -1;
    render();
    changed(true);
  }

  return {
    element,
    state,
    take,
    /** What a request must say of the class. */
    classOf: () => (state.info.labels.length ? { label: state.label } : {}),
  };
}
