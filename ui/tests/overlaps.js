// The faults of a picture of the stage that a reader sees: labels over circles, over small print or over
// one another, circles that touch, lines across a process that they do not end at, ends at another process
// than the intended one, lines through the small print of their ends, and parts that are cut off at the
// edge.
//
// The tests in the browser run this file as the body of a function, so it imports nothing.

/**
 * @typedef {{left: number, right: number, top: number, bottom: number}} Rect
 * @typedef {{
 *   key: string, name: string, group: Element, box: DOMRect, isRound: boolean,
 *   x: number, y: number, r: number,
 * }} Process
 * @typedef {{name: string, box: DOMRect, ink: DOMRect}} Label
 * @typedef {{name: string, of: Process, box: DOMRect}} Fact
 * @typedef {{processes: Process[], labels: Label[], facts: Fact[]}} Parts
 */

/**
 * Returns a sentence for each fault.
 * @param {Element} picture
 * @returns {string[]}
 */
export function overlaps(picture) {
  const parts = partsOf(picture);
  const frame = picture.getBoundingClientRect();
  const faults = [
    ...faultsOfProcesses(parts),
    ...faultsOfLabels(parts),
    ...faultsOfFacts(parts),
    ...cutOff(parts, frame),
  ];
  /** @type {NodeListOf<SVGPathElement>} */
  const lines = picture.querySelectorAll('path[data-from]');
  for (const line of lines) faults.push(...faultsOfLine(line, parts, frame));
  return faults;
}

/**
 * The processes, labels and small print of a picture.
 * @param {Element} picture
 * @returns {Parts}
 */
function partsOf(picture) {
  const groups = [...picture.querySelectorAll('.nodes > .process')];
  const processes = groups.map((group) => {
    const box = boxOf(group, '.body');
    const { keyedChildren } = /** @type {any} */ (group.parentNode);
    const entries = /** @type {[string, Element][]} */ ([...keyedChildren]);
    return {
      key: entries.find(([, element]) => element === group)?.[0] ?? '?',
      name: group.querySelector('.name')?.textContent ?? '?',
      group,
      box,
      isRound: group.classList.contains('is-server'),
      x: box.x + box.width / 2,
      y: box.y + box.height / 2,
      r: Math.min(box.width, box.height) / 2,
    };
  });
  const labels = [...picture.querySelectorAll('.labels > g, .links > g')].map((group) => ({
    name: group.querySelector('text')?.textContent ?? '?',
    box: boxOf(group, 'rect'),
    ink: boxOf(group, 'text'),
  }));
  const facts = processes.flatMap((of) =>
    [...of.group.querySelectorAll('.fact')].map((line) => ({
      name: line.textContent ?? '?',
      of,
      box: line.getBoundingClientRect(),
    })),
  );
  return { processes, labels, facts };
}

/**
 * @param {Element} group
 * @param {string} selector
 */
function boxOf(group, selector) {
  const found = group.querySelector(selector);
  if (!found) throw new Error(`no ${selector} in ${group.outerHTML}`);
  return found.getBoundingClientRect();
}

/**
 * Whether two boxes overlap by more than a pixel.
 * @param {Rect} one
 * @param {Rect} other
 */
function meet(one, other) {
  return (
    Math.min(one.right, other.right) - Math.max(one.left, other.left) > 1 &&
    Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 1
  );
}

/**
 * The distance of a point from the edge of a process; negative inside a circle.
 * @param {Process} process
 * @param {Point} point
 */
function distance(process, { x, y }) {
  if (process.isRound) return Math.hypot(process.x - x, process.y - y) - process.r;
  const { left, right, top, bottom } = process.box;
  return Math.hypot(Math.max(0, left - x, x - right), Math.max(0, top - y, y - bottom));
}

/**
 * Whether a box lies over a process.
 * @param {Process} process
 * @param {Rect} box
 */
function lies(process, { left, right, top, bottom }) {
  const x = Math.max(left, Math.min(right, process.x));
  const y = Math.max(top, Math.min(bottom, process.y));
  return distance(process, { x, y }) < 1;
}

/**
 * Processes that touch, and texts that stick out of their circle.
 * @param {Parts} parts
 */
function* faultsOfProcesses({ processes }) {
  for (const [place, one] of processes.entries()) {
    for (const other of processes.slice(place + 1)) {
      const apart = meet(one.box, other.box) ? 0 : 99;
      const gap =
        one.isRound && other.isRound
          ? Math.hypot(one.x - other.x, one.y - other.y) - one.r - other.r
          : apart;
      if (gap < 8) yield `${one.name} and ${other.name} are ${gap.toFixed(0)} px apart`;
    }
  }
  for (const process of processes.filter(({ isRound }) => isRound)) {
    for (const line of process.group.querySelectorAll('.words text')) {
      const { left, right, top, bottom } = line.getBoundingClientRect();
      const y = (top + bottom) / 2;
      if (Math.max(distance(process, { x: left, y }), distance(process, { x: right, y })) > 3)
        yield `"${line.textContent}" sticks out of ${process.name}`;
    }
  }
}

/** @param {Parts} parts */
function* faultsOfLabels({ processes, labels, facts }) {
  for (const [place, { name, box, ink }] of labels.entries()) {
    for (const other of labels.slice(place + 1))
      if (meet(box, other.box)) yield `the labels "${name}" and "${other.name}" overlap`;
    for (const fact of facts)
      if (meet(box, fact.box))
        yield `the label "${name}" lies over "${fact.name}" of ${fact.of.name}`;
    for (const process of processes)
      if (lies(process, box)) yield `the label "${name}" lies over ${process.name}`;
    if (ink.width > box.width + 1) yield `the label "${name}" is wider than its frame`;
  }
}

/**
 * Small print over another process, or over its small print.
 * @param {Parts} parts
 */
function* faultsOfFacts({ processes, facts }) {
  for (const [place, { name, of, box }] of facts.entries()) {
    for (const other of facts.slice(place + 1))
      if (other.of !== of && meet(box, other.box))
        yield `"${name}" of ${of.name} lies over "${other.name}" of ${other.of.name}`;
    for (const process of processes)
      if (process !== of && lies(process, box))
        yield `"${name}" of ${of.name} lies over ${process.name}`;
  }
}

/**
 * @param {Parts} parts
 * @param {Rect} frame
 */
function* cutOff({ processes, labels, facts }, frame) {
  for (const { name, box } of [...labels, ...facts, ...processes]) {
    const out = Math.max(
      frame.left - box.left,
      box.right - frame.right,
      frame.top - box.top,
      box.bottom - frame.bottom,
    );
    if (out > 1) yield `"${name}" is cut off by ${out.toFixed(0)} px`;
  }
}

/**
 * @param {SVGPathElement} line
 * @param {Parts} parts
 * @param {Rect} frame
 */
function* faultsOfLine(line, { processes, facts }, frame) {
  const { from = '?', to = '?' } = line.dataset;
  const name = `the line from ${from} to ${to}`;
  const length = line.getTotalLength();
  const points = Array.from({ length: 61 }, (_, place) => {
    const { x, y } = line.getPointAtLength((length * place) / 60);
    return { x: x + frame.left, y: y + frame.top };
  });
  const [start, end] = [points[0], points[60]];
  const [first, last] = [nearest(processes, start), nearest(processes, end)];
  if (first.key !== from) yield `${name} begins at ${first.key}`;
  if (last.key !== to) yield `${name} ends at ${last.key}`;
  if (distance(first, start) > 24 || distance(last, end) > 24) yield `${name} ends in the air`;
  const others = processes.filter(({ key }) => key !== from && key !== to);
  const crossed = others.find((process) => points.some((point) => distance(process, point) < 2));
  if (crossed) yield `${name} crosses ${crossed.key}`;
  for (const fact of facts.filter(({ of }) => [from, to].includes(of.key)))
    if (points.some((point) => isWritten(fact, point)))
      yield `${name} crosses "${fact.name}" of ${fact.of.name}`;
}

/**
 * @param {Process[]} processes
 * @param {Point} point
 */
const nearest = (processes, point) =>
  processes.toSorted((one, other) => distance(one, point) - distance(other, point))[0];

/**
 * Whether a point lies in a line of small print, without its margins.
 * @param {Fact} fact
 * @param {Point} point
 */
const isWritten = ({ box }, { x, y }) =>
  x > box.left + 1 && x < box.right - 1 && y > box.top + 2 && y < box.bottom - 2;
