// The stage: x_t and the predicted x_0 side by side, and the transport below them.

import { h } from "./dom.js";
import { symbol } from "./formula.js";
import { icon } from "./icons.js";
import { enlarged, paint, resize, shrink } from "./paint.js";
import { Player } from "./player.js";
import { onScheme } from "./theme.js";

/** A canvas that tells what it shows: role=img with a label. */
export function picture(title, note, sign = null) {
  const canvas = h("canvas", { role: "img", "aria-label": title });
  const words = h("b", {}, title);
  const caption = h("figcaption", {}, sign, words, note ? h("span", {}, note) : null);
  const element = h("figure", { class: "picture" }, h("div", { class: "frame" }, canvas), caption);
  return { element, canvas };
}

export function sigmaText(sigma) {
  return sigma >= 100 ? sigma.toFixed(0) : sigma >= 1 ? sigma.toFixed(1) : sigma.toPrecision(2);
}

/** Build the stage; `describe()` says in words what is being drawn. */
export function createStage(describe) {
  const player = new Player();
  const noisy = picture("Noisy picture", "what the sampler holds", symbol("x", "t"));
  const clean = picture("Prediction", "what the network expects", symbol("x", "0", { hat: true }));
  const range = h("input", { type: "range", min: 1, max: 1, value: "1", "aria-label": "Step" });
  const toggle = h("button", { type: "button", class: "round", "aria-label": "Play" });
  const readout = h("span", { class: "readout" });
  const transport = h("div", { class: "transport" }, toggle, range, readout);
  const element = h(
    "div",
    { class: "stage" },
    h("div", { class: "pair" }, noisy.element, clean.element),
    transport,
  );
  let look = null;

  const showFrame = () => {
    const { frame } = player;
    if (!frame || !look) return;
    paint(noisy.canvas, look, frame.xt, shrink(look, frame.sigma));
    paint(clean.canvas, look, frame.x0);
    const place = `step ${frame.step} of ${frame.steps}, noise level ${sigmaText(frame.sigma)}`;
    range.value = String(frame.step);
    range.setAttribute("aria-valuetext", place);
    range.style.setProperty("--share", `${(100 * (frame.step - 1)) / Math.max(1, frame.steps - 1)}%`);
    readout.textContent = `${frame.step} / ${frame.steps}`;
    noisy.canvas.setAttribute("aria-label", `Noisy state of ${describe()}: ${place}`);
    clean.canvas.setAttribute("aria-label", `Prediction of ${describe()}: ${place}`);
  };
  let shown = null; // on the button
  const showState = () => {
    range.max = String(player.steps);
    range.disabled = player.frames.length === 0;
    toggle.disabled = range.disabled && !player.busy;
    const wanted = player.playing ? "Pause" : "Play";
    if (wanted === shown) return; // as for every frame that arrives
    shown = wanted;
    toggle.replaceChildren(icon(wanted.toLowerCase()));
    toggle.setAttribute("aria-label", wanted);
  };
  player.addEventListener("frame", showFrame);
  player.addEventListener("state", showState);
  toggle.addEventListener("click", () => (player.playing ? player.pause() : player.play()));
  range.addEventListener("input", () => player.scrub(Number(range.value)));
  onScheme(showFrame);
  showState();

  return {
    element,
    player,
    /** Set what is drawn from now on. */
    dress(next) {
      look = next;
      element.dataset.kind = look.kind;
      const words = look.kind === "points" ? "Noisy points" : "Noisy picture";
      noisy.element.querySelector("b").textContent = words;
    },
    /** The prediction shown, enlarged. */
    still: () => enlarged(clean.canvas),
    /** Both canvases of frame i side by side, for an animation. */
    film(i) {
      const frame = player.frames[i];
      paint(scratch[0], look, frame.xt, shrink(look, frame.sigma));
      paint(scratch[1], look, frame.x0);
      const [left, right] = scratch.map((canvas) => enlarged(canvas, 256));
      const both = document.createElement("canvas");
      resize(both, left.width * 2 + 8, left.height);
      const context = both.getContext("2d", { willReadFrequently: true });
      context.fillStyle = "#fff";
      context.fillRect(0, 0, both.width, both.height);
      context.drawImage(left, 0, 0);
      context.drawImage(right, left.width + 8, 0);
      return both;
    },
  };
}

const scratch = [document.createElement("canvas"), document.createElement("canvas")];
