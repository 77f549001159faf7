// The logs of all servers, one row each, one column for each index.
//
//   const grid = LogGrid(host);
//   grid.update({at: timeline.at(n), accused: {index: 2, servers: ['server 1']}});
//
// A cell has the color and the number of its term, and the entry's command. Signs below it: ✓ committed
// as far as that server knows, ● on disk, ○ not on disk yet, ▲ applied (if the source reports it).
// Entries that are on disk but removed from memory are struck through. One cell at the left stands for
// the snapshot. Of a long log a window is visible, which follows the last entries until the reader moves
// it.
//
// The parts: `log-grid/window.js` (the visible indexes), `log-grid/cells.js` (cells as data),
// `log-grid/row.js` (draws a row).

import { drawing, h, keyed, replace, text } from './dom.js';
import { t } from './i18n.js';
import { extentOf, rowsOf } from './log-grid/cells.js';
import { drawRow } from './log-grid/row.js';
import { LogWindow } from './log-grid/window.js';

/** @typedef {{at: Picture, accused?: Accused | null}} LogView */

/** The width of a cell, and of the names at the left, in pixels. */
const CELL = 78;
const HEAD = 74;

/** @param {HTMLElement} host */
export function LogGrid(host) {
  const shown = new LogWindow();
  const head = h('div', { class: 'log-row log-head', role: 'row' });
  const body = h('div', { role: 'rowgroup' });
  const table = h(
    'div',
    { class: 'log-table', role: 'table', 'aria-label': t('stage.log-title') },
    h('div', { role: 'rowgroup' }, head),
    body,
  );
  const where = h('span', { class: 'dim small', 'aria-live': 'polite' });
  const tools = windowTools(where, (by) => {
    shown.shift(by);
    draw();
  });
  const foot = h('div', { class: 'log-foot' }, legend(), tools);
  const box = h('div', { class: 'log-grid' }, table, foot);
  host.append(box);

  /** @type {LogView} */
  let view;
  const sheet = drawing(box, () => {
    if (view) draw();
  });

  function draw() {
    const { at, accused = null } = view;
    const rows = rowsOf(at);
    const count = Math.max(3, Math.floor((sheet.size.width - HEAD - 6) / CELL));
    shown.fit({ ...extentOf(rows), count });
    // The entry of a violation is always visible.
    if (accused?.index) shown.reveal(accused.index);
    const { indexes, from, to, last } = shown;
    table.style.setProperty('--columns', String(indexes.length));
    drawHead(head, indexes, accused);
    keyed(
      body,
      rows,
      ({ name }) => name,
      () => h('div', { class: 'log-row', role: 'row' }),
      (element, row) => drawRow(element, row, indexes, accused),
    );
    tools.hidden = shown.isWhole;
    text(where, last === 0 ? t('stage.log-empty') : t('stage.log-window', { from, to, last }));
  }

  return {
    /** @param {LogView} next */
    update(next) {
      const before = view?.at;
      view = next;
      if (before && before.last !== next.at.last && next.at.n === next.at.last) shown.follow();
      sheet.later();
    },
    destroy() {
      sheet.stop();
      box.remove();
    },
  };
}

/**
 * The buttons that move the window.
 * @param {Element} where
 * @param {(by: number) => void} onShift
 */
function windowTools(where, onShift) {
  /**
   * @param {string} words
   * @param {string} name
   * @param {number} by
   */
  const button = (words, name, by) => {
    const label = { 'aria-label': t(name), title: t(name) };
    return h(
      'button',
      { type: 'button', class: 'quiet', ...label, onclick: () => onShift(by) },
      words,
    );
  };
  return h(
    'div',
    { class: 'log-tools' },
    button('«', 'stage.log-first', -Infinity),
    button('‹', 'stage.log-earlier', -1),
    where,
    button('›', 'stage.log-later', 1),
    button('»', 'stage.log-last', Infinity),
  );
}

/** The meaning of the signs. */
function legend() {
  const signs = [
    ['✓', 'committed'],
    ['●', 'durable'],
    ['○', 'volatile'],
    ['▲', 'applied'],
  ];
  return h(
    'div',
    { class: 'log-legend' },
    signs.map(([sign, name]) =>
      h('span', {}, h('b', { 'aria-hidden': 'true' }, sign), ' ', t(`stage.log-${name}`)),
    ),
  );
}

/**
 * The row of the indexes.
 * @param {Element} head
 * @param {number[]} indexes
 * @param {Accused | null} accused
 */
function drawHead(head, indexes, accused) {
  /** @param {number} index */
  const column = (index) => {
    const cls = `log-index${accused?.index === index ? ' is-accused' : ''}`;
    return h('div', { class: cls, role: 'columnheader' }, String(index));
  };
  const name = h('div', { class: 'log-name', role: 'columnheader' }, t('stage.log-index'));
  replace(head, name, indexes.map(column));
}
