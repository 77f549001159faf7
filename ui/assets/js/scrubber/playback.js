// Plays a run: moves to the next step at a fixed pace until the end.
//
//   const playback = new Playback({range, pace, onGoto, onChange});
//   playback.start(); playback.stop(); playback.isPlaying

/**
 * The positions of a run: the current step, the first step, and the last step.
 * @typedef {{now: number, least: number, most: number}} Range
 */

export class Playback {
  #timer = 0;

  /**
   * `range` returns the positions, `pace` the time between two steps in milliseconds. `onChange` is called
   * when the playback starts or stops.
   * @param {{
   *   range: () => Range, pace: () => number, onGoto: (n: number) => void,
   *   onChange: (isPlaying: boolean) => void,
   * }} options
   */
  constructor({ range, pace, onGoto, onChange }) {
    this.range = range;
    this.pace = pace;
    this.onGoto = onGoto;
    this.onChange = onChange;
  }

  get isPlaying() {
    return this.#timer !== 0;
  }

  /** Plays from the current step, or from the start if the current step is the last one. */
  start() {
    const wasPlaying = this.isPlaying;
    this.#cancel();
    const { now, least, most } = this.range();
    if (now >= most) this.onGoto(least);
    this.#schedule();
    if (!wasPlaying) this.onChange(true);
  }

  stop() {
    if (!this.isPlaying) return;
    this.#cancel();
    this.onChange(false);
  }

  toggle() {
    if (this.isPlaying) this.stop();
    else this.start();
  }

  /** Stops without a call of `onChange`. */
  destroy() {
    this.#cancel();
  }

  #cancel() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  #schedule() {
    this.#timer = setTimeout(() => this.#step(), this.pace());
  }

  #step() {
    const { now, most } = this.range();
    if (now < most) this.onGoto(now + 1);
    if (this.range().now < most) this.#schedule();
    else this.stop();
  }
}
