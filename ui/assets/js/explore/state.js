// The state of the explore page: the walk that it shows, and the requests that load it.
//
//   const state = new WalkState();
//   await state.walk(world, path, n);    // executes the path, and moves to step n
//   state.view                           // the walk shown, or null
//   state.here                           // the details of its current state, or null until `loadHere`
//
// Deliberate omission: nothing here draws, and nothing reads or writes the address.

import { ApiError, postJson } from '../api.js';
import { Timeline } from '../timeline.js';
import { Visited } from './visited.js';
import { asked, worldKey } from './world.js';

/**
 * @typedef {{
 *   world: World, path: string[], n: number, timeline: Timeline, visited: Visited,
 *   selected: Picked | null, found: Result | null,
 * }} View
 */

/** The number of states whose details are kept. */
const KEPT = 400;

/**
 * The result of the last search in each world; it survives a visit to another page.
 * @type {Map<string, Result>}
 */
const results = new Map();

export class WalkState {
  constructor() {
    /**
     * The walk shown: `world`, `path` (keys), `n`, `timeline`, `visited`, `selected`, `found`.
     * @type {View | null}
     */
    this.view = null;
    /**
     * The details of the states requested so far, by path: the possible actions and the verdicts.
     * @type {Map<string, Here>}
     */
    this.heres = new Map();
    // A response is discarded if a newer request of its kind exists.
    this.walks = 0;
    this.lookups = 0;
  }

  /** Leaves the walk; responses that arrive later are discarded. */
  close() {
    this.walks += 1;
    this.lookups += 1;
    this.view = null;
    this.heres.clear();
  }

  /**
   * Moves to step `n` of a path. The server executes the steps after the longest known prefix, or all
   * steps if `isNew`. Returns `{lost}`: the reason why the path ended early, or `null`. Returns `null` if
   * a newer request exists. Throws an `ApiError`.
   * @param {World} world
   * @param {string[]} path
   * @param {number} n
   * @param {{isNew?: boolean}} [options]
   * @returns {Promise<{lost: string | null} | null>}
   */
  async walk(world, path, n, { isNew = false } = {}) {
    const mine = ++this.walks;
    const key = worldKey(world);
    const { view } = this;
    const before = !isNew && view && worldKey(view.world) === key ? view : null;
    const known = before ? commonPrefix(before.path, path) : 0;
    /** @type {Walked | null} */
    let answer = null;
    /** @type {string | null} */
    let lost = null;
    // A path that is known to its end needs no request.
    if (!before || known < path.length || path.length === 0) {
      try {
        const request = { ...asked(world), path, from: known };
        answer = /** @type {Walked} */ (await postJson('/api/walk', request));
      } catch (error) {
        if (mine !== this.walks) return null;
        // The path is not executable to its end: keep its valid prefix, and the reason for the rest.
        if (!isPartial(error)) throw error;
        answer = error.body;
        lost = error.message;
        path = path.slice(0, error.body.good);
      }
      if (mine !== this.walks) return null;
    }
    if (!before) this.heres.clear();
    if (answer) this.heres.set(path.join('.'), answer.here);
    const timeline =
      before && known > 0
        ? extended(before.timeline, path, known, answer)
        : started(/** @type {Walked} */ (answer));
    this.view = {
      world,
      path,
      n: Math.max(0, Math.min(n, path.length)),
      timeline,
      visited: before?.visited ?? new Visited(key),
      selected: before?.selected ?? null,
      found: results.get(key) ?? null,
    };
    this.view.visited.add(path, timeline.steps);
    return { lost };
  }

  /** The walk shown; there must be one. */
  get shown() {
    if (!this.view) throw new Error('no walk is open');
    return this.view;
  }

  /** The path from the start to the current step. */
  get prefix() {
    const { path, n } = this.shown;
    return path.slice(0, n);
  }

  /**
   * The details of the current state; `null` if they were not requested.
   * @returns {Here | null}
   */
  get here() {
    return this.heres.get(this.prefix.join('.')) ?? null;
  }

  /**
   * Requests the details of the current state after `delay` milliseconds, so that quick moves send one
   * request at their end. Returns whether the current state is known then. Throws an `ApiError`.
   * @param {number} delay
   */
  async loadHere(delay) {
    const mine = ++this.lookups;
    await new Promise((done) => setTimeout(done, delay));
    if (mine !== this.lookups || !this.view) return false;
    const { world } = this.view;
    const { prefix } = this;
    try {
      const request = { ...asked(world), path: prefix, from: prefix.length };
      const { here } = await postJson('/api/walk', request);
      if (!this.view || worldKey(this.view.world) !== worldKey(world)) return false;
      if (this.heres.size > KEPT) this.heres.clear();
      this.heres.set(prefix.join('.'), here);
    } catch (error) {
      if (mine === this.lookups) throw error;
    }
    return mine === this.lookups;
  }

  /**
   * Moves to a step of the path.
   * @param {number} n
   */
  goTo(n) {
    const view = this.shown;
    view.n = Math.max(0, Math.min(n, view.path.length));
    // A message that is not sent yet cannot be selected.
    const id = view.selected?.message;
    if (id && !view.timeline.message(id, view.n)) view.selected = null;
  }

  /**
   * Selects `{message}` or `{process}`; selecting it again removes the selection.
   * @param {Picked} what
   */
  toggle(what) {
    const { selected } = this.shown;
    const isSame = JSON.stringify(selected) === JSON.stringify(what);
    this.shown.selected = isSame ? null : what;
    return !isSame;
  }

  /**
   * Whether a path is the current path or a prefix of it.
   * @param {string[]} path
   */
  isOnPath(path) {
    return path.every((key, place) => key === this.shown.path[place]);
  }

  /**
   * The result of the last search in this world, if the current path is the path of that result.
   * @returns {Result | null}
   */
  get result() {
    const { found, path } = this.shown;
    return found && found.path.length === path.length && this.isOnPath(found.path) ? found : null;
  }

  /**
   * Keeps the result of a search, whose path is the current path.
   * @param {JobDone} done
   */
  keepResult(done) {
    const view = this.shown;
    view.found = {
      path: [...view.path],
      property: done.verdict === 'violated' ? (done.property ?? '') : null,
      why: done.why ?? '',
      cause: done.cause ?? null,
      verdict: done.verdict,
      states: done.states ?? 0,
      method: done.method ?? null,
      stuck: done.stuck_after ?? null,
      ticks: done.ticks ?? null,
      seconds: done.elapsed_seconds ?? 0,
    };
    results.set(worldKey(view.world), view.found);
  }
}

/**
 * @param {string[]} one
 * @param {string[]} other
 */
function commonPrefix(one, other) {
  let length = 0;
  while (length < one.length && length < other.length && one[length] === other[length]) length += 1;
  return length;
}

/**
 * @param {unknown} error
 * @returns {error is ApiError & {body: Walked & {good: number}}}
 */
const isPartial = (error) =>
  error instanceof ApiError && error.status === 422 && Boolean(error.body?.steps);

/**
 * The first `known` steps of a timeline, with the steps of a response.
 * @param {Timeline} timeline
 * @param {string[]} path
 * @param {number} known
 * @param {Walked | null} answer
 */
function extended(timeline, path, known, answer) {
  const kept = known === timeline.length ? timeline : timeline.firstSteps(known);
  if (answer) {
    const from = path.length - answer.steps.length;
    kept.append(answer.steps.slice(Math.max(0, known - from)));
  }
  return kept;
}

/**
 * The timeline of a response that begins at the start of the walk.
 * @param {Walked} answer
 */
function started({ header, start, here, steps }) {
  const network = here.messages
    .filter((message) => message.sent_at === 0)
    .map(({ from, to, message }) => ({ from: address(from), to: address(to), message }));
  return new Timeline({ source: 'walk', header, start, network, steps });
}

/** @type {Record<string, string>} */
const KINDS = { server: 'Node', proxy: 'Proxy', client: 'Client' };

/**
 * `{Node: 2}` of `'server 2'`.
 * @param {string} name
 */
function address(name) {
  const [kind, id] = name.split(' ');
  return { [KINDS[kind]]: Number(id) };
}
