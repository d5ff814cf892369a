// What stands on the lab's plane at noise time t: data, samples, arrows, and the playing of samples.

import { shrink } from "../paint.js";
import { Player } from "../player.js";
import { reducedMotion } from "../theme.js";
import { createArrows, toward } from "./arrows.js";
import { drawPlane } from "./plane.js";
import { normals, uniforms } from "./random.js";

const DRAWN = { n: 1500, steps: 50, sampler: "multistep_sde" };
const LEAST = 0.02; // the noise level below which the score is not asked for

/**
 * The scene on a canvas.
 * @param {object} hooks time(t): the noise time changed by itself; caption(text); fail(message)
 */
export function createScene(lab, canvas, hooks) {
  const show = { data: true, samples: true, density: false, arrows: false };
  const player = new Player();
  const normal = normals(uniforms(3));
  const noise = Float32Array.from({ length: 4000 }, normal);
  let t = 0;
  let arrows = null;
  let cursor = null;
  let pending = false;
  const asked = createArrows(
    lab,
    (found) => {
      arrows = found;
      redraw();
    },
    hooks.fail,
  );

  const sigma = () => (t > 0 ? lab.processes.vp.sigmaEff(t) : 0);

  function noised() {
    const few = lab.points.subarray(0, noise.length);
    if (t === 0) return few;
    const factor = 1 / Math.hypot(1, sigma());
    const spread = Math.sqrt(1 - factor ** 2) * lab.look.scale[0];
    return toward(few, lab.look.center, factor).map((v, i) => v + spread * noise[i]);
  }

  function samples() {
    const { frame } = player;
    if (!frame) return lab.samples;
    if (player.atEnd && player.at === player.frames.length - 1) return frame.x0;
    return toward(frame.xt, lab.look.center, shrink(lab.look, frame.sigma));
  }

  function paintNow() {
    pending = false;
    drawPlane(canvas, {
      data: show.data ? noised() : null,
      samples: show.samples ? samples() : null,
      density: show.density,
      arrows: show.arrows ? arrows : null,
      marks: cursor ? [cursor] : [],
    });
  }

  function redraw() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(paintNow);
  }

  function askArrows() {
    if (show.arrows && lab.trained) asked.ask(Math.max(LEAST, sigma()));
  }

  player.addEventListener("frame", () => {
    const { frame } = player;
    const last = player.at === player.frames.length - 1 && !player.busy;
    t = last ? 0 : lab.processes.vp.timeOf(frame.sigma);
    hooks.time(t);
    askArrows();
    redraw();
  });
  player.addEventListener("state", () => {
    if (player.atEnd && player.frames.length) redraw();
    hooks.playing(player.playing);
  });
  lab.addEventListener("model", askArrows);
  lab.addEventListener("samples", redraw);
  lab.addEventListener("data", () => {
    player.begin(1, false);
    player.end();
    arrows = null;
    redraw();
  });

  return {
    show,
    redraw,
    player,
    /** Set the noise time; what was playing stops. */
    setTime(value) {
      player.pause();
      t = value;
      askArrows();
      redraw();
    },
    toggle(name, on) {
      show[name] = on;
      askArrows();
      redraw();
    },
    cursor(place) {
      cursor = place;
      redraw();
    },
    /** Walk noise back to data, and play it. */
    async draw(seed) {
      player.begin(DRAWN.steps, !reducedMotion());
      await lab.generate({ ...DRAWN, seed, onStep: (frame) => player.push(frame) });
      player.end({ toLast: true });
      lab.samples = player.frames.at(-1).x0;
    },
    /** Forget drawn trajectories, so that the cloud of the training is shown. */
    live() {
      player.begin(1, false);
      player.end();
    },
    get sigma() {
      return sigma();
    },
  };
}
