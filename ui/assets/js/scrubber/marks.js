// The marks of a run above the slider of the scrubber: elections, restarts, new leaders, crashes and
// violations.
//
//   const marks = Marks();
//   marks.element
//   marks.update(timeline);

import { set, svg } from '../dom.js';

/** The kinds of marks, the most severe last. */
const KINDS = ['timeout', 'restart', 'leader', 'crash', 'violation'];
/** The number of positions that a reader can distinguish. */
const PLACES = 400;

/**
 * The position of a step, from 0 to 1.
 * @param {number} step
 * @param {Timeline} timeline
 */
const share = (step, { offset, length }) => (step - offset) / Math.max(1, length);

/**
 * At most one mark for each distinguishable position: the most severe.
 * @param {Timeline} timeline
 */
export function severest(timeline) {
  /** @type {Map<number, Mark>} */
  const found = new Map();
  for (const mark of timeline.marks) {
    const severity = KINDS.indexOf(mark.kind);
    if (severity < 0) continue;
    const place = Math.round(share(mark.step, timeline) * PLACES);
    const other = found.get(place);
    if (!other || KINDS.indexOf(other.kind) < severity) found.set(place, mark);
  }
  return [...found.values()];
}

export function Marks() {
  const element = svg('svg', {
    class: 'scrub-marks',
    'aria-hidden': 'true',
    preserveAspectRatio: 'none',
  });
  /** @type {{timeline: Timeline, signature: string} | null} */
  let drawn = null;
  return {
    element,
    /** @param {Timeline} timeline */
    update(timeline) {
      const signature = `${timeline.length}/${timeline.marks.length}`;
      if (drawn?.timeline === timeline && drawn.signature === signature) return;
      drawn = { timeline, signature };
      set(element, { viewBox: `0 0 1000 10` });
      const bars = severest(timeline).map(({ kind, step }) =>
        svg('rect', {
          class: `mark is-${kind}`,
          x: share(step, timeline) * 1000 - 1.5,
          y: kind === 'timeout' ? 4 : 0,
          width: 3,
          height: kind === 'timeout' ? 6 : 10,
        }),
      );
      element.replaceChildren(...bars);
    },
  };
}
