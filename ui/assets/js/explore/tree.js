// The tree of visited states: the list that shows it.
//
//   const tree = Tree(host, {onVisit(path)}); tree.update({visited, path, n});
//
// The current path runs straight down; other branches are indented where they diverge from it. The
// arrow keys move the selection, Enter opens the selected state.

import { drawing, h, keyed, replace, set } from '../dom.js';
import { t } from '../i18n.js';
import { flatten, pathOf } from './visited.js';

/**
 * @typedef {import('./visited.js').TreeNode} TreeNode
 * @typedef {import('./visited.js').TreeRow & {place: number}} Row
 */

/** The number of rows, around the current state. */
const ROWS = 300;

/**
 * @param {HTMLElement} host
 * @param {{onVisit: (path: string[]) => void}} options
 */
export function Tree(host, { onVisit }) {
  const list = h('div', {
    class: 'tree',
    role: 'tree',
    'aria-label': t('explore.tree'),
    onkeydown: keys,
  });
  host.append(list);
  /** @type {Row[]} */
  let rows = [];
  let focused = 0;
  /** @type {{visited: import('./visited.js').Visited, path: string[], n: number}} */
  let view;
  const sheet = drawing(list, () => {
    if (view) draw();
  });

  /** @param {KeyboardEvent} event */
  function keys(event) {
    if (event.key === 'Enter' || event.key === ' ') onVisit(pathOf(rows[focused].node));
    else {
      const place = placeOfKey(event.key, rows, focused);
      if (place === null) return;
      if (place >= 0) focus(place);
    }
    event.preventDefault();
  }

  /** @param {number} place */
  function focus(place) {
    const items = /** @type {HTMLElement[]} */ ([...list.querySelectorAll('[role="treeitem"]')]);
    items[focused]?.setAttribute('tabindex', '-1');
    focused = place;
    items[place]?.setAttribute('tabindex', '0');
    items[place]?.focus();
  }

  function draw() {
    const { visited, path, n } = view;
    rows = around(flatten(visited.root, path, n)).map((row, place) => ({ ...row, place }));
    focused = placeOfHere(rows);
    const isFocused = list.contains(document.activeElement);
    keyed(
      list,
      rows,
      ({ node }) => node,
      () => h('div', { role: 'treeitem' }),
      (item, row) => {
        item.onclick = () => onVisit(pathOf(row.node));
        drawItem(item, row, row.place === focused);
      },
    );
    const item = /** @type {HTMLElement | undefined} */ (list.children[focused]);
    if (isFocused) item?.focus();
    else if (item && list.clientHeight)
      list.scrollTop = Math.max(0, item.offsetTop - list.offsetTop - list.clientHeight / 2);
  }

  return {
    /** @param {{visited: import('./visited.js').Visited, path: string[], n: number}} next */
    update(next) {
      view = next;
      sheet.later();
    },
    destroy() {
      sheet.stop();
      list.remove();
    },
  };
}

/** @param {{isHere: boolean}[]} rows */
const placeOfHere = (rows) =>
  Math.max(
    0,
    rows.findIndex(({ isHere }) => isHere),
  );

/**
 * The rows around the current state.
 * @template {{isHere: boolean}} R
 * @param {R[]} all
 */
function around(all) {
  const from = Math.max(0, Math.min(placeOfHere(all) - ROWS / 2, all.length - ROWS));
  return all.slice(from, from + ROWS);
}

/**
 * The row to which a key moves the focus, -1 if there is none, or `null` for other keys.
 * @param {string} key
 * @param {{node: TreeNode}[]} rows
 * @param {number} focused
 */
function placeOfKey(key, rows, focused) {
  const last = rows.length - 1;
  /** @param {TreeNode | null | undefined} node */
  const placeOf = (node) => rows.findIndex((row) => row.node === node);
  const { node } = rows[focused];
  const run = {
    ArrowDown: () => Math.min(last, focused + 1),
    ArrowUp: () => Math.max(0, focused - 1),
    Home: () => 0,
    End: () => last,
    ArrowLeft: () => placeOf(node.parent),
    ArrowRight: () => placeOf([...node.children.values()][0]),
  }[key];
  return run ? run() : null;
}

/**
 * @param {PageElement} item
 * @param {Row} row
 * @param {boolean} isFocused
 */
function drawItem(item, { node, indent, onPath, isHere, place }, isFocused) {
  const state = `${onPath ? ' is-on-path' : ''}${isHere ? ' is-here' : ''}${node.isViolated ? ' is-violated' : ''}`;
  set(item, {
    class: `tree-item${state}`,
    'aria-level': indent + 1,
    'aria-current': isHere ? 'step' : null,
    tabindex: isFocused ? 0 : -1,
  });
  const isBranch = node.parent !== null && node.parent.children.size > 1;
  const hasSign = isBranch && indent > 0 && place !== 0;
  const looks = `${indent} ${hasSign} ${node.words?.words}`;
  if (item.looks === looks) return;
  item.looks = looks;
  const words = node.words?.words ?? node.key;
  set(item, { style: { 'padding-left': `${Math.min(indent, 8) * 14 + 6}px` } });
  replace(
    item,
    h('span', { class: 'tree-number' }, node.depth),
    hasSign && h('span', { class: 'dim', 'aria-hidden': 'true' }, '⤷ '),
    node.key === null
      ? t('explore.tree-start')
      : h('span', { class: `mono ${node.words?.cls ?? ''}` }, words),
    node.isViolated && ' ✗',
  );
}
