// The visited states of a world: a tree of steps, kept for the session, including reloads.
//
//   const visited = new Visited(worldName);
//   visited.add(keys, steps);
//   flatten(visited.root, path, n)       // rows: {node, indent, onPath, isHere}

import { family, initial, label } from '../describe.js';
import { t } from '../i18n.js';
import { eventName, eventOf } from '../timeline.js';

/**
 * @typedef {{
 *   key: string | null, children: Map<string, TreeNode>, depth: number, parent: TreeNode | null,
 *   words: {words: string, cls: string} | null, isViolated?: boolean,
 * }} TreeNode
 * @typedef {{node: TreeNode, indent: number, onPath: boolean, isHere: boolean}} TreeRow
 */

/** The number of paths kept. */
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
        node.words = shortWords(steps[place], stateBefore(steps, place));
        node.isViolated = Boolean(steps[place].violations?.length);
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
 * The state of a step's process before the step, if an earlier step of that process is known.
 * @param {Step[]} steps
 * @param {number} place
 */
function stateBefore(steps, place) {
  const { process } = steps[place];
  return steps.findLast((step, earlier) => earlier < place && step?.process === process)?.state;
}

/**
 * 'S1 ← Vote t2 ✓', 'S2 time out'.
 * @param {Step} step
 * @param {Snapshot | undefined} before
 */
function shortWords(step, before) {
  const held = eventOf(step);
  const me = initial(step.process);
  const message = held.envelope?.message;
  if (held.name === 'Deliver')
    return { words: `${me} ← ${label(message)}`, cls: `is-${family(message)}` };
  if (held.name === 'Drop') return { words: `${me} ✕ ${label(message)}`, cls: '' };
  const key = `explore.did-${eventName(step, before).toLowerCase()}`;
  const told = t(key, { to: held.target && initial(`server ${held.target}`) });
  return { words: `${me} ${told === key ? held.name : told}`, cls: '' };
}

/**
 * The keys from the root to a node.
 * @param {TreeNode} node
 * @returns {string[]}
 */
export function pathOf(node) {
  /** @type {string[]} */
  const path = [];
  for (let at = node; at.parent && at.key !== null; at = at.parent) path.unshift(at.key);
  return path;
}

/**
 * The nodes in the order of the list. The current path runs straight down; a branch is indented where it
 * diverges. `depth` is the depth of the current state on that path.
 * @param {TreeNode} root
 * @param {string[]} path
 * @param {number} depth
 */
export function flatten(root, path, depth) {
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
