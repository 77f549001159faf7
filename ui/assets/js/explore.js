// The explore page: a walk through the state space of a scope by hand, with the real core.
//
// The address holds the whole state of the page: the world (scope, bounds, bug, step granularity), the
// path of keys, and the current step on it. The server executes paths. The page keeps the timeline of
// the current path, the possible actions of each state requested so far, and the tree of visited
// states. If the current step is before the end of the path, the steps after it are the steps of the
// earlier walk. A different action creates a branch, and the tree leads back to the earlier one.
//
// This file connects the parts in `explore/`: `state` (the walk, and its requests), `visited` (the
// visited states), `workbench` (the panels), `layout`, `keys`, `welcome` (the first screen), `world` (the
// selection of the world), `action-panel` (with `actions`, their words), `verdicts`, `tree`, `jobs`,
// `banner` (the result of a search), `share`.

import { ApiError, getJson, messageOf } from './api.js';
import { h, replace, style } from './dom.js';
import { exploreKeys, exploreShortcuts } from './explore/keys.js';
import { WalkState } from './explore/state.js';
import { Welcome } from './explore/welcome.js';
import { Workbench } from './explore/workbench.js';
import { asked, chooseFind, choosePlant, chooseWorld, paramsOf, worldOf } from './explore/world.js';
import { t } from './i18n.js';
import { toast } from './toast.js';

class ExplorePage {
  /**
   * The catalog of the server, once loaded.
   * @type {Catalog}
   */
  #catalog;
  #state = new WalkState();
  /** @type {ReturnType<typeof Workbench> | null} */
  #bench = null;
  /** @type {{destroy: () => void} | null} */
  #welcome = null;
  /** @type {(event: KeyboardEvent) => void} */
  #keys = () => {};
  #isLeft = false;

  /**
   * @param {HTMLElement} host
   * @param {PageContext} context
   */
  constructor(host, { params, navigate, app, shortcuts }) {
    this.host = host;
    this.app = app;
    this.navigate = navigate;
    shortcuts(exploreShortcuts());
    this.#begin(params);
  }

  /** @param {Params} params */
  async #begin(params) {
    await style('explore');
    try {
      this.#catalog ??= await getJson('/api/catalog');
    } catch (error) {
      if (this.#isLeft) return;
      const onclick = () => this.#begin(params);
      this.#notice(messageOf(error), h('button', { type: 'button', onclick }, t('shell.again')));
      return;
    }
    if (!this.#isLeft) await this.#show(params);
  }

  /* From the address to the view. */

  /** @param {Params} params */
  async #show(params) {
    if (!params.scope) {
      this.#leave();
      this.host.replaceChildren();
      const { app } = this;
      /**
       * @param {World} world
       * @param {boolean} isHunt
       */
      const onWorld = (world, isHunt) => this.#enter(world, isHunt);
      this.#welcome = Welcome(this.host, { catalog: this.#catalog, app, onWorld });
      return;
    }
    const path = params.path ? params.path.split('.').filter(Boolean) : [];
    const n = params.at === undefined ? path.length : Number.parseInt(params.at, 10) || 0;
    await this.#walk(worldOf(params, this.#catalog), path, n);
  }

  #leave() {
    this.#state.close();
    this.#welcome?.destroy();
    this.#welcome = null;
    removeEventListener('keydown', this.#keys);
    this.#bench?.destroy();
    this.#bench = null;
  }

  /**
   * Opens a world and, if requested, starts the search for a violation in it.
   * @param {World} world
   * @param {boolean} isHunt
   */
  async #enter(world, isHunt) {
    if (!(await this.#walk(world, [], 0, { isNew: true, push: true }))) return;
    this.#bench?.job.clear();
    this.#bench?.showStart();
    if (isHunt) this.#check();
  }

  /**
   * Shows step `n` of a path. Returns whether it did.
   * @param {World} world
   * @param {string[]} path
   * @param {number} n
   */
  async #walk(world, path, n, { isNew = false, push = false } = {}) {
    let walked;
    try {
      walked = await this.#state.walk(world, path, n, { isNew });
    } catch (error) {
      this.#fault(error);
      return false;
    }
    if (!walked) return false;
    if (!this.#bench) this.#openBench();
    if (walked.lost) toast(t('explore.lost', { why: walked.lost }), 'bad');
    this.#writeAddress({ push });
    this.#draw();
    return true;
  }

  #openBench() {
    this.#welcome?.destroy();
    this.#welcome = null;
    this.host.replaceChildren();
    /** @type {import('./explore/workbench.js').Reader} */
    const run = {
      goTo: (n) => this.#goTo(n),
      act: (action) => this.#act(action),
      visit: (path) => this.#visit(path),
      chooseWorld: () => chooseWorld(this.#choice()),
      plant: () => choosePlant(this.#choice()),
      check: () => this.#check(),
      find: () => {
        /** @param {{predicate?: string, witness?: string}} goal */
        const onFind = (goal) => this.#search(goal);
        chooseFind({ catalog: this.#catalog, onFind });
      },
      findWitness: (name) => this.#search({ witness: name }),
      jobDone: (done) => this.#jobDone(done),
    };
    this.#bench = Workbench(this.host, { catalog: this.#catalog, state: this.#state, run });
    const { scrubber, focusSearch } = this.#bench;
    this.#keys = exploreKeys({ scrubber, search: focusSearch, ...run });
    addEventListener('keydown', this.#keys);
  }

  /** The current world for a dialog that selects another. */
  #choice() {
    /**
     * @param {World} world
     * @param {boolean} isHunt
     */
    const onChosen = (world, isHunt) => this.#enter(world, isHunt);
    return { catalog: this.#catalog, world: this.#state.shown.world, onChosen };
  }

  /** @param {unknown} error */
  #fault(error) {
    if (this.#bench) {
      this.#report(error);
      return;
    }
    this.#leave();
    this.#notice(messageOf(error), h('a', { href: '#/explore' }, t('explore.back-to-start')));
  }

  /** @param {unknown} error */
  #report(error) {
    // The shell already reports a server that does not respond.
    if (error instanceof ApiError && error.status === 0) return;
    toast(messageOf(error), 'bad');
  }

  /**
   * @param {string} words
   * @param {Content} remedy
   */
  #notice(words, remedy) {
    const notice = h('div', { class: 'notice is-bad', role: 'alert' }, h('p', {}, words), remedy);
    replace(this.host, notice);
  }

  #writeAddress({ push = false } = {}) {
    const { world, path, n } = this.#state.shown;
    const at = n === path.length ? null : n;
    const params = { ...paramsOf(world, this.#catalog), path: path.join('.'), at };
    this.navigate({ page: 'explore', params }, { quiet: true, push });
  }

  #draw() {
    this.#bench?.draw();
    if (!this.#state.here) this.#lookUp();
  }

  /** Requests the actions of the current state. */
  async #lookUp() {
    try {
      if (await this.#state.loadHere(this.#bench?.scrubber.isPlaying ? 350 : 60)) this.#draw();
    } catch (error) {
      this.#report(error);
    }
  }

  /* The actions of the reader. */

  /** @param {number} n */
  #goTo(n) {
    this.#state.goTo(n);
    this.#writeAddress();
    this.#draw();
  }

  /** @param {Action} action */
  async #act(action) {
    const view = this.#state.shown;
    const { world, path, n, selected } = view;
    const isNext = path[n] === action.key;
    if (isNext || selected?.message === action.message) view.selected = null;
    if (isNext) this.#goTo(n + 1);
    else await this.#walk(world, [...path.slice(0, n), action.key], n + 1);
  }

  /** @param {string[]} path */
  async #visit(path) {
    // On the current path only the position changes.
    if (this.#state.isOnPath(path)) this.#goTo(path.length);
    else await this.#walk(this.#state.shown.world, path, path.length);
  }

  #check() {
    this.#bench?.job.start({ kind: 'check', ...asked(this.#state.shown.world), path: [] });
  }

  /**
   * Searches for a state by `{predicate}` or `{witness}`.
   * @param {{predicate?: string, witness?: string}} goal
   */
  #search(goal) {
    const { shown, prefix } = this.#state;
    const kind = goal.witness ? 'witness' : 'find';
    this.#bench?.job.start({ kind, ...asked(shown.world), path: prefix, ...goal });
  }

  /** @param {JobDone} done */
  async #jobDone(done) {
    if (!done.path?.length) return;
    const { world, path } = this.#state.shown;
    const found = { ...world, steps: done.steps ?? world.steps };
    const isViolation = done.verdict === 'violated';
    // A counterexample opens at its start, so that the reader steps through it; a state found is shown.
    const n = isViolation ? 0 : done.path.length;
    if (!(await this.#walk(found, done.path, n, { push: path.length > 0 }))) return;
    this.#state.keepResult(done);
    this.#draw();
    if (isViolation) this.#bench?.banner.focus();
  }

  /** @param {{params: Params}} place */
  go({ params }) {
    if (this.#catalog) this.#show(params);
  }

  destroy() {
    this.#isLeft = true;
    this.#leave();
    this.host.replaceChildren();
  }
}

/**
 * @param {HTMLElement} host
 * @param {PageContext} context
 */
export default (host, context) => new ExplorePage(host, context);
