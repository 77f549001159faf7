// The values of a chart as a table, which the reader opens: the last minute, latest first.
//
//   const table = ChartTable({title, unit, lines, show, rows: () => rows});
//   table.element
//   table.draw();                        // after new rows; does nothing while the table is closed

import { h, keyed, replace } from '../dom.js';
import { t } from '../i18n.js';
import { clock } from './chart-scale.js';

/** The number of rows. */
const ROWS = 60;

/**
 * `rows` returns the samples, earliest first. `show` writes a value, which may be missing.
 * @param {{
 *   title: string, unit: string, lines: import('./chart-picture.js').ChartLine[],
 *   show: (value: number | null | undefined) => string, rows: () => any[],
 * }} options
 */
export function ChartTable({ title, unit, lines, show, rows }) {
  const host = h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': title });
  const element = h(
    'details',
    { class: 'chart-table', ontoggle: draw },
    h('summary', {}, t('live.as-table')),
    host,
  );
  /** @type {HTMLElement | null} */
  let body = null;

  function create() {
    const names = lines.map(({ name }) => h('th', { scope: 'col' }, name));
    const created = h('tbody', {});
    replace(
      host,
      h(
        'table',
        { class: 'figures' },
        h('caption', { class: 'sr-only' }, `${title}, ${unit}`),
        h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, t('live.time')), names)),
        created,
      ),
    );
    return created;
  }

  /** @param {any} row */
  const make = (row) =>
    h(
      'tr',
      {},
      h('th', { scope: 'row' }, clock(row.at)),
      lines.map(({ key }) => h('td', {}, show(row[key]))),
    );

  function draw() {
    if (!element.open) return;
    body ??= create();
    keyed(body, rows().slice(-ROWS).reverse(), ({ at }) => at, make);
  }

  return { element, draw };
}
