// The drawing of a part of a run for the space-time diagram: the lines of the processes, the arrows of
// the messages, and the signs of the steps.
//
//   const parts = drawRun({timeline, lanes, x, from, to, n, selected});      // SVG elements
//
// `lanes` are `{name, y, isLow}`, `x(step)` is the position of a step. A low line has no events.

import { event, family, label, who } from '../describe.js';
import { svg } from '../dom.js';
import { eventOf, isDown, roleOf, termOf } from '../timeline.js';
import { DX } from './scale.js';

/**
 * @typedef {{name: string, isLow: boolean, y: number}} Lane
 * @typedef {{
 *   timeline: Timeline, lanes: Lane[], x: (step: number) => number,
 *   from: number, to: number, n: number, selected?: Picked | null,
 * }} Part
 * @typedef {{message: Sent, cls: string, sender: Lane, receiver: Lane}} Arrow
 */

/** The number of messages that only pass through the visible part, up to which they are drawn. */
const PASSING = 40;
/** @type {Record<string, string>} */
const SIGNS = { crash: '✕', restart: '↑', timeout: '◷', leader: '♛', violation: '!' };

/** @param {Part} view */
export function drawRun(view) {
  const byName = new Map(view.lanes.map((lane) => [lane.name, lane]));
  return [
    ...view.lanes.flatMap((lane) => lifeline(view, lane)),
    ...messages(view, byName),
    ...ticks(view, byName),
    ...signs(view, byName),
  ];
}

/**
 * The segments of a line, one for each interval with the same role and term.
 * @param {Part} view
 * @param {Lane} lane
 */
function lifeline({ timeline, x, from, to }, lane) {
  const { at = [], snapshots = [] } = timeline.histories.get(lane.name) ?? {};
  /** @type {{cls: string, begin: number, end: number}[]} */
  const found = [];
  // The first segment starts before the visible part.
  let place = Math.max(0, placeFrom(at, from + 1) - 1);
  for (; place < at.length && at[place] <= to; place += 1) {
    const cls = classOf(snapshots[place]);
    const piece = found.at(-1);
    if (piece?.cls === cls) continue;
    const begin = x(Math.max(at[place], from));
    if (piece) piece.end = begin;
    found.push({ cls, begin, end: begin });
  }
  const last = found.at(-1);
  if (last) last.end = x(to) + (to === timeline.last ? 20 : DX);
  return found.map(({ cls, begin, end }) =>
    svg('path', { class: cls, d: `M${begin} ${lane.y}H${end}` }),
  );
}

/** @param {Snapshot | null} snapshot */
function classOf(snapshot) {
  if (!snapshot) return 'st-line is-unknown';
  const isServer = snapshot.kind === 'server';
  const kind = isServer ? roleOf(snapshot) : snapshot.kind;
  const term = isServer ? ` term-${termOf(snapshot) % 8}` : '';
  return `st-line is-${isDown(snapshot) ? 'down' : kind}${term}`;
}

/**
 * @param {Part} view
 * @param {Map<string, Lane>} byName
 */
function messages(view, byName) {
  const { timeline, from, to, selected } = view;
  const found = [];
  const passing = [];
  for (const id of timeline.touched(from, to)) {
    const message = timeline.all[id - 1];
    const [sender, receiver] = [byName.get(message.from), byName.get(message.to)];
    if (!sender || !receiver || sender.isLow || receiver.isLow) continue;
    const isPicked = selected?.message === message.id;
    const cls = `st-message is-${family(message.message)}${isPicked ? ' is-picked' : ''}`;
    const one = { message, cls, sender, receiver };
    for (const { sent, step } of deliveries(message, from, to)) {
      const make = () => deliveryArrow(view, one, sent, step);
      if (sent < from && step > to && !isPicked) passing.push(make);
      else found.push(make());
    }
    found.push(...openEnd(view, one));
  }
  // Messages that only pass through the visible part are drawn if there are few of them.
  return passing.length > PASSING ? found : [...passing.map((make) => make()), ...found];
}

/**
 * The last send of a message before a step.
 * @param {Sent} message
 * @param {number} step
 */
const sendBefore = ({ sentAgain, sentAt }, step) =>
  sentAgain[placeFrom(sentAgain, step) - 1] ?? sentAt;

/**
 * The deliveries to draw. One stands for all deliveries after the visible part: a message may be
 * delivered thousands of times.
 * @param {Sent} message
 * @param {number} from
 * @param {number} to
 */
function* deliveries(message, from, to) {
  const { delivered } = message;
  const beyond = placeFrom(delivered, to + 1);
  for (const step of delivered.slice(placeFrom(delivered, from), beyond + 1)) {
    const sent = sendBefore(message, step);
    if (sent > to) return;
    yield { sent, step };
  }
}

/**
 * @param {Part} view
 * @param {Arrow} arrow
 * @param {number} sent
 * @param {number} step
 */
function deliveryArrow({ x }, { message, cls, sender, receiver }, sent, step) {
  const [start, end] = [
    { x: x(sent), y: sender.y },
    { x: x(step), y: receiver.y },
  ];
  return arrow(message, cls, start, end, arrowHead(start, end));
}

/**
 * The arrow of a message that is never delivered: it ends in a cross if the message is dropped.
 * @param {Part} view
 * @param {Arrow} arrow
 */
function openEnd({ timeline, x, from, to }, { message, cls, sender, receiver }) {
  if (message.delivered.length) return [];
  const isLost = message.dropped.length > 0;
  const end = isLost ? message.dropped[0] : message.sentAt;
  if (end < from - 2 || message.sentAt > to) return [];
  const sent = sendBefore(message, isLost ? end : timeline.last + 1);
  const tip = {
    x: isLost ? x(end) : x(sent) + 20,
    y: sender.y + (receiver.y - sender.y) * (isLost ? 0.5 : 0.28),
  };
  const sign = { class: 'st-end', x: tip.x, y: tip.y, dy: '0.35em', 'text-anchor': 'middle' };
  return [
    arrow(message, `${cls} is-open`, { x: x(sent), y: sender.y }, tip, null),
    svg('text', sign, isLost ? '✕' : '·'),
  ];
}

/**
 * @param {Sent} message
 * @param {string} cls
 * @param {Point} start
 * @param {Point} end
 * @param {string | null} head
 */
function arrow(message, cls, start, end, head) {
  const d = `M${start.x} ${start.y}L${end.x} ${end.y}`;
  const title = `${label(message.message)}: ${who(message.from)} → ${who(message.to)}`;
  return svg(
    'g',
    { class: cls, 'data-message': message.id },
    svg('title', {}, title),
    svg('path', { class: 'st-reach', d }),
    svg('path', { class: cls, d }),
    head && svg('path', { class: 'st-tip', d: head }),
  );
}

/**
 * @param {Point} start
 * @param {Point} end
 */
function arrowHead(start, end) {
  const [dx, dy] = [end.x - start.x, end.y - start.y];
  const far = Math.hypot(dx, dy) || 1;
  const [ux, uy] = [dx / far, dy / far];
  const [bx, by] = [end.x - ux * 4, end.y - uy * 4];
  /** @param {number} along @param {number} aside */
  const at = (along, aside) => {
    const [px, py] = [bx - ux * along - uy * aside, by - uy * along + ux * aside];
    return `${px.toFixed(1)} ${py.toFixed(1)}`;
  };
  return `M${at(0, 0)}L${at(8, 3.5)}L${at(8, -3.5)}z`;
}

/**
 * @param {Part} view
 * @param {Map<string, Lane>} byName
 */
function ticks({ timeline, x, from, to, n: now }, byName) {
  const found = [];
  for (let n = Math.max(timeline.offset + 1, from); n <= to; n += 1) {
    const step = timeline.step(n);
    const lane = byName.get(step.process);
    if (!lane || lane.isLow || eventOf(step).name === 'Drop') continue;
    const isNow = n === now;
    const about = `${n}: ${event(step, timeline.state(step.process, n - 1))}`;
    const dot = {
      class: `st-tick${isNow ? ' is-now' : ''}`,
      cx: x(n),
      cy: lane.y,
      r: isNow ? 5.5 : 3.5,
    };
    found.push(svg('circle', dot, svg('title', {}, about)));
  }
  return found;
}

/**
 * @param {Part} view
 * @param {Map<string, Lane>} byName
 */
function signs({ timeline, x, from, to }, byName) {
  const { marks } = timeline;
  const found = [];
  const count = new Map();
  let place = placeFrom(marks, from, (mark) => mark.step);
  for (; place < marks.length && marks[place].step <= to; place += 1) {
    const { kind, step, process, term } = marks[place];
    const lane = byName.get(process);
    if (!lane || !SIGNS[kind]) continue;
    const earlier = count.get(step) ?? 0;
    count.set(step, earlier + 1);
    const sign = {
      class: `st-sign is-${kind}`,
      x: x(step) + earlier * 12,
      y: lane.y - 8,
      'text-anchor': 'middle',
    };
    found.push(svg('text', sign, kind === 'leader' ? `${SIGNS.leader}t${term}` : SIGNS[kind]));
  }
  return found;
}

/**
 * The index of the first element not below `limit` in an ascending list.
 * @template T
 * @param {T[]} list
 * @param {number} limit
 * @param {(one: T) => any} [value]
 */
function placeFrom(list, limit, value = (one) => one) {
  let [lowest, highest] = [0, list.length];
  while (lowest < highest) {
    const middle = (lowest + highest) >> 1;
    if (value(list[middle]) < limit) lowest = middle + 1;
    else highest = middle;
  }
  return lowest;
}
