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

import { event, initial, the } from './describe.js';
import { closest, drawing, h, keyed, replace, set, svg } from './dom.js';
import { t } from './i18n.js';
import { DX, drawRun } from './spacetime/draw.js';

const LEFT = 18;
const TOP = 22;
const TALL = 44;
const LOW = 16;
/** @typedef {import('./spacetime/draw.js').Lane & {top: number, height: number}} Lane */

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
  const names = h('div', { class: 'st-names' });
  const picture = svg('svg', { class: 'st-picture', 'aria-hidden': 'true' });
  const space = h('div', { class: 'st-space' }, picture);
  const slider = { tabindex: 0, role: 'slider', 'aria-label': t('stage.st-title') };
  const scroll = h(
    'div',
    { class: 'st-scroll', ...slider, onkeydown: keys, onclick: click },
    space,
  );
  const body = h('div', { class: 'st-body' }, names, scroll);
  const hiddenList = h('div', { class: 'st-hidden row', hidden: true });
  const box = h('div', { class: 'spacetime' }, body, hiddenList);
  host.append(box);

  /** @type {RunView} */
  let view;
  /** @type {Set<string>} */
  const low = new Set();
  /** @type {Set<string>} */
  const gone = new Set();
  /** @type {Lane[]} */
  let lanes = [];
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

  /** @param {number} step */
  const x = (step) => LEFT + (step - view.timeline.offset) * DX;
  /** @param {number} n */
  const within = (n) => Math.max(view.timeline.offset, Math.min(view.timeline.last, n));
  /** @param {number} px */
  const stepAt = (px) => within(view.timeline.offset + Math.round((px - LEFT) / DX));

  function layOut() {
    let y = TOP;
    lanes = view.timeline.names
      .filter((name) => !gone.has(name))
      .map((name) => {
        const isLow = low.has(name);
        const height = isLow ? LOW : TALL;
        const lane = { name, isLow, y: y + height / 2, top: y, height };
        y += height;
        return lane;
      });
    space.style.width = `${x(view.timeline.last) + 40}px`;
    space.style.height = `${y + 8}px`;
    names.style.height = `${y + 8}px`;
    keyed(names, lanes, ({ name }) => name, makeName, drawName);
    hiddenList.hidden = gone.size === 0;
    /** @param {string} name */
    const back = (name) => () => {
      gone.delete(name);
      redo();
    };
    /** @param {string} name */
    const button = (name) =>
      h('button', { type: 'button', onclick: back(name) }, `${initial(name)} ↩`);
    replace(hiddenList, t('stage.st-hidden'), [...gone].map(button));
  }

  /** @param {Lane} lane */
  function makeName({ name }) {
    const collapse = () => {
      if (!low.delete(name)) low.add(name);
      redo();
    };
    const hide = () => {
      if (lanes.length > 1) gone.add(name);
      redo();
    };
    const about = t('stage.st-hide', { who: the(name) });
    const hiding = { class: 'quiet st-hide', 'aria-label': about, title: about, onclick: hide };
    return h(
      'div',
      { class: 'st-name' },
      h('button', { type: 'button', class: 'quiet', onclick: collapse }, initial(name)),
      h('button', { type: 'button', ...hiding }, '×'),
    );
  }

  /**
   * @param {PageElement} element
   * @param {Lane} lane
   */
  function drawName(element, { name, isLow, top, height }) {
    element.style.top = `${top}px`;
    element.style.height = `${height}px`;
    const words = t(isLow ? 'stage.st-expand' : 'stage.st-collapse', { who: the(name) });
    const state = { 'aria-expanded': String(!isLow), 'aria-label': words, title: words };
    set(element.firstChild, state);
  }

  /**
   * The scroll position at which a step is in view, with some of the steps after it.
   * @param {number} n
   */
  function inSight(n) {
    const { width } = sheet.size;
    const here = x(n);
    const most = Math.max(0, x(view.timeline.last) + 40 - width);
    if (here < left + 30) return Math.max(0, Math.min(most, here - width * 0.3));
    if (here > left + width - 60) return Math.max(0, Math.min(most, here - width * 0.7));
    return left;
  }

  function redo() {
    layOut();
    draw();
  }

  function draw() {
    const { timeline, at, selected } = view;
    // Without a width there is no scroll position.
    const target = isAstray && sheet.size.width ? Math.round(inSight(at.n)) : left;
    if (sheet.size.width) isAstray = false;
    const from = Math.max(timeline.offset, stepAt(target) - 4);
    const to = Math.min(timeline.last, stepAt(target + sheet.size.width) + 4);
    const offset = x(from) - LEFT;
    const width = (to - from) * DX + LEFT + 40;
    const lowest = lanes.at(-1);
    const height = lowest ? lowest.top + lowest.height + 8 : 40;
    set(picture, { width, height, viewBox: `${offset} 0 ${width} ${height}` });
    picture.style.left = `${offset}px`;
    picture.replaceChildren(
      svg('rect', { class: 'st-now', x: x(at.n) - DX / 2, y: 0, width: DX, height }),
      ...axis(from, to),
      ...drawRun({ timeline, lanes, x, from, to, n: at.n, selected }),
      ...later(at.n, to, height),
    );
    // Last, when the content has its final width.
    if (target !== left) {
      left = target;
      scroll.scrollLeft = target;
    }
  }

  /**
   * @param {number} from
   * @param {number} to
   */
  function axis(from, to) {
    const numbers = [];
    for (let n = Math.ceil(from / EVERY) * EVERY; n <= to; n += EVERY) {
      const place = { class: 'st-axis', x: x(n), y: 13, 'text-anchor': 'middle' };
      numbers.push(svg('text', place, String(n)));
    }
    return numbers;
  }

  /**
   * The area after the current step.
   * @param {number} n
   * @param {number} to
   * @param {number} height
   */
  function later(n, to, height) {
    if (n >= view.timeline.last) return [];
    const width = Math.max(0, x(to) + 40 - x(n));
    return [svg('rect', { class: 'st-later', x: x(n) + DX / 2, y: TOP - 4, width, height })];
  }

  /** @param {MouseEvent} clicked */
  function click(clicked) {
    const message = closest(clicked, '[data-message]');
    if (message && onPickMessage) onPickMessage(Number(message.dataset.message));
    else onGoto(stepAt(clicked.clientX - space.getBoundingClientRect().left));
  }

  /** @param {KeyboardEvent} pressed */
  function keys(pressed) {
    const { at, timeline } = view;
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
    }[pressed.key];
    if (!run) return;
    pressed.preventDefault();
    pressed.stopPropagation();
    const n = within(run());
    if (n !== at.n) onGoto(n);
  }

  return {
    /** @param {RunView} next */
    update(next) {
      const before = view;
      view = next;
      const { timeline, at } = next;
      const isOther = before?.timeline !== timeline;
      const shown = lanes.length + gone.size;
      if (isOther || before.at.last !== at.last || before.at.names.length !== shown) layOut();
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
