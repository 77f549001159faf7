// The visible part of a long log: it follows the last entries until the reader moves it.
//
//   const shown = new LogWindow();
//   shown.fit({lowest, last, count});    // the indexes of the log, and the number of columns with room
//   shown.shift(-1); shown.reveal(12); shown.follow();
//   shown.from, shown.to

export class LogWindow {
  /**
   * The first visible index that the reader selected, or `null` to follow the last entries.
   * @type {number | null}
   */
  #first = null;

  constructor() {
    this.lowest = 1;
    this.last = 0;
    this.count = 1;
  }

  /** @param {{lowest: number, last: number, count: number}} log */
  fit({ lowest, last, count }) {
    this.lowest = lowest;
    this.last = last;
    this.count = count;
  }

  /** The first index of the window that ends at the last entry. */
  get #furthest() {
    return Math.max(this.lowest, this.last - this.count + 1);
  }

  get from() {
    return Math.max(this.lowest, this.#first ?? this.#furthest);
  }

  get to() {
    return Math.min(Math.max(this.last, this.lowest), this.from + this.count - 1);
  }

  /** Whether the whole log is visible. */
  get isWhole() {
    return this.last - this.lowest + 1 <= this.count;
  }

  get indexes() {
    return Array.from({ length: this.to - this.from + 1 }, (_, place) => this.from + place);
  }

  /**
   * Moves by a number of windows, each with one index in common with the next; infinite numbers move to
   * the ends.
   * @param {number} by
   */
  shift(by) {
    const to = this.from + by * Math.max(1, this.count - 1);
    const next = Math.max(this.lowest, Math.min(this.#furthest, to));
    this.#first = next === this.#furthest ? null : next;
  }

  /**
   * Moves to an index that is not visible.
   * @param {number} index
   */
  reveal(index) {
    if (index < this.from || index >= this.from + this.count) this.#first = Math.max(1, index - 1);
  }

  /** Follows the last entries again. */
  follow() {
    this.#first = null;
  }
}
