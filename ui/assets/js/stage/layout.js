// The layout of the stage, in pixels: processes, their fact lines, the lines between processes, and the
// labels of these lines. Pure geometry: nothing here reads the page, except to measure text.
//
//   const { places, boxes } = arrange(items, { width, height });
//   const curve = connect(from, to, { bend, nodes, boxes, used, width, height });
//   settle(labels, { nodes, boxes, width, height });
//
// Rules: circles do not touch, the fact lines of a process cover no other process, a line passes around
// every process that is not one of its ends, and a label covers nothing. Of several arrangements the
// layout selects the one with the fewest faults.

const STEP = 14;
/** The gap between two circles leaves room for a label. */
const GAP = 64;
/** The distance between a line and a process that it passes. */
const CLEAR = 9;

/** @typedef {{name: string, kind: string, facts: string[], crown: boolean}} Item */

/**
 * The costs of the places of the fact lines.
 * @type {Record<string, number>}
 */
const COSTS = { beside: 0, mixed: 14, below: 18 };

/* Processes. */

/**
 * Places every process. `items`: `{name, kind, facts: [words], crown}`, `kind` is `server`, `proxy` or
 * `client`. Returns `places` (by name: `{x, y, r, side, kind, crown}`) and `boxes`, the areas of the
 * fact lines.
 * @param {Item[]} items
 * @param {Size} size
 * @returns {StageLayout & {cost: number}}
 */
export function arrange(items, { width, height }) {
  const servers = items.filter(({ kind }) => kind === 'server');
  const clients = items.filter(({ kind }) => kind === 'client');
  const proxies = items.filter(({ kind }) => kind === 'proxy');
  const half = Math.ceil(clients.length / 2);
  const line = [...clients.slice(0, half), ...proxies, ...clients.slice(half)];
  const narrow = width < 520;
  /** @type {any} */
  let best = null;
  for (const column of line.length && width >= 600 ? [true, false] : [false]) {
    for (const r of narrow ? [33, 30, 27] : [42, 37, 33, 29]) {
      for (const sides of narrow ? ['below', 'mixed'] : ['beside', 'mixed', 'below']) {
        const found = attempt(servers, line, { width, height, narrow, column, r, sides });
        const cost = found.cost + (42 - r) * 6 + COSTS[sides] + (column === height < 560 ? 0 : 10);
        if (!best || cost < best.cost) best = { ...found, cost };
      }
    }
  }
  return best;
}

/**
 * @param {number} i
 * @param {number} n
 */
const angle = (i, n) => -Math.PI / 2 + (2 * Math.PI * i) / n;

/**
 * @param {Item[]} servers
 * @param {Item[]} line
 * @param {any} options
 */
function attempt(servers, line, { width, height, narrow, column, r, sides }) {
  const widths = new Map(
    [...servers, ...line].map(({ name, facts }) => [name, Math.max(0, ...facts.map(wordsWidth))]),
  );
  /** @param {Item} item */
  const widthOf = ({ name }) => widths.get(name) ?? 0;
  const left = column ? Math.max(128, ...line.map((item) => widthOf(item) + 16)) : 0;
  const row = line.length && !column ? 78 : 0;
  const spots = servers.map((server, i) => {
    const { name, facts } = server;
    const [cos, sin] = [Math.cos(angle(i, servers.length)), Math.sin(angle(i, servers.length))];
    // No arrow reaches the topmost server from the side: its fact lines are there.
    let side = i === 0 ? 'top' : 'below';
    if (i > 0 && sides === 'beside' && Math.abs(cos) > 0.4) side = cos > 0 ? 'right' : 'left';
    if (i > 0 && sides === 'mixed' && sin < -0.2) side = 'above';
    return { name, cos, sin, side, w: widthOf(server), lines: facts.length };
  });
  // The maximum extent of the ring on each side, limited by the servers and their fact lines.
  const reach = { left: Infinity, right: Infinity };
  const middle = left + (width - left) / 2;
  for (const { cos, side, w } of spots) {
    if (Math.abs(cos) < 0.05) continue;
    const aside =
      { right: cos > 0 ? r + 18 + w : r + 8, left: cos < 0 ? r + 18 + w : r + 8 }[side] ??
      Math.max(r + 8, w / 2 + 4);
    const room = (width - left) / 2 - aside;
    const which = cos > 0 ? 'right' : 'left';
    reach[which] = Math.min(reach[which], room / Math.abs(cos));
  }
  const above = 34;
  const lowest = Math.max(...spots.map(({ sin }) => sin), 0);
  const deepest = spots.filter(({ sin }) => sin > lowest - 0.01);
  const below = Math.max(
    14,
    ...deepest.map(({ side, lines }) => (side === 'below' ? 14 + lines * STEP : 14)),
  );
  // With an odd number, the lowest servers are above the lowest point of the ring: use the room.
  const span = Math.max(60, height - row - above - below - 2 * r);
  const ry = servers.length > 1 ? span / (1 + lowest) : span / 2;
  const rx = Math.min(reach.left, reach.right, Math.max(ry * 1.9, 210));
  const cy = above + r + ry;
  /** @type {Map<string, Spot>} */
  const places = new Map();
  for (const { name, cos, sin, side, w } of spots) {
    const x = middle + Math.max(0, rx) * cos;
    const most = side === 'top' ? width - (r + 12 + w) - 2 : width;
    const crown = servers.find((one) => one.name === name)?.crown;
    places.set(name, { x: Math.min(x, most), y: cy + ry * sin, r, side, kind: 'server', crown });
  }
  const gap = (column ? height : width) / (line.length || 1);
  line.forEach(({ name }, i) => {
    // Messages to a neighbor in the column leave a box at its other side.
    const top = i < (line.length - 1) / 2;
    if (column)
      places.set(name, {
        x: left / 2,
        y: gap * (i + 0.5) + (top ? 12 : -12),
        r: 40,
        side: top ? 'above' : 'below',
        kind: 'box',
      });
    else
      places.set(name, {
        x: gap * (i + 0.5),
        y: height - 54,
        r: narrow ? 34 : 40,
        side: 'below',
        kind: 'box',
      });
  });
  const boxes = [...servers, ...line].map((item) =>
    factBox(
      item.name,
      /** @type {Spot} */ (places.get(item.name)),
      item.facts.length,
      widthOf(item),
    ),
  );
  return { places, boxes, cost: faults(places, boxes, width, height) };
}

/**
 * The positions of the fact lines, relative to the center of their process.
 * @param {Spot} spot
 * @param {number} count
 */
export function factSpots({ side, r, kind }, count) {
  const edge = kind === 'box' ? 15 : r;
  const spots = [];
  for (let i = 0; i < count; i += 1) {
    if (side === 'top') spots.push({ x: edge + 12, y: (i - count) * STEP + 8, anchor: 'start' });
    else if (side === 'above')
      spots.push({ x: 0, y: -edge - 15 - (count - 1 - i) * STEP, anchor: 'middle' });
    else if (side === 'below') spots.push({ x: 0, y: edge + 19 + i * STEP, anchor: 'middle' });
    else
      spots.push({
        x: (edge + 16) * (side === 'right' ? 1 : -1),
        y: (i - (count - 1) / 2) * STEP + 4,
        anchor: side === 'right' ? 'start' : 'end',
      });
  }
  return spots;
}

/**
 * @param {string} name
 * @param {Spot} place
 * @param {number} count
 * @param {number} w
 */
function factBox(name, place, count, w) {
  const spots = factSpots(place, count);
  if (!spots.length) return { name, x: place.x, y: place.y, w: 0, h: 0 };
  const aside = { start: w / 2, end: -w / 2 }[spots[0].anchor] ?? 0;
  const ys = spots.map(({ y }) => y);
  return {
    name,
    x: place.x + spots[0].x + aside,
    y: place.y + (Math.min(...ys) + Math.max(...ys)) / 2 - 4,
    w,
    h: count * STEP,
  };
}

/**
 * The cost of an arrangement: low for a tight fit, high for an overlap.
 * @param {Map<string, Spot>} places
 * @param {Box[]} boxes
 * @param {number} width
 * @param {number} height
 */
function faults(places, boxes, width, height) {
  let cost = 0;
  const all = [...places];
  all.forEach(([name, one], i) => {
    for (const [, other] of all.slice(i + 1)) {
      const gap =
        one.kind === 'box' || other.kind === 'box'
          ? Math.max(
              Math.abs(one.x - other.x) - halfWidth(one) - halfWidth(other),
              Math.abs(one.y - other.y) - halfHeight(one) - halfHeight(other),
            )
          : Math.hypot(one.x - other.x, one.y - other.y) - one.r - other.r;
      const wanted = one.kind === 'server' && other.kind === 'server' ? GAP : 12;
      if (gap < wanted) cost += (wanted - gap) * 3;
      if (gap < 10) cost += 2000;
    }
    const out = Math.max(
      0,
      halfWidth(one) - one.x,
      one.x + halfWidth(one) - width,
      one.y + halfHeight(one) - height,
    );
    if (out > 0) cost += 500 + out * 10;
    for (const box of boxes) {
      if (box.name !== name && covers(one, box, 2)) cost += 600;
    }
  });
  boxes.forEach((box, i) => {
    if (box.w === 0) return;
    for (const other of boxes.slice(i + 1))
      cost += overlap(box, other, 2) > 0 ? 400 + overlap(box, other, 2) : 0;
    const out = Math.max(
      0,
      box.w / 2 - box.x,
      box.x + box.w / 2 - width,
      box.y + box.h / 2 - height,
      box.h / 2 - box.y,
    );
    if (out > 0.5) cost += 400 + out * 10;
  });
  return cost;
}

/** @param {Spot} spot */
const halfWidth = ({ kind, r }) => (kind === 'box' ? r + 4 : r);
/** @param {Spot} spot */
const halfHeight = ({ kind, r }) => (kind === 'box' ? 16 : r);

/**
 * The overlap of two boxes, with a margin between them.
 * @param {Box} one
 * @param {Box} other
 */
function overlap(one, other, room = 0) {
  const across = (one.w + other.w) / 2 + room - Math.abs(one.x - other.x);
  const down = (one.h + other.h) / 2 + room - Math.abs(one.y - other.y);
  return across > 0 && down > 0 ? across * down : 0;
}

/**
 * Whether a box covers a process.
 * @param {Spot} node
 * @param {Box} box
 */
function covers(node, { x, y, w, h }, room = 0) {
  if (w === 0) return false;
  const [dx, dy] = [
    Math.max(0, Math.abs(node.x - x) - w / 2),
    Math.max(0, Math.abs(node.y - y) - h / 2),
  ];
  if (node.kind === 'box') return dx < halfWidth(node) + room && dy < halfHeight(node) + room;
  if (Math.hypot(dx, dy) < node.r + room) return true;
  return (
    Boolean(node.crown) &&
    overlap({ x: node.x, y: node.y - node.r - 11, w: 34, h: 20 }, { x, y, w, h }, room) > 0
  );
}

/** @type {CanvasRenderingContext2D} */
let ruler;
/** @type {Map<string, number>} */
const known = new Map();
/**
 * The width of a fact line in pixels (.stage text in components.css).
 * @param {string} words
 * @returns {number}
 */
export function wordsWidth(words) {
  if (!ruler) {
    ruler = /** @type {CanvasRenderingContext2D} */ (
      document.createElement('canvas').getContext('2d')
    );
    ruler.font = `12px ${getComputedStyle(document.documentElement).getPropertyValue('--font')}`;
  }
  if (known.size > 5000) known.clear();
  const width = known.get(words) ?? ruler.measureText(words).width;
  known.set(words, width);
  return width;
}

/* Lines. */

/**
 * A line from one process to another that passes around all other processes: `{d, point(s), bend}`. It
 * bends to the left by `bend` if the way is free, and otherwise further or to the right. `used` records
 * the bends between two processes, so that no two lines coincide.
 * @param {Spot} from
 * @param {Spot} to
 * @param {{
 *   bend: number, nodes: Spot[], boxes?: Box[], used?: Map<string, number[]>,
 *   width: number, height: number,
 * }} options
 * @returns {Curve}
 */
export function connect(from, to, { bend, nodes, boxes = [], used = new Map(), width, height }) {
  const others = nodes.filter((node) => node !== from && node !== to);
  // The same bend in the opposite direction is on the other side.
  const [pair, sign] =
    from.x < to.x || (from.x === to.x && from.y < to.y)
      ? [`${from.x} ${from.y} ${to.x} ${to.y}`, 1]
      : [`${to.x} ${to.y} ${from.x} ${from.y}`, -1];
  const taken = used.get(pair) ?? [];
  used.set(pair, taken);
  /** @type {any} */
  let best = null;
  for (let k = 0; k <= 14; k += 1) {
    for (const way of k === 0 ? [bend] : [bend + 18 * k, bend - 18 * k]) {
      const found = curve(from, to, way);
      let cost = Math.abs(way - bend) + (way * bend < 0 ? 20 : 0);
      if (taken.some((held) => Math.abs(held - way * sign) < 14)) cost += 250;
      for (let i = 0; i <= 24; i += 1) {
        const at = found.point(i / 24);
        for (const other of others) if (distance(other, at) < CLEAR) cost += 400;
        for (const box of boxes)
          if (Math.abs(at.x - box.x) < box.w / 2 && Math.abs(at.y - box.y) < box.h / 2) cost += 25;
        if (at.x < 4 || at.y < 4 || at.x > width - 4 || at.y > height - 4) cost += 60;
      }
      if (!best || cost < best.cost) best = { ...found, bend: way, cost };
    }
    if (best.cost < 18 * (k + 1)) break;
  }
  taken.push(best.bend * sign);
  return best;
}

/**
 * @param {Spot} from
 * @param {Spot} to
 * @param {number} bend
 */
function curve(from, to, bend) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const far = Math.hypot(dx, dy) || 1;
  const c = {
    x: (from.x + to.x) / 2 + (dy / far) * bend * 1.8,
    y: (from.y + to.y) / 2 - (dx / far) * bend * 1.8,
  };
  const [a, b] = [edge(from, c), edge(to, c, 7)];
  /** @param {number} s */
  const point = (s) => ({
    x: (1 - s) ** 2 * a.x + 2 * s * (1 - s) * c.x + s * s * b.x,
    y: (1 - s) ** 2 * a.y + 2 * s * (1 - s) * c.y + s * s * b.y,
  });
  /** @param {number} number */
  const f = (number) => number.toFixed(1);
  return { d: `M${f(a.x)} ${f(a.y)}Q${f(c.x)} ${f(c.y)} ${f(b.x)} ${f(b.y)}`, point };
}

/**
 * @param {Spot} node
 * @param {Point} toward
 */
function edge(node, toward, away = 2) {
  const [dx, dy] = [toward.x - node.x, toward.y - node.y];
  const far = Math.hypot(dx, dy) || 1;
  let reach = node.r + 7 + away;
  if (node.kind === 'box')
    reach =
      Math.min((node.r + 4) / Math.abs(dx / far || 1e-6), 16 / Math.abs(dy / far || 1e-6)) +
      3 +
      away;
  return { x: node.x + (dx / far) * reach, y: node.y + (dy / far) * reach };
}

/**
 * @param {Spot} node
 * @param {Point} point
 */
function distance(node, { x, y }) {
  if (node.kind !== 'box') return Math.hypot(node.x - x, node.y - y) - node.r;
  return Math.hypot(
    Math.max(0, Math.abs(node.x - x) - node.r - 4),
    Math.max(0, Math.abs(node.y - y) - 16),
  );
}

/* Labels. */

const HIGH = 20;
const ALONG = Array.from({ length: 29 }, (_, i) => 0.15 + i * 0.025);

/**
 * Gives every label (`{curve, w, prefer, spare}`) a position `x`, `y` where it covers nothing: on its
 * curve if possible, otherwise as near as possible, with a line (`lead`) to its curve. A label that fits
 * nowhere becomes a dot: its `w` and `words` are then the values of `spare`.
 * @param {any[]} labels
 * @param {{nodes: Spot[], boxes?: Box[], width: number, height: number}} stage
 */
export function settle(labels, { nodes, boxes = [], width, height }) {
  const taken = [...boxes];
  /** @param {Box} box */
  const isFree = (box) =>
    box.x - box.w / 2 >= 1 &&
    box.x + box.w / 2 <= width - 1 &&
    box.y - HIGH / 2 >= 1 &&
    box.y + HIGH / 2 <= height - 1 &&
    !taken.some((other) => overlap(box, other, 3) > 0) &&
    !nodes.some((node) => covers(node, box, 4));
  for (const label of labels) {
    const found =
      along(label, label.w, isFree) ??
      near(label, label.w, isFree, width, height) ??
      (label.spare &&
        (along(label, label.spare.w, isFree) ?? near(label, label.spare.w, isFree, width, height)));
    if (found && found.w !== label.w) Object.assign(label, label.spare);
    const { x, y } = found ?? label.curve.point(label.prefer ?? 0.42);
    Object.assign(label, { x, y, lead: found?.lead ?? null });
    taken.push({ x, y, w: label.w, h: HIGH });
  }
}

/**
 * @param {{curve: Curve, prefer?: number}} label
 * @param {number} w
 * @param {(box: Box) => boolean} isFree
 */
function along({ curve: line, prefer = 0.42 }, w, isFree) {
  const places = [...ALONG].sort((one, other) => Math.abs(one - prefer) - Math.abs(other - prefer));
  for (const aside of [0, -13, 13]) {
    for (const s of places) {
      const at = line.point(s);
      const box = { x: at.x, y: at.y + aside, w, h: HIGH };
      if (isFree(box)) return box;
    }
  }
  return null;
}

/**
 * @param {{curve: Curve, prefer?: number}} label
 * @param {number} w
 * @param {(box: Box) => boolean} isFree
 * @param {number} width
 * @param {number} height
 */
function near({ curve: line, prefer = 0.42 }, w, isFree, width, height) {
  const at = line.point(prefer);
  /** @type {any} */
  let best = null;
  for (let y = HIGH / 2 + 2; y < height - HIGH / 2; y += 9) {
    for (let x = w / 2 + 2; x < width - w / 2; x += 12) {
      const far = Math.hypot(x - at.x, (y - at.y) * 1.3);
      if ((!best || far < best.far) && isFree({ x, y, w, h: HIGH }))
        best = { x, y, w, far, lead: at };
    }
  }
  return best;
}
