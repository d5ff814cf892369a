// Colours for canvases, from the style sheet's custom properties; scheme and motion as the system has them.

const NAMES = ["paper", "card", "plane", "ink", "muted", "line", "accent", "second", "data"];
const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(prefers-reduced-motion: reduce)");
let cached = null;

/** The colours of the scheme that is on: {paper, card, plane, ink, ...} as CSS colours. */
export function colours() {
  if (!cached) {
    const style = getComputedStyle(document.documentElement);
    cached = Object.fromEntries(NAMES.map((n) => [n, style.getPropertyValue(`--${n}`).trim()]));
  }
  return cached;
}

/** Call `redraw` whenever the scheme changes. */
export function onScheme(redraw) {
  dark.addEventListener("change", () => {
    cached = null;
    redraw();
  });
}

/** Whether the visitor asked for no motion. */
export function reducedMotion() {
  return still.matches;
}
