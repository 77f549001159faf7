// A chart of values over time: lines with distinct patterns and names, axes with units, and marks for
// events. A pointer or the arrow keys select a point in time; a table shows the same values.
//
//   const chart = Chart(host, {title, unit, lines: [{key, name, cls}], scale: 'linear'|'log', show(value)});
//   chart.update({rows: [{at, reads: 12, ...}], span: 120, marks: [{at, cls, about}], now});

import { eachFrame, h, keyed, replace, set, svg, text } from '../dom.js';
import { currentLanguage, t } from '../i18n.js';

/**
 * @typedef {{key: string, at: number, cls: string, about: string}} ChartMark
 * @typedef {{rows: any[], span: number, marks: ChartMark[], now: number}} ChartView
 */

const LEFT = 50;
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 24;
const HEIGHT = 190;
/** A line does not connect points that are further apart than this. */
const HOLE = 3500;

/**
 * @param {HTMLElement} host
 * @param {{
 *   title: string, unit: string, lines: {key: string, name: string, cls: string}[],
 *   scale?: string, show: (value: number) => string,
 * }} options
 */
export function Chart(host, { title, unit, lines, scale = 'linear', show }) {
  const grid = svg('g', { class: 'chart-grid' });
  const marks = svg('g', { class: 'chart-marks' });
  const paths = svg('g', { class: 'chart-lines' });
  const cursorLine = svg('line', {});
  const cursor = svg('g', { class: 'chart-cursor' }, cursorLine);
  const picture = svg(
    'svg',
    { class: 'chart-picture', role: 'img', tabindex: 0 },
    grid,
    marks,
    paths,
    cursor,
  );
  const said = h('p', { class: 'chart-said small', 'aria-live': 'off' });
  const legend = h(
    'ul',
    { class: 'chart-legend plain' },
    lines.map((line) =>
      h(
        'li',
        {},
        svg(
          'svg',
          { width: 26, height: 10, 'aria-hidden': 'true' },
          svg('path', { d: 'M1 5H25', class: `line ${line.cls}` }),
        ),
        line.name,
      ),
    ),
  );
  const tableHost = h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': title });
  const table = h(
    'details',
    { class: 'chart-table', ontoggle: () => tabulate() },
    h('summary', {}, t('live.as-table')),
    tableHost,
  );
  const box = h(
    'figure',
    { class: 'chart' },
    h('figcaption', {}, h('h3', {}, title, ' ', h('span', { class: 'dim' }, unit)), legend),
    picture,
    said,
    table,
  );
  host.append(box);
  /** @type {ChartView} */
  let view = { rows: [], span: 120, marks: [], now: Date.now() };
  /**
   * The selected point in time, if any.
   * @type {number | null}
   */
  let read = null;
  const later = eachFrame(draw);
  const watch = new ResizeObserver(later);
  watch.observe(box);

  const inside = () => view.rows.filter(({ at }) => at > view.now - view.span * 1000);

  picture.addEventListener('pointermove', (event) => {
    const place = event.clientX - picture.getBoundingClientRect().left;
    const width = picture.clientWidth - LEFT - RIGHT;
    read = view.now - view.span * 1000 * (1 - (place - LEFT) / width);
    later();
  });
  picture.addEventListener('pointerleave', () => {
    read = null;
    later();
  });
  picture.addEventListener('blur', () => {
    read = null;
    later();
  });
  picture.addEventListener('keydown', (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    const rows = inside();
    if (!by || !rows.length) return;
    event.preventDefault();
    const here = read === null ? rows.length : nearest(rows, read);
    read = rows[Math.max(0, Math.min(rows.length - 1, here + by))].at;
    said.setAttribute('aria-live', 'polite');
    later();
  });

  function draw() {
    const rows = inside();
    const width = Math.max(240, box.clientWidth);
    set(picture, { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}` });
    const from = view.now - view.span * 1000;
    /** @param {number} at */
    const x = (at) => LEFT + ((at - from) / (view.span * 1000)) * (width - LEFT - RIGHT);
    const values = rows.flatMap((row) =>
      lines.map(({ key }) => row[key]).filter((value) => value !== null && value > 0),
    );
    const { ticks, y } = scale === 'log' ? logarithmic(values) : linear(values);
    /** @type {{key: string, value?: number, at?: number, words?: string}[]} */
    const gridLines = [
      ...ticks.map((value) => ({ key: `y${value}`, value })),
      ...times(from, view, width),
    ];
    keyed(
      grid,
      gridLines,
      ({ key }) => key,
      () => svg('g', {}, svg('line', {}), svg('text', {})),
      (group, tick) => {
        const [line, words] = group.children;
        if (tick.value !== undefined) {
          set(line, { x1: LEFT, x2: width - RIGHT, y1: y(tick.value), y2: y(tick.value) });
          set(words, { x: LEFT - 6, y: y(tick.value), dy: '0.32em', 'text-anchor': 'end' });
          text(words, show(tick.value));
        } else if (tick.at !== undefined) {
          set(line, {
            x1: x(tick.at),
            x2: x(tick.at),
            y1: HEIGHT - BOTTOM,
            y2: HEIGHT - BOTTOM + 4,
          });
          set(words, { x: x(tick.at), y: HEIGHT - 6, 'text-anchor': 'middle' });
          text(words, tick.words ?? '');
        }
      },
    );
    keyed(
      marks,
      view.marks.filter(({ at }) => at > from),
      ({ key }) => key,
      () => svg('g', {}, svg('title', {}), svg('line', {}), svg('path', {})),
      (group, mark) => {
        const [about, line, sign] = group.children;
        set(group, { class: mark.cls });
        text(about, mark.about);
        set(line, { x1: x(mark.at), x2: x(mark.at), y1: TOP, y2: HEIGHT - BOTTOM });
        set(sign, { d: signOf(mark, x(mark.at)) });
      },
    );
    keyed(
      paths,
      lines,
      ({ key }) => key,
      () => svg('path', {}),
      (path, line) => set(path, { class: `line ${line.cls}`, d: trace(rows, line.key, x, y) }),
    );
    const here = read === null || !rows.length ? null : rows[nearest(rows, read)];
    const row = here ?? rows.at(-1);
    cursor.style.display = here ? '' : 'none';
    if (here) set(cursorLine, { x1: x(here.at), x2: x(here.at), y1: TOP, y2: HEIGHT - BOTTOM });
    const words = row
      ? `${clock(row.at)}  ${lines.map((line) => `${line.name} ${told(row[line.key])}`).join(' · ')}`
      : t('live.no-samples');
    text(said, words);
    set(picture, { 'aria-label': `${title}, ${unit}. ${words}. ${t('live.chart-keys')}` });
    if (table.open) tabulate();
  }

  /** @param {number | null | undefined} value */
  const told = (value) => (value === null || value === undefined ? '–' : show(value));

  /** The last minute, latest first: drawn only while the table is open. */
  function tabulate() {
    if (!table.open) return;
    const rows = inside().slice(-60).reverse();
    let body = tableHost.querySelector('tbody');
    if (!body) {
      body = h('tbody', {});
      replace(
        tableHost,
        h(
          'table',
          { class: 'figures' },
          h('caption', { class: 'sr-only' }, `${title}, ${unit}`),
          h(
            'thead',
            {},
            h(
              'tr',
              {},
              h('th', { scope: 'col' }, t('live.time')),
              lines.map((line) => h('th', { scope: 'col' }, line.name)),
            ),
          ),
          body,
        ),
      );
    }
    keyed(
      body,
      rows,
      ({ at }) => at,
      (row) =>
        h(
          'tr',
          {},
          h('th', { scope: 'row' }, clock(row.at)),
          lines.map((line) => h('td', {}, told(row[line.key]))),
        ),
    );
  }

  return {
    /** @param {ChartView} next */
    update(next) {
      view = { ...view, ...next };
      later();
    },
    destroy() {
      watch.disconnect();
      later.stop();
      box.remove();
    },
  };
}

/**
 * A crown for a new leader, a cross for a fault.
 * @param {ChartMark} mark
 * @param {number} x
 */
function signOf({ cls }, x) {
  const f = x.toFixed(1);
  return cls === 'is-bad'
    ? `M${f} ${TOP - 3}m-3.5 -3.5l7 7m-7 0l7 -7`
    : `M${f} ${TOP + 1}l-4.5 -7h9z`;
}

/**
 * @param {any[]} rows
 * @param {string} key
 * @param {(value: number) => number} x
 * @param {(value: number) => number} y
 */
function trace(rows, key, x, y) {
  let d = '';
  let last = null;
  for (const row of rows) {
    const value = row[key];
    if (value === null || value === undefined) continue;
    d += `${last !== null && row.at - last < HOLE ? 'L' : 'M'}${x(row.at).toFixed(1)} ${y(value).toFixed(1)}`;
    // A single value is a dot.
    if (last === null || row.at - last >= HOLE) d += 'h0.01';
    last = row.at;
  }
  return d;
}

const height = HEIGHT - TOP - BOTTOM;

/** @param {number[]} values */
function linear(values) {
  const most = Math.max(1, ...values);
  const power = 10 ** Math.floor(Math.log10(most));
  const step =
    [0.2, 0.5, 1, 2, 5, 10].map((by) => by * power).find((by) => most / by <= 4.2) ?? power;
  const top = Math.ceil(most / step) * step;
  const ticks = [];
  for (let value = 0; value <= top + step / 2; value += step)
    ticks.push(Number(value.toPrecision(6)));
  return { ticks, y: (/** @type {number} */ value) => TOP + height * (1 - value / top) };
}

/** @param {number[]} values */
function logarithmic(values) {
  const low = Math.floor(Math.log10(Math.max(0.001, Math.min(1, ...values))));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(10, ...values))));
  const ticks = [];
  for (let power = low; power <= high; power += 1) ticks.push(10 ** power);
  return {
    ticks,
    y: (/** @type {number} */ value) =>
      TOP + height * (1 - (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low)),
  };
}

/**
 * @param {number} from
 * @param {ChartView} view
 * @param {number} width
 */
function times(from, { now, span }, width) {
  const room = Math.max(2, Math.floor((width - LEFT) / 90));
  const step = [10, 15, 30, 60, 120, 300].find((seconds) => span / seconds <= room) ?? 300;
  const ticks = [];
  for (
    let at = Math.ceil(from / 1000 / step) * step * 1000;
    at <= now - span * 40;
    at += step * 1000
  )
    ticks.push({ key: `x${at}`, at, words: clock(at, step % 60 === 0) });
  return ticks;
}

/**
 * @param {{at: number}[]} rows
 * @param {number} at
 */
function nearest(rows, at) {
  let best = 0;
  rows.forEach((row, place) => {
    if (Math.abs(row.at - at) < Math.abs(rows[best].at - at)) best = place;
  });
  return best;
}

/**
 * The time of day.
 * @param {number} at
 */
export function clock(at, short = false) {
  return new Date(at).toLocaleTimeString(
    currentLanguage() === 'es' ? 'es-ES' : 'en-GB',
    short ? { hour: '2-digit', minute: '2-digit' } : undefined,
  );
}
