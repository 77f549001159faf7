// Draws a row of the log grid: the name of the server, and a cell for each visible index.
//
//   drawRow(element, row, indexes, accused);      // `row` is one of `rowsOf` (cells.js)

import { initial, who } from '../describe.js';
import { h, keyed, replace, set } from '../dom.js';
import { t } from '../i18n.js';
import { isDown, termOf } from '../timeline.js';
import { cellOf } from './cells.js';

/** The key of the first cell of a row, which has the name. Indexes begin at 1. */
const NAME = 0;

/**
 * @param {PageElement} element
 * @param {import('./cells.js').LogRow} row
 * @param {number[]} indexes
 * @param {Accused | null} accused
 */
export function drawRow(element, row, indexes, accused) {
  const isAccused = Boolean(accused?.servers?.includes(row.name));
  const state = `${isDown(row.snapshot) ? ' is-down' : ''}${isAccused ? ' is-accused' : ''}`;
  set(element, { class: `log-row${state}` });
  keyed(
    element,
    [NAME, ...indexes],
    (index) => index,
    () => h('div', {}),
    (box, index) => {
      if (index === NAME) drawName(box, row);
      else drawCell(box, cellOf(row, index, isAccused && accused?.index === index));
    },
  );
}

/**
 * @param {Element} box
 * @param {import('./cells.js').LogRow} row
 */
function drawName(box, { name, snapshot }) {
  const cls = `log-name term-${termOf(snapshot) % 8}`;
  set(box, { class: cls, role: 'rowheader', 'aria-label': who(name) });
  replace(
    box,
    h('span', {}, initial(name)),
    isDown(snapshot) && h('span', { class: 'log-state' }, t('stage.role-down')),
  );
}

/**
 * @param {PageElement} box
 * @param {import('./cells.js').LogCell} cell
 */
function drawCell(box, { cls, about, term, says, signs }) {
  set(box, { class: cls, role: 'cell', title: about, 'aria-label': about });
  const signature = `${term}|${says}|${signs}`;
  if (box.signature === signature) return;
  box.signature = signature;
  replace(
    box,
    says && [
      h('b', {}, term),
      h('span', { class: 'log-says' }, says),
      h('span', { class: 'log-signs', 'aria-hidden': 'true' }, signs),
    ],
  );
}
