// Labelled form fields: one function each, all with a label that is tied to its input.

import { freshId, h } from "./dom.js";

function field(kind, id, label, ...parts) {
  return h("div", { class: `field ${kind}` }, h("label", { for: id }, label), ...parts);
}

/** A drop-down. `choices`: [[value, text], ...]. */
export function select(label, { choices, value, onchange }) {
  const id = freshId("select");
  const input = h("select", { id, onchange: () => onchange(input.value) });
  const fill = (next, chosen) => {
    input.replaceChildren(...next.map(([v, text]) => h("option", { value: v }, text)));
    input.value = String(chosen);
  };
  fill(choices, value);
  return { element: field("choice", id, label, input), input, fill };
}

/** A slider with its value beside the label. */
export function slider(label, { min, max, step, value, format = String, oninput, onchange }) {
  const id = freshId("slider");
  const shown = h("output", { for: id }, format(value));
  const input = h("input", { id, type: "range", min, max, step, value: String(value) });
  const set = (next) => {
    input.value = String(next);
    show();
  };
  const show = () => {
    const text = format(Number(input.value));
    shown.textContent = text;
    input.setAttribute("aria-valuetext", text);
    const share = (Number(input.value) - input.min) / (input.max - input.min || 1);
    input.style.setProperty("--share", `${100 * share}%`);
  };
  input.addEventListener("input", () => {
    show();
    oninput?.(Number(input.value));
  });
  input.addEventListener("change", () => onchange?.(Number(input.value)));
  show();
  return { element: field("slide", id, label, shown, input), input, set, show };
}

/** A whole number. */
export function number(label, { min, max, value, onchange }, ...beside) {
  const id = freshId("number");
  const input = h("input", { id, type: "number", inputmode: "numeric", min, max, step: 1 });
  input.value = String(value);
  input.addEventListener("change", () => {
    const next = Math.round(Number(input.value));
    const held = Number.isFinite(next) ? Math.min(max, Math.max(min, next)) : value;
    input.value = String(held);
    onchange(held);
  });
  const element = field("count", id, label, h("div", { class: "beside" }, input, ...beside));
  return { element, input };
}

/** One of a few, as a row of buttons (radio inputs). `choices`: [[value, text], ...]. */
export function chips(legend, { choices, value, onchange, quiet = false }) {
  const name = freshId("chips");
  const row = h("div", { class: "chips" });
  const fill = (next, chosen) => {
    row.replaceChildren(
      ...next.map(([v, text]) =>
        h(
          "label",
          {},
          h("input", {
            type: "radio",
            name,
            value: String(v),
            checked: String(v) === String(chosen),
            onchange: () => onchange(v),
          }),
          h("span", {}, text),
        ),
      ),
    );
  };
  fill(choices, value);
  const set = (chosen) => {
    for (const input of row.querySelectorAll("input")) input.checked = input.value === String(chosen);
  };
  const title = h("legend", { class: quiet ? "unseen" : null }, legend);
  return { element: h("fieldset", { class: "field chip" }, title, row), fill, set };
}

/** A box to tick. */
export function check(label, { value, onchange }) {
  const input = h("input", { type: "checkbox", checked: value });
  input.addEventListener("change", () => onchange(input.checked));
  return { element: h("label", { class: "check" }, input, h("span", {}, label)), input };
}

/** A random seed that is easy to read aloud. */
export function rollSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0] % 100000;
}
