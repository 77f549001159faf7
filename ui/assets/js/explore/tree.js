// The tree of visited states: one for each world, kept for the session, including reloads.
//
//   const visited = new Visited(worldName); visited.add(keys, steps); visited.paths()
//   const tree = Tree(host, {onVisit(path)}); tree.update({visited, path, n});
//
// The current path runs straight down; other branches are indented where they diverge from it. The
// arrow keys move the selection, Enter opens the selected state.

import { family, initial, label } from '../describe.js';
import { drawing, h, keyed, replace, set } from '../dom.js';
import { t } from '../i18n.js';
import { eventOf } from '../timeline.js';

/**
 * @typedef {{
 *   key: string | null, children: Map<string, TreeNode>, depth: number, parent: TreeNode | null,
 *   words: {words: string, cls: string} | null, broken?: boolean,
 * }} TreeNode
 * @typedef {{node: TreeNode, indent: number, onPath: boolean, isHere: boolean, place?: number}} TreeRow
 */

const ROWS = 300;
const KEPT = 120;

export class Visited {
  /** @param {string} world */
  constructor(world) {
    this.world = `stateraft.visited.${world}`;
    /** @type {TreeNode} */
    this.root = { key: null, children: new Map(), depth: 0, parent: null, words: null };
    try {
      for (const path of JSON.parse(sessionStorage.getItem(this.world) ?? '[]'))
        path.split('.').reduce(grown, this.root);
    } catch {
      /* An unreadable tree is discarded. */
    }
  }

  /**
   * Adds a path; the steps of a trace provide the words.
   * @param {string[]} keys
   * @param {Step[]} steps
   */
  add(keys, steps) {
    let node = this.root;
    keys.forEach((key, place) => {
      node = grown(node, key);
      if (steps[place] && !node.words) {
        node.words = shortWords(steps[place]);
        node.broken = Boolean(steps[place].broken?.length);
      }
    });
    this.keep();
  }

  keep() {
    const leaves = [];
    /** @type {[TreeNode, string][]} */
    const open = [[this.root, '']];
    for (let next = open.pop(); next; next = open.pop()) {
      const [node, path] = next;
      if (!node.children.size && path) leaves.push(path);
      for (const [key, child] of node.children) open.push([child, path ? `${path}.${key}` : key]);
    }
    try {
      sessionStorage.setItem(this.world, JSON.stringify(leaves.slice(-KEPT)));
    } catch {
      /* The storage is full: the tree lives as long as the page. */
    }
  }
}

/**
 * The child of a node, created if necessary.
 * @param {TreeNode} node
 * @param {string} key
 * @returns {TreeNode}
 */
function grown(node, key) {
  let next = node.children.get(key);
  if (!next) {
    next = { key, children: new Map(), depth: node.depth + 1, parent: node, words: null };
    node.children.set(key, next);
  }
  return next;
}

/**
 * 'S1 ← Vote t2 ✓', 'S2 time out'.
 * @param {Step} step
 */
function shortWords(step) {
  const held = eventOf(step);
  const me = initial(step.process);
  const message = held.envelope?.message;
  if (held.name === 'Deliver')
    return { words: `${me} ← ${label(message)}`, cls: `is-${family(message)}` };
  if (held.name === 'Drop') return { words: `${me} ✕ ${label(message)}`, cls: '' };
  const key = `explore.did-${held.name.toLowerCase()}`;
  return { words: `${me} ${t(key) === key ? held.name : t(key)}`, cls: '' };
}

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
  /** @type {TreeRow[]} */
  let rows = [];
  let focused = 0;
  /** @type {{visited: Visited, path: string[], n: number}} */
  let view;
  const sheet = drawing(list, () => {
    if (view) draw();
  });

  /**
   * @param {TreeNode} node
   * @returns {string[]}
   */
  function pathOf(node) {
    /** @type {string[]} */
    const path = [];
    for (let at = node; at.parent && at.key !== null; at = at.parent) path.unshift(at.key);
    return path;
  }

  /**
   * @param {TreeNode} root
   * @param {string[]} path
   * @param {number} depth
   */
  function flatten(root, path, depth) {
    /** @type {TreeRow[]} */
    const found = [];
    /** @param {TreeNode} node @param {number} indent @param {boolean} onPath */
    const emit = (node, indent, onPath) => {
      for (;;) {
        found.push({ node, indent, onPath, isHere: onPath && node.depth === depth });
        const children = [...node.children.values()];
        if (!children.length) return;
        const main = (onPath && node.children.get(path[node.depth])) || children[0];
        const mainOnPath = onPath && main.key === path[node.depth];
        for (const child of children) if (child !== main) emit(child, indent + 1, false);
        node = main;
        onPath = mainOnPath;
      }
    };
    emit(root, 0, true);
    return found;
  }

  /** @param {KeyboardEvent} event */
  function keys(event) {
    const go = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const items = /** @type {HTMLElement[]} */ ([...list.querySelectorAll('[role="treeitem"]')]);
    if (go) {
      event.preventDefault();
      focus(items, Math.max(0, Math.min(items.length - 1, focused + go)));
    } else if (event.key === 'Home' || event.key === 'End') {
      event.preventDefault();
      focus(items, event.key === 'Home' ? 0 : items.length - 1);
    } else if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') {
      event.preventDefault();
      const row = rows[focused];
      const to = event.key === 'ArrowLeft' ? row.node.parent : [...row.node.children.values()][0];
      const place = rows.findIndex(({ node }) => node === to);
      if (place >= 0) focus(items, place);
    } else if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      onVisit(pathOf(rows[focused].node));
    }
  }

  /**
   * @param {HTMLElement[]} items
   * @param {number} place
   */
  function focus(items, place) {
    items[focused]?.setAttribute('tabindex', '-1');
    focused = place;
    items[place]?.setAttribute('tabindex', '0');
    items[place]?.focus();
  }

  function draw() {
    const { visited, path, n } = view;
    const all = flatten(visited.root, path, n);
    const here = Math.max(
      0,
      all.findIndex((row) => row.isHere),
    );
    const from = Math.max(0, Math.min(here - ROWS / 2, all.length - ROWS));
    rows = all.slice(from, from + ROWS).map((row, place) => ({ ...row, place }));
    focused = Math.max(
      0,
      rows.findIndex((row) => row.isHere),
    );
    const held = list.contains(document.activeElement);
    keyed(
      list,
      rows,
      ({ node }) => node,
      () => h('div', { role: 'treeitem' }),
      (item, { node, indent, onPath, isHere, place }) => {
        set(item, {
          class: `tree-item${onPath ? ' is-on-path' : ''}${isHere ? ' is-here' : ''}${node.broken ? ' is-broken' : ''}`,
          'aria-level': indent + 1,
          'aria-current': isHere ? 'step' : null,
          tabindex: place === focused ? 0 : -1,
        });
        const parts =
          node.parent !== null && node.parent.children.size > 1 && indent > 0 && place !== 0;
        const looks = `${indent} ${parts} ${node.words?.words}`;
        if (item.looks === looks) return;
        item.looks = looks;
        item.onclick = () => onVisit(pathOf(node));
        set(item, { style: { 'padding-left': `${Math.min(indent, 8) * 14 + 6}px` } });
        replace(
          item,
          h('span', { class: 'tree-number' }, node.depth),
          parts && h('span', { class: 'dim', 'aria-hidden': 'true' }, '⤷ '),
          node.key === null
            ? t('explore.tree-start')
            : h('span', { class: `mono ${node.words?.cls ?? ''}` }, node.words?.words ?? node.key),
          node.broken && ' ✗',
        );
      },
    );
    const item = /** @type {HTMLElement | undefined} */ (list.children[focused]);
    if (held) item?.focus();
    else if (item && list.clientHeight)
      list.scrollTop = Math.max(0, item.offsetTop - list.offsetTop - list.clientHeight / 2);
  }

  return {
    /** @param {{visited: Visited, path: string[], n: number}} next */
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
