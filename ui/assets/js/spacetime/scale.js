// The horizontal scale of the space-time diagram: steps to pixels of the whole diagram, and back.
//
//   const scale = new Scale(timeline);
//   scale.x(12); scale.stepAt(300)

/** The width of a step in pixels. */
export const DX = 26;
/** The pixels before the first step. */
export const LEFT = 18;
/** The pixels after the last step. */
export const RIGHT = 40;

export class Scale {
  /** @param {{offset: number, last: number}} timeline */
  constructor({ offset, last }) {
    this.offset = offset;
    this.last = last;
  }

  /** @param {number} step */
  x = (step) => LEFT + (step - this.offset) * DX;

  /**
   * The nearest step of the run.
   * @param {number} n
   */
  within(n) {
    return Math.max(this.offset, Math.min(this.last, n));
  }

  /** @param {number} px */
  stepAt(px) {
    return this.within(this.offset + Math.round((px - LEFT) / DX));
  }

  /** The width of the whole diagram. */
  get width() {
    return this.x(this.last) + RIGHT;
  }

  /**
   * The scroll position at which a step is in view, with some of the steps after it.
   * @param {number} n
   * @param {{left: number, width: number}} window the scroll position and the width of the visible part
   */
  inSight(n, { left, width }) {
    const here = this.x(n);
    const most = Math.max(0, this.width - width);
    if (here < left + 30) return Math.max(0, Math.min(most, here - width * 0.3));
    if (here > left + width - 60) return Math.max(0, Math.min(most, here - width * 0.7));
    return left;
  }

  /**
   * The part of the run to draw at a scroll position: the visible steps and four more on each side.
   * @param {number} left
   * @param {number} width
   */
  part(left, width) {
    return {
      from: Math.max(this.offset, this.stepAt(left) - 4),
      to: Math.min(this.last, this.stepAt(left + width) + 4),
    };
  }
}

/**
 * The step to which a key moves from the current step, or `null` for other keys. Up and down move to the
 * nearest step of the lane above or below.
 * @param {string} key
 * @param {{timeline: Timeline, at: Picture}} view
 * @param {{name: string}[]} lanes
 */
export function stepOfKey(key, { timeline, at }, lanes) {
  const lane = lanes.findIndex(({ name }) => name === at.step?.process);
  /** @param {number} by */
  const beside = (by) => {
    const next = lanes[Math.max(0, Math.min(lanes.length - 1, lane + by))];
    return (next && timeline.lastStepOf(next.name, at.n)) || at.n;
  };
  const run = {
    ArrowLeft: () => at.n - 1,
    ArrowRight: () => at.n + 1,
    ArrowUp: () => beside(-1),
    ArrowDown: () => beside(1),
    PageUp: () => at.n - 20,
    PageDown: () => at.n + 20,
    Home: () => timeline.offset,
    End: () => timeline.last,
  }[key];
  return run ? run() : null;
}
