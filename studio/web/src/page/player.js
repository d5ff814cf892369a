// A trajectory in memory, and its playback: play, pause and scrub, also while frames still arrive.

const CAP = 96e6; // bytes of frames that are kept; beyond, every other one is let go
const SECONDS = 2.6; // a whole trajectory's playing time
const SLOWEST = 8; // steps per second at least

/**
 * Events: "frame" (the frame to show changed), "state" (playing, busy or the number of frames).
 * A frame is {step, steps, t, sigma, xt, x0, ms}.
 */
export class Player extends EventTarget {
  frames = [];
  steps = 1;
  at = -1; // index of the frame shown
  playing = false;
  busy = false; // frames still arrive

  #clock = 0;
  #handle = 0;
  #bytes = 0;

  /** Forget the old trajectory; `play`: whether to show frames as they come. */
  begin(steps, play) {
    this.pause();
    Object.assign(this, { frames: [], steps, at: -1, busy: true });
    this.#bytes = 0;
    if (play) this.play();
    this.#changed("state");
  }

  push(frame) {
    this.frames.push(frame);
    this.#bytes += 4 * (frame.xt.length + frame.x0.length);
    if (this.#bytes > CAP) this.#thin();
    if (this.at < 0) this.seek(0);
    this.#changed("state");
  }

  /** No more frames will come. Where nothing plays, the last one is shown. */
  end({ toLast = false } = {}) {
    this.busy = false;
    if (toLast && !this.playing) this.seek(this.frames.length - 1);
    this.#changed("state");
  }

  get frame() {
    return this.frames[this.at];
  }

  get atEnd() {
    return !this.busy && this.at >= this.frames.length - 1;
  }

  play() {
    if (this.atEnd && this.frames.length) this.at = 0;
    this.playing = true;
    this.#clock = performance.now();
    cancelAnimationFrame(this.#handle);
    this.#handle = requestAnimationFrame((now) => this.#tick(now));
    this.#changed("state");
  }

  pause() {
    cancelAnimationFrame(this.#handle);
    if (!this.playing) return;
    this.playing = false;
    this.#changed("state");
  }

  /** Show the frame with this index. */
  seek(index) {
    const last = this.frames.length - 1;
    const wanted = Math.max(0, Math.min(last, index));
    if (last < 0 || wanted === this.at) return;
    this.at = wanted;
    this.#changed("frame");
  }

  /** Pause and show the frame of this step, or the last one before it. */
  scrub(step) {
    this.pause();
    let index = this.frames.findLastIndex((frame) => frame.step <= step);
    if (index < 0) index = 0;
    this.seek(index);
  }

  #tick(now) {
    if (!this.playing) return;
    const rate = Math.max(SLOWEST, this.steps / SECONDS);
    const advance = Math.floor(((now - this.#clock) / 1000) * rate);
    if (advance > 0) {
      this.#clock = now;
      this.seek(this.at + advance);
      if (this.atEnd) return this.pause();
    }
    this.#handle = requestAnimationFrame((next) => this.#tick(next));
  }

  #thin() {
    const last = this.frames.length - 1;
    this.frames = this.frames.filter((_, i) => i % 2 === 0 || i === last);
    this.at = Math.floor(this.at / 2);
    this.#bytes = this.frames.reduce((sum, f) => sum + 4 * (f.xt.length + f.x0.length), 0);
  }

  #changed(type) {
    this.dispatchEvent(new Event(type));
  }
}
