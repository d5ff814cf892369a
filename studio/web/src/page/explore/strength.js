// How much of a given item is drawn anew: the share of the noise levels that are walked again.

import { slider } from "../fields.js";

/** A slider in per cent; `share()` is its value as a share. */
export function strengthSlider(onchange) {
  const field = slider("Strength of change", {
    min: 5,
    max: 100,
    step: 5,
    value: 40,
    format: (v) => `${v} %`,
    onchange,
  });
  return { element: field.element, share: () => Number(field.input.value) / 100 };
}
