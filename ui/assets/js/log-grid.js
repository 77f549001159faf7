// The logs of all servers, one row each, one column for each index.
//
//   const grid = LogGrid(host, {});
//   grid.update({at: timeline.at(n), accused: {index: 2, servers: ['server 1']}});
//
// A cell has the color and the number of its term, and the entry's command. Signs below it: ✓ committed
// as far as that server knows, ● on disk, ○ not on disk yet, ▲ applied (if the source reports it).
// Entries that are on disk but removed from memory are struck through. One cell at the left stands for
// the snapshot. Of a long log a window is visible, which follows the last entries until the reader moves
// it.

import { command } from './describe.js';
import { drawing, h, keyed, replace, set, text } from './dom.js';
import { t } from './i18n.js';
import { diskBase, isDown, logOf, splitName, termOf } from './timeline.js';
import { who, initial } from './describe.js';

/**
 * A cell; the first one of a row is its name.
 * @typedef {{
 *   index: number, cls?: string, about?: string | null, term?: string, says?: string, signs?: string,
 * }} LogCell
 * @typedef {{at: Picture, accused?: Accused | null}} LogView
 * @typedef {{
 *   name: string, snapshot: Snapshot | null, log: ReturnType<typeof logOf>,
 *   disk: ReturnType<typeof diskOf>, before: ReturnType<typeof logOf> | null,
 * }} LogRow
 */

const CELL = 78;
const HEAD = 74;

/** @param {HTMLElement} host */
export function LogGrid(host) {
  const head = h('div', { class: 'log-row log-head', role: 'row' });
  const body = h('div', { role: 'rowgroup' });
  const table = h(
    'div',
    { class: 'log-table', role: 'table', 'aria-label': t('stage.log-title') },
    h('div', { role: 'rowgroup' }, head),
    body,
  );
  const where = h('span', { class: 'dim small', 'aria-live': 'polite' });
  /**
   * @param {string} words
   * @param {string} name
   * @param {number} by
   */
  const move = (words, name, by) =>
    h(
      'button',
      {
        type: 'button',
        class: 'quiet',
        'aria-label': t(name),
        title: t(name),
        onclick: () => shift(by),
      },
      words,
    );
  const tools = h(
    'div',
    { class: 'log-tools' },
    move('«', 'stage.log-first', -Infinity),
    move('‹', 'stage.log-earlier', -1),
    where,
    move('›', 'stage.log-later', 1),
    move('»', 'stage.log-last', Infinity),
  );
  const legend = h(
    'div',
    { class: 'log-legend' },
    [
      ['✓', 'committed'],
      ['●', 'durable'],
      ['○', 'volatile'],
      ['▲', 'applied'],
    ].map(([sign, name]) =>
      h('span', {}, h('b', { 'aria-hidden': 'true' }, sign), ' ', t(`stage.log-${name}`)),
    ),
  );
  const box = h(
    'div',
    { class: 'log-grid' },
    table,
    h('div', { class: 'log-foot' }, legend, tools),
  );
  host.append(box);

  /** @type {LogView & {window: {from: number, shownCount: number, last: number, lowest: number}}} */
  let view;
  /** @type {number | null} */
  let first = null;
  const sheet = drawing(box, () => {
    if (view) draw();
  });

  /** @param {number} by */
  function shift(by) {
    const { from, shownCount, last, lowest } = view.window;
    const furthest = Math.max(lowest, last - shownCount + 1);
    const next =
      by === Infinity
        ? null
        : Math.max(
            lowest,
            Math.min(furthest, by === -Infinity ? lowest : from + by * Math.max(1, shownCount - 1)),
          );
    first = next === furthest ? null : next;
    draw();
  }

  function draw() {
    drawWindow();
    // The entry of a violation is always visible.
    const index = view.accused?.index;
    if (index && (index < view.window.from || index >= view.window.from + view.window.shownCount)) {
      first = Math.max(1, index - 1);
      drawWindow();
    }
  }

  function drawWindow() {
    const { at, accused = null } = view;
    const rows = at.names
      .filter((name) => splitName(name).kind === 'server' && at.processes[name])
      .map((name) => row(at, name));
    const last = Math.max(0, ...rows.map(({ log, disk }) => Math.max(log.last, disk.last)));
    const lowest = Math.max(1, Math.min(...rows.map(({ log }) => log.start), last || 1));
    const shownCount = Math.max(3, Math.floor((sheet.size.width - HEAD - 6) / CELL));
    const from = Math.max(lowest, first ?? Math.max(lowest, last - shownCount + 1));
    const to = Math.min(Math.max(last, lowest), from + shownCount - 1);
    view.window = { from, shownCount, last, lowest };
    /** @type {number[]} */
    const columns = [];
    for (let index = from; index <= to; index += 1) columns.push(index);
    table.style.setProperty('--columns', String(columns.length));
    replace(
      head,
      h('div', { class: 'log-name', role: 'columnheader' }, t('stage.log-index')),
      columns.map((index) =>
        h(
          'div',
          {
            class: `log-index${accused?.index === index ? ' is-accused' : ''}`,
            role: 'columnheader',
          },
          String(index),
        ),
      ),
    );
    keyed(
      body,
      rows,
      ({ name }) => name,
      () => h('div', { class: 'log-row', role: 'row' }),
      (element, one) => drawRow(element, one, columns, accused),
    );
    const fits = last - lowest + 1 <= shownCount;
    tools.hidden = fits;
    text(where, last === 0 ? t('stage.log-empty') : t('stage.log-window', { from, to, last }));
  }

  /**
   * @param {Picture} at
   * @param {string} name
   */
  function row(at, name) {
    const snapshot = at.processes[name];
    const acting = at.step?.process === name;
    return {
      name,
      snapshot,
      log: logOf(snapshot),
      disk: diskOf(snapshot),
      before: acting ? logOf(at.before) : null,
    };
  }

  /**
   * @param {PageElement} element
   * @param {LogRow} row
   * @param {number[]} columns
   * @param {Accused | null} accused
   */
  function drawRow(element, { name, snapshot, log, disk, before }, columns, accused) {
    const down = isDown(snapshot);
    const blamed = accused?.servers?.includes(name);
    set(element, { class: `log-row${down ? ' is-down' : ''}${blamed ? ' is-accused' : ''}` });
    /** @type {LogCell[]} */
    const cells = [
      { index: 0 },
      ...columns.map((index) =>
        cell(index, log, disk, down, before, Boolean(blamed) && accused?.index === index),
      ),
    ];
    keyed(
      element,
      cells,
      ({ index }) => index,
      () => h('div', {}),
      (box, one) => {
        if (one.cls === undefined) {
          set(box, {
            class: `log-name term-${termOf(snapshot) % 8}`,
            role: 'rowheader',
            'aria-label': who(name),
          });
          replace(
            box,
            h('span', {}, initial(name)),
            down && h('span', { class: 'log-state' }, t('stage.role-down')),
          );
          return;
        }
        set(box, { class: one.cls, role: 'cell', title: one.about, 'aria-label': one.about });
        const signature = `${one.term}|${one.says}|${one.signs}`;
        if (box.signature === signature) return;
        box.signature = signature;
        replace(
          box,
          one.says && [
            h('b', {}, one.term),
            h('span', { class: 'log-says' }, one.says),
            h('span', { class: 'log-signs', 'aria-hidden': 'true' }, one.signs),
          ],
        );
      },
    );
  }

  return {
    /** @param {LogView} next */
    update(next) {
      const wasAt = view?.at;
      view = { ...next, window: view?.window };
      if (wasAt && wasAt.last !== next.at.last && next.at.n === next.at.last) first = null;
      sheet.later();
    },
    destroy() {
      sheet.stop();
      box.remove();
    },
  };
}

/** @param {Snapshot | null} snapshot */
function diskOf(snapshot) {
  const disk = snapshot?.disk;
  const start = disk ? (disk.log_start ?? diskBase(disk) + 1) : logOf(snapshot).start;
  const log = disk?.log ?? [];
  return { start, log, last: start + log.length - 1 };
}

/**
 * @param {number} index
 * @param {ReturnType<typeof logOf>} log
 * @param {ReturnType<typeof diskOf>} disk
 * @param {boolean} down
 * @param {ReturnType<typeof logOf> | null} before
 * @param {boolean} accused
 */
function cell(index, log, disk, down, before, accused) {
  const entry = log.log[index - log.start];
  const onDisk = disk.log[index - disk.start];
  if (!entry) {
    if (index <= log.snapshot && index < log.start) {
      return {
        index,
        cls: 'log-cell is-snapshot',
        about: `${index}: ${t('stage.log-in-snapshot')}`,
        term: '',
        says: '▤',
        signs: '',
      };
    }
    if (onDisk && !down) {
      const about = `${t('stage.log-entry', { index, term: onDisk.term, command: command(onDisk) })}: ${t('stage.log-gone')}`;
      return {
        index,
        cls: `log-cell is-gone term-${onDisk.term % 8}`,
        about,
        term: `t${onDisk.term}`,
        says: command(onDisk),
        signs: '',
      };
    }
    return { index, cls: 'log-cell is-none', about: null, term: '', says: '', signs: '' };
  }
  const old = before?.log[index - before.start];
  const fresh = before && (!old || old.term !== entry.term);
  const committed = index <= log.commit;
  const durable = index <= log.durable;
  const applied = log.applied !== null && index <= log.applied;
  const committedNow = before && committed && index > before.commit;
  const words = [
    t(committed ? 'stage.log-committed' : 'stage.log-uncommitted'),
    t(durable ? 'stage.log-durable' : 'stage.log-volatile'),
    applied && t('stage.log-applied'),
    index <= log.snapshot && t('stage.log-in-snapshot'),
    fresh && t('stage.log-new'),
    accused && t('stage.log-accused'),
  ].filter(Boolean);
  return {
    index,
    term: `t${entry.term}`,
    says: command(entry),
    signs: `${committed ? '✓' : ''}${durable ? '●' : '○'}${applied ? '▲' : ''}`,
    about: `${t('stage.log-entry', { index, term: entry.term, command: command(entry) })}: ${words.join(', ')}`,
    cls: [
      'log-cell',
      `term-${entry.term % 8}`,
      committed && 'is-committed',
      !durable && 'is-volatile',
      (fresh || committedNow) && 'is-fresh',
      accused && 'is-accused',
    ]
      .filter(Boolean)
      .join(' '),
  };
}
