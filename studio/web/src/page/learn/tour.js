// The guided tour: six steps from noise to picture; each sets the lab, its words are in index.html.

import { h } from "../dom.js";

export const COUNT = 6;

/** What each step does to the lab; `act` is offered by the view. */
const STAGES = [
  (act) => act.show({ data: true, samples: false, density: false, arrows: false }, 0),
  (act) => act.sweep(),
  (act) => act.train(),
  (act) => act.show({ data: true, samples: false, density: false, arrows: true }, 0.1),
  (act) => act.walk(),
  (act) => act.finish(),
];

/** The card; `act` drives the lab, `moved(step)` remembers where the visitor is. */
export function createTour(act, moved) {
  const text = h("div", { class: "words" });
  const count = h("p", { class: "count" });
  const back = h("button", { type: "button", class: "quiet", onclick: () => go(step - 1) }, "Back");
  const next = h("button", { type: "button", class: "primary", onclick: () => go(step + 1) }, "Next");
  const dots = Array.from({ length: COUNT }, () => h("i", {}));
  const element = h(
    "section",
    { class: "tour", "aria-label": "Guided tour" },
    h("div", { class: "row" }, count, h("span", { class: "dots", "aria-hidden": "true" }, dots)),
    text,
    h("div", { class: "row" }, back, next),
  );
  let step = 0;

  function render() {
    const template = document.querySelector(`#tour-${step + 1}`);
    text.replaceChildren(template.content.cloneNode(true));
    count.textContent = `Step ${step + 1} of ${COUNT}`;
    dots.forEach((dot, i) => dot.classList.toggle("on", i === step));
    back.disabled = step === 0;
    next.textContent = step === COUNT - 1 ? "Start again" : "Next";
  }

  function go(wanted) {
    step = (wanted + COUNT) % COUNT;
    render();
    moved(step + 1);
    STAGES[step](act);
  }

  return { element, go };
}
