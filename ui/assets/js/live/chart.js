// A chart of values over time: lines with distinct patterns and names, axes with units, and marks for
// events. A pointer or the arrow keys select a point in time; a table shows the same values.
//
//   const chart = Chart(host, {title, unit, lines: [{key, name, cls}], scale: 'linear'|'log', show(value)});
//   chart.update({rows: [{at, reads: 12, ...}], span: 120, marks: [{at, cls, about}], now});
//
// `chart-scale.js` computes positions, `chart-picture.js` draws, `chart-table.js` has the table.

import { eachFrame, h, set, svg, text } from '../dom.js';
import { t } from '../i18n.js';
import { ChartPicture } from './chart-picture.js';
import { clock, nearest, timeAt } from './chart-scale.js';
import { ChartTable } from './chart-table.js';

/**
 * @typedef {import('./chart-picture.js').ChartLine} ChartLine
 * @typedef {{
 *   rows: any[], span: number, marks: import('./chart-picture.js').ChartMark[], now: number,
 * }} ChartView
 */

/**
 * @param {HTMLElement} host
 * @param {{
 *   title: string, unit: string, lines: ChartLine[], scale?: string,
 *   show: (value: number) => string,
 * }} options
 */
export function Chart(host, { title, unit, lines, scale = 'linear', show }) {
  /** @param {number | null | undefined} value */
  const shown = (value) => (value === null || value === undefined ? '–' : show(value));
  const picture = ChartPicture({ lines, scale, show });
  const table = ChartTable({ title, unit, lines, show: shown, rows: inside });
  const said = h('p', { class: 'chart-said small', 'aria-live': 'off' });
  const caption = h('h3', {}, title, ' ', h('span', { class: 'dim' }, unit));
  const box = h(
    'figure',
    { class: 'chart' },
    h('figcaption', {}, caption, legend(lines)),
    picture.element,
    said,
    table.element,
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

  const isInside = (/** @type {{at: number}} */ { at }) => at > view.now - view.span * 1000;
  function inside() {
    return view.rows.filter(isInside);
  }

  /** @param {number | null} at */
  function select(at) {
    read = at;
    later();
  }

  /** @param {KeyboardEvent} event */
  function keys(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    const rows = inside();
    if (!by || !rows.length) return;
    event.preventDefault();
    const here = read === null ? rows.length : nearest(rows, read);
    said.setAttribute('aria-live', 'polite');
    select(rows[Math.max(0, Math.min(rows.length - 1, here + by))].at);
  }

  set(picture.element, {
    onpointermove: (/** @type {PointerEvent} */ { clientX }) => {
      const place = clientX - picture.element.getBoundingClientRect().left;
      select(timeAt(place, view, picture.element.clientWidth));
    },
    onpointerleave: () => select(null),
    onblur: () => select(null),
    onkeydown: keys,
  });

  function draw() {
    const rows = inside();
    const here = read === null || !rows.length ? null : rows[nearest(rows, read)];
    const width = Math.max(240, box.clientWidth);
    picture.draw({ rows, marks: view.marks.filter(isInside), view, width, here });
    const row = here ?? rows.at(-1);
    const words = row
      ? `${clock(row.at)}  ${lines.map(({ name, key }) => `${name} ${shown(row[key])}`).join(' · ')}`
      : t('live.no-samples');
    text(said, words);
    const label = `${title}, ${unit}. ${words}. ${t('live.chart-keys')}`;
    set(picture.element, { 'aria-label': label });
    table.draw();
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

/** @param {ChartLine[]} lines */
function legend(lines) {
  /** @param {ChartLine} line */
  const item = ({ name, cls }) => {
    const pattern = svg('path', { d: 'M1 5H25', class: `line ${cls}` });
    return h('li', {}, svg('svg', { width: 26, height: 10, 'aria-hidden': 'true' }, pattern), name);
  };
  return h('ul', { class: 'chart-legend plain' }, lines.map(item));
}
