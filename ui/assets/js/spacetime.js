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
// Only the visible part is drawn, so the length of a run does not matter.

import { event, family, initial, label, the, who } from './describe.js';
import { drawing, h, keyed, replace, set, svg } from './dom.js';
import { t } from './i18n.js';
import { eventOf, isDown, roleOf, termOf } from './timeline.js';

const DX = 26;
const LEFT = 18;
const TOP = 22;
const TALL = 44;
const LOW = 16;
const PASSING = 40;
const SIGNS = { crash: '✕', restart: '↑', timeout: '◷', leader: '♛', broken: '!' };

export function SpaceTime(host, { onGoto = () => {}, onPickMessage = null } = {}) {
  const names = h('div', { class: 'st-names' });
  const picture = svg('svg', { class: 'st-picture', 'aria-hidden': 'true' });
  const space = h('div', { class: 'st-space' }, picture);
  const scroll = h('div', { class: 'st-scroll', tabindex: 0, role: 'slider', 'aria-label': t('stage.st-title'), onkeydown: keys, onclick: click }, space);
  const hiddenList = h('div', { class: 'st-hidden row', hidden: true });
  const box = h('div', { class: 'spacetime' }, h('div', { class: 'st-body' }, names, scroll), hiddenList);
  host.append(box);

  let view = null;
  const low = new Set();
  const gone = new Set();
  let lanes = [];
  const sheet = drawing(scroll, () => { if (view) draw(); });
  /** The scroll position, and whether the current step must still be scrolled into view. */
  let left = 0;
  let isAstray = false;
  scroll.addEventListener('scroll', () => { if (scroll.scrollLeft !== left) { left = scroll.scrollLeft; sheet.later(); } }, { passive: true });

  const x = (step) => LEFT + (step - view.timeline.offset) * DX;
  const stepAt = (px) => {
    const { offset, last } = view.timeline;
    return Math.max(offset, Math.min(last, offset + Math.round((px - LEFT) / DX)));
  };

  function layOut() {
    let y = TOP;
    lanes = view.timeline.names.filter((name) => !gone.has(name)).map((name) => {
      const height = low.has(name) ? LOW : TALL;
      const lane = { name, y: y + height / 2, top: y, height };
      y += height;
      return lane;
    });
    space.style.width = `${x(view.timeline.last) + 40}px`;
    space.style.height = `${y + 8}px`;
    names.style.height = `${y + 8}px`;
    keyed(names, lanes, ({ name }) => name, ({ name }) => h('div', { class: 'st-name' },
      h('button', { type: 'button', class: 'quiet', onclick: () => { if (!low.delete(name)) low.add(name); redo(); } }, initial(name)),
      h('button', { type: 'button', class: 'quiet st-hide', 'aria-label': t('stage.st-hide', { who: the(name) }), title: t('stage.st-hide', { who: the(name) }), onclick: () => { if (lanes.length > 1) gone.add(name); redo(); } }, '×')),
    (element, lane) => {
      element.style.top = `${lane.top}px`;
      element.style.height = `${lane.height}px`;
      const words = t(low.has(lane.name) ? 'stage.st-expand' : 'stage.st-collapse', { who: the(lane.name) });
      set(element.firstChild, { 'aria-expanded': String(!low.has(lane.name)), 'aria-label': words, title: words });
    });
    hiddenList.hidden = gone.size === 0;
    replace(hiddenList, t('stage.st-hidden'), [...gone].map((name) => h('button', { type: 'button', onclick: () => { gone.delete(name); redo(); } }, `${initial(name)} ↩`)));
  }

  /** The scroll position at which a step is in view, with some of the steps after it. */
  function inSight(n) {
    const { width } = sheet.size;
    const here = x(n);
    const most = Math.max(0, x(view.timeline.last) + 40 - width);
    if (here < left + 30) return Math.max(0, Math.min(most, here - width * 0.3));
    if (here > left + width - 60) return Math.max(0, Math.min(most, here - width * 0.7));
    return left;
  }

  function redo() { layOut(); draw(); }

  function draw() {
    const { timeline, at, selected } = view;
    // Without a width there is no scroll position.
    const target = isAstray && sheet.size.width ? Math.round(inSight(at.n)) : left;
    if (sheet.size.width) isAstray = false;
    const from = Math.max(timeline.offset, stepAt(target) - 4);
    const to = Math.min(timeline.last, stepAt(target + sheet.size.width) + 4);
    const offset = x(from) - LEFT;
    const width = (to - from) * DX + LEFT + 40;
    const height = lanes.length ? lanes.at(-1).top + lanes.at(-1).height + 8 : 40;
    set(picture, { width, height, viewBox: `${offset} 0 ${width} ${height}` });
    picture.style.left = `${offset}px`;
    const byName = new Map(lanes.map((lane) => [lane.name, lane]));
    const parts = [svg('rect', { class: 'st-now', x: x(at.n) - DX / 2, y: 0, width: DX, height })];
    const every = 5;
    for (let n = Math.ceil(from / every) * every; n <= to; n += every) parts.push(svg('text', { class: 'st-axis', x: x(n), y: 13, 'text-anchor': 'middle' }, String(n)));
    for (const lane of lanes) parts.push(...line(timeline, lane, from, to));
    parts.push(...messages(timeline, byName, from, to, selected));
    parts.push(...ticks(timeline, byName, from, to, at.n));
    if (at.n < timeline.last) parts.push(svg('rect', { class: 'st-later', x: x(at.n) + DX / 2, y: TOP - 4, width: Math.max(0, x(to) + 40 - x(at.n)), height }));
    picture.replaceChildren(...parts);
    // Last, when the content has its final width.
    if (target !== left) { left = target; scroll.scrollLeft = target; }
  }

  /* The segments of a line, one for each interval with the same role and term. */
  function line(timeline, lane, from, to) {
    const history = timeline.histories.get(lane.name);
    const found = [];
    let place = 0;
    // The first segment starts before the visible part.
    let [lowest, highest] = [0, history.at.length - 1];
    while (lowest < highest) {
      const middle = (lowest + highest + 1) >> 1;
      if (history.at[middle] <= from) lowest = middle; else highest = middle - 1;
    }
    place = lowest;
    let piece = null;
    for (; place < history.at.length && history.at[place] <= to; place += 1) {
      const snapshot = history.snapshots[place];
      const kind = !snapshot ? 'unknown' : isDown(snapshot) ? 'down' : snapshot.kind === 'server' ? roleOf(snapshot) : snapshot.kind;
      const cls = `st-line is-${kind}${snapshot?.kind === 'server' ? ` term-${termOf(snapshot) % 8}` : ''}`;
      if (piece?.cls === cls) continue;
      const begin = x(Math.max(history.at[place], from));
      if (piece) piece.end = begin;
      piece = { cls, begin, end: null };
      found.push(piece);
    }
    if (piece) piece.end = x(to) + (to === timeline.last ? 20 : DX);
    return found.map(({ cls, begin, end }) => svg('path', { class: cls, d: `M${begin} ${lane.y}H${end}` }));
  }

  function messages(timeline, byName, from, to, selected) {
    const found = [];
    const passing = [];
    for (const id of timeline.touched(from, to)) {
      const message = timeline.all[id - 1];
      const [a, b] = [byName.get(message.from), byName.get(message.to)];
      if (!a || !b || low.has(message.from) || low.has(message.to)) continue;
      const cls = `st-message is-${family(message.message)}${selected?.message === message.id ? ' is-picked' : ''}`;
      const sendBefore = (step) => message.sentAgain[placeFrom(message.sentAgain, step) - 1] ?? message.sentAt;
      // One arrow stands for all deliveries out of view: a message may be delivered thousands of times.
      const beyond = placeFrom(message.delivered, to + 1);
      for (const step of message.delivered.slice(placeFrom(message.delivered, from), beyond + 1)) {
        const sent = sendBefore(step);
        if (sent > to) break;
        const begin = () => arrow(message, cls, x(sent), a.y, x(step), b.y, 'end');
        if (sent < from && step > to && selected?.message !== message.id) passing.push(begin);
        else found.push(begin());
      }
      const fate = message.delivered.length ? null : message.dropped[0] ?? message.sentAt;
      if (fate !== null && fate >= from - 2 && message.sentAt <= to) {
        const lost = message.dropped.length > 0;
        const sent = sendBefore(lost ? fate : timeline.last + 1);
        const reach = lost ? x(fate) : x(sent) + 20;
        const part = lost ? 0.5 : 0.28;
        const y = a.y + (b.y - a.y) * part;
        found.push(arrow(message, `${cls} is-open`, x(sent), a.y, reach, y, null));
        found.push(svg('text', { class: 'st-end', x: reach, y, dy: '0.35em', 'text-anchor': 'middle' }, lost ? '✕' : '·'));
      }
    }
    // Messages that only pass through the visible part are drawn if there are few of them.
    return passing.length > PASSING ? found : [...passing.map((make) => make()), ...found];
  }

  function arrow(message, cls, x1, y1, x2, y2, head) {
    const path = svg('path', { class: cls, d: `M${x1} ${y1}L${x2} ${y2}` });
    const tip = head ? arrowHead(x1, y1, x2, y2) : '';
    const group = svg('g', { class: cls, 'data-message': message.id }, svg('title', {}, `${label(message.message)}: ${who(message.from)} → ${who(message.to)}`),
      svg('path', { class: 'st-reach', d: `M${x1} ${y1}L${x2} ${y2}` }), path, tip && svg('path', { class: 'st-tip', d: tip }));
    return group;
  }

  function ticks(timeline, byName, from, to, now) {
    const found = [];
    for (let n = Math.max(timeline.offset + 1, from); n <= to; n += 1) {
      const step = timeline.step(n);
      const lane = byName.get(step.process);
      if (!lane || low.has(step.process)) continue;
      const held = eventOf(step);
      if (held.name !== 'Drop') found.push(svg('circle', { class: `st-tick${n === now ? ' is-now' : ''}`, cx: x(n), cy: lane.y, r: n === now ? 5.5 : 3.5 }, svg('title', {}, `${n}: ${event(step, timeline.state(step.process, n - 1))}`)));
    }
    const signs = new Map();
    for (const mark of marksWithin(timeline.marks, from, to)) {
      const lane = byName.get(mark.process);
      if (!lane || !SIGNS[mark.kind]) continue;
      const above = signs.get(mark.step) ?? 0;
      signs.set(mark.step, above + 1);
      const words = mark.kind === 'leader' ? `${SIGNS.leader}t${mark.term}` : SIGNS[mark.kind];
      found.push(svg('text', { class: `st-sign is-${mark.kind}`, x: x(mark.step) + above * 12, y: lane.y - 8, 'text-anchor': 'middle' }, words));
    }
    return found;
  }

  function click(clicked) {
    const message = clicked.target.closest?.('[data-message]');
    if (message && onPickMessage) { onPickMessage(Number(message.dataset.message)); return; }
    const box = space.getBoundingClientRect();
    onGoto(stepAt(clicked.clientX - box.left));
  }

  function keys(pressed) {
    const { at, timeline } = view;
    const lane = lanes.findIndex(({ name }) => name === at.step?.process);
    const beside = (by) => {
      const next = lanes[Math.max(0, Math.min(lanes.length - 1, lane + by))];
      return next ? timeline.lastStepOf(next.name, at.n) || at.n : at.n;
    };
    const run = { ArrowLeft: () => at.n - 1, ArrowRight: () => at.n + 1, ArrowUp: () => beside(-1), ArrowDown: () => beside(1),
      PageUp: () => at.n - 20, PageDown: () => at.n + 20, Home: () => timeline.offset, End: () => timeline.last }[pressed.key];
    if (!run) return;
    pressed.preventDefault();
    pressed.stopPropagation();
    const n = Math.max(timeline.offset, Math.min(timeline.last, run()));
    if (n !== at.n) onGoto(n);
  }

  return {
    /** The hidden processes, for exports. */
    get hidden() { return gone; },
    update(next) {
      const before = view;
      view = next;
      const { timeline, at } = next;
      if (before?.timeline !== timeline || before.at.last !== at.last || before.at.names.length !== lanes.length + gone.size) layOut();
      set(scroll, { 'aria-valuemin': timeline.offset, 'aria-valuemax': timeline.last, 'aria-valuenow': at.n, 'aria-valuetext': at.step ? `${at.n}: ${event(at.step, at.before)}` : t('stage.at-start') });
      // The current step stays in view, with some of the steps after it.
      if (!before || before.at.n !== at.n || before.timeline !== timeline) isAstray = true;
      sheet.later();
    },
    destroy() { sheet.stop(); box.remove(); },
  };
}

/** The index of the first element not below `limit` in an ascending list. */
function placeFrom(list, limit, value = (one) => one) {
  let [lowest, highest] = [0, list.length];
  while (lowest < highest) {
    const middle = (lowest + highest) >> 1;
    if (value(list[middle]) < limit) lowest = middle + 1; else highest = middle;
  }
  return lowest;
}

function marksWithin(marks, from, to) {
  const found = [];
  for (let place = placeFrom(marks, from, (mark) => mark.step); place < marks.length && marks[place].step <= to; place += 1) found.push(marks[place]);
  return found;
}

function arrowHead(x1, y1, x2, y2) {
  const far = Math.hypot(x2 - x1, y2 - y1) || 1;
  const [ux, uy] = [(x2 - x1) / far, (y2 - y1) / far];
  const [bx, by] = [x2 - ux * 4, y2 - uy * 4];
  const at = (along, aside) => `${(bx - ux * along - uy * aside).toFixed(1)} ${(by - uy * along + ux * aside).toFixed(1)}`;
  return `M${at(0, 0)}L${at(8, 3.5)}L${at(8, -3.5)}z`;
}
