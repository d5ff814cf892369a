// The lab's fields and buttons.

import { h } from "../dom.js";
import { check, chips } from "../fields.js";
import { icon } from "../icons.js";
import { HAND, SHAPE_CHOICES } from "./shapes.js";

/** Build them; `act` says what choosing a shape, training and walking back do. */
export function createControls(lab, scene, act) {
  const names = {
    data: "Data",
    samples: "Samples",
    density: "Samples as density",
    arrows: "Score arrows",
  };
  const boxes = Object.fromEntries(
    Object.entries(names).map(([name, text]) => [
      name,
      check(text, { value: scene.show[name], onchange: (on) => scene.toggle(name, on) }),
    ]),
  );
  const shapes = chips("Data to learn", {
    choices: SHAPE_CHOICES,
    value: lab.shape,
    onchange: act.choose,
  });
  const train = h(
    "button",
    { type: "button", class: "primary", onclick: () => (lab.training ? lab.stop() : act.startTraining()) },
    "Train",
  );
  const draw = h(
    "button",
    { type: "button", class: "quiet", onclick: () => act.walk() },
    icon("play"),
    "Walk back",
  );
  const reset = h("button", { type: "button", class: "quiet", onclick: () => lab.reset() }, "Forget");
  const clear = h(
    "button",
    {
      type: "button",
      class: "quiet",
      hidden: true,
      onclick: () => {
        lab.hand = [];
        lab.choose(HAND);
      },
    },
    "Clear drawing",
  );
  const loss = h("canvas", { role: "img", "aria-label": "Loss curve, empty" });
  const facts = h("p", { class: "facts" }, "Not trained yet.");
  return { boxes, shapes, train, draw, reset, clear, loss, facts };
}
