// The space-time diagram: a line for each process, time to the right, an arrow for each message from
// the step that sent it to the step that delivered it.
//
//   const diagram = SpaceTime(host, {onGoto(step), onPickMessage(id)});
//   diagram.update({timeline, at: timeline.at(n), selected});
//
// A line is thick while its process is leader, dashed while it is down, and has the color of its term.
// Elections, new leaders, crashes, restarts and violations have signs. A dropped message ends in a
// cross, a message in flight in an open end. The name button of a line makes the line low and hides its
// events; × hides the line. The arrow keys move from step to step, up and down to the nearest step of
// the line above or below.
//
// Only the visible part is drawn (`spacetime/draw.js`), so the length of a run does not matter.
// `spacetime/lanes.js` has the state of the lines, `spacetime/names.js` their buttons, and
// `spacetime/scale.js` the positions of the steps.

import { event } from './describe.js';
import { closest, drawing, h, set, svg } from './dom.js';
import { t } from './i18n.js';
import { drawRun } from './spacetime/draw.js';
import { Lanes, TOP } from './spacetime/lanes.js';
import { LaneNames } from './spacetime/names.js';
import { DX, LEFT, RIGHT, Scale, stepOfKey } from './spacetime/scale.js';

/** The number of steps between two numbers of the axis. */
const EVERY = 5;

/**
 * @param {HTMLElement} host
 * @param {{
 *   onGoto?: (step: number) => void,
 *   onPickMessage?: ((id: number) => void) | null,
 * }} [options]
 */
export function SpaceTime(host, { onGoto = () => {}, onPickMessage = null } = {}) {
  const lanes = new Lanes();
  const laneNames = LaneNames(lanes, { onChange: redo });
  const picture = svg('svg', { class: 'st-picture', 'aria-hidden': 'true' });
  const space = h('div', { class: 'st-space' }, picture);
  const slider = { tabindex: 0, role: 'slider', 'aria-label': t('stage.st-title') };
  const scroll = h(
    'div',
    { class: 'st-scroll', ...slider, onkeydown: keys, onclick: click },
    space,
  );
  const body = h('div', { class: 'st-body' }, laneNames.names, scroll);
  const box = h('div', { class: 'spacetime' }, body, laneNames.hidden);
  host.append(box);

  /** @type {RunView} */
  let view;
  /** @type {Scale} */
  let scale;
  const sheet = drawing(scroll, () => {
    if (view) draw();
  });
  /** The scroll position, and whether the current step must still be scrolled into view. */
  let left = 0;
  let isAstray = false;
  const onScroll = () => {
    if (scroll.scrollLeft === left) return;
    left = scroll.scrollLeft;
    sheet.later();
  };
  scroll.addEventListener('scroll', onScroll, { passive: true });

  function layOut() {
    lanes.layOut(view.timeline.names);
    space.style.width = `${scale.width}px`;
    space.style.height = `${lanes.height + 8}px`;
    laneNames.draw();
  }

  function redo() {
    layOut();
    draw();
  }

  function draw() {
    const { timeline, at, selected } = view;
    const { width } = sheet.size;
    // Without a width there is no scroll position.
    const target = isAstray && width ? Math.round(scale.inSight(at.n, { left, width })) : left;
    if (width) isAstray = false;
    const { from, to } = scale.part(target, width);
    const offset = scale.x(from) - LEFT;
    const size = { width: (to - from) * DX + LEFT + RIGHT, height: lanes.height + 8 };
    set(picture, { ...size, viewBox: `${offset} 0 ${size.width} ${size.height}` });
    picture.style.left = `${offset}px`;
    const now = { x: scale.x(at.n) - DX / 2, y: 0, width: DX, height: size.height };
    const { x } = scale;
    picture.replaceChildren(
      svg('rect', { class: 'st-now', ...now }),
      ...axis(scale, from, to),
      ...drawRun({ timeline, lanes: lanes.list, x, from, to, n: at.n, selected }),
      ...later(scale, at.n, to, size.height),
    );
    // Last, when the content has its final width.
    if (target !== left) {
      left = target;
      scroll.scrollLeft = target;
    }
  }

  /** @param {MouseEvent} clicked */
  function click(clicked) {
    const message = closest(clicked, '[data-message]');
    if (message && onPickMessage) onPickMessage(Number(message.dataset.message));
    else onGoto(scale.stepAt(clicked.clientX - space.getBoundingClientRect().left));
  }

  /** @param {KeyboardEvent} pressed */
  function keys(pressed) {
    const step = stepOfKey(pressed.key, view, lanes.list);
    if (step === null) return;
    pressed.preventDefault();
    pressed.stopPropagation();
    const n = scale.within(step);
    if (n !== view.at.n) onGoto(n);
  }

  return {
    /** @param {RunView} next */
    update(next) {
      const before = view;
      view = next;
      const { timeline, at } = next;
      scale = new Scale(timeline);
      const isOther = before?.timeline !== timeline;
      if (isOther || before.at.last !== at.last || before.at.names.length !== lanes.count) layOut();
      set(scroll, {
        'aria-valuemin': timeline.offset,
        'aria-valuemax': timeline.last,
        'aria-valuenow': at.n,
        'aria-valuetext': at.step ? `${at.n}: ${event(at.step, at.before)}` : t('stage.at-start'),
      });
      // The current step stays in view, with some of the steps after it.
      if (isOther || before.at.n !== at.n) isAstray = true;
      sheet.later();
    },
    destroy() {
      sheet.stop();
      box.remove();
    },
  };
}

/**
 * The numbers of the steps.
 * @param {Scale} scale
 * @param {number} from
 * @param {number} to
 */
function axis({ x }, from, to) {
  const numbers = [];
  for (let n = Math.ceil(from / EVERY) * EVERY; n <= to; n += EVERY) {
    const place = { class: 'st-axis', x: x(n), y: 13, 'text-anchor': 'middle' };
    numbers.push(svg('text', place, String(n)));
  }
  return numbers;
}

/**
 * The area after the current step.
 * @param {Scale} scale
 * @param {number} n
 * @param {number} to
 * @param {number} height
 */
function later({ x, last }, n, to, height) {
  if (n >= last) return [];
  const width = Math.max(0, x(to) + RIGHT - x(n));
  return [svg('rect', { class: 'st-later', x: x(n) + DX / 2, y: TOP - 4, width, height })];
}
