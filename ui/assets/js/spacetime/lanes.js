// The lanes of the space-time diagram: their positions, and which are low or hidden.
//
//   const lanes = new Lanes();
//   lanes.layOut(timeline.names);        // sets lanes.list and lanes.height
//   lanes.toggleLow('server 1'); lanes.hide('server 2'); lanes.restore('server 2');

/** @typedef {import('./draw.js').Lane & {top: number, height: number}} Lane */

/** The height of the axis above the lanes, in pixels. */
export const TOP = 22;
const TALL = 44;
const LOW = 16;

export class Lanes {
  constructor() {
    /** @type {Lane[]} */
    this.list = [];
    /** The names of the hidden lanes, in the order in which they were hidden. */
    this.hidden = /** @type {Set<string>} */ (new Set());
    /** The lower edge of the last lane. */
    this.height = TOP;
    this.low = /** @type {Set<string>} */ (new Set());
  }

  /**
   * Computes the lanes of these processes.
   * @param {string[]} names
   */
  layOut(names) {
    let y = TOP;
    this.list = names
      .filter((name) => !this.hidden.has(name))
      .map((name) => {
        const isLow = this.low.has(name);
        const height = isLow ? LOW : TALL;
        const lane = { name, isLow, y: y + height / 2, top: y, height };
        y += height;
        return lane;
      });
    this.height = y;
  }

  /** The number of processes of the last layout. */
  get count() {
    return this.list.length + this.hidden.size;
  }

  /** @param {string} name */
  toggleLow(name) {
    if (!this.low.delete(name)) this.low.add(name);
  }

  /**
   * Hides a lane unless it is the last visible one.
   * @param {string} name
   */
  hide(name) {
    if (this.list.length > 1) this.hidden.add(name);
  }

  /** @param {string} name */
  restore(name) {
    this.hidden.delete(name);
  }
}
