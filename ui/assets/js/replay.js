// The replay page: opens a recorded run and steps through it.
//
// `#/replay?step=12`. An opened file stays in the page only. The trace that the server was started with
// (`raft-checker replay --serve FILE..`) is available again after a reload, and its address can be
// shared. Of a long run the page shows a part, and requests another part when the reader moves there.
//
// This file connects the parts in `replay/`: `chooser` (the form that accepts traces), `drop` (files dropped
// on the window), `open` (reads and executes traces), `player` (the opened run).

import { messageOf } from './api.js';
import { h, replace, style } from './dom.js';
import { loadStrings, t } from './i18n.js';
import { Chooser } from './replay/chooser.js';
import { acceptDrops } from './replay/drop.js';
import { execute, readFiles, Refusal, served } from './replay/open.js';
import { Player } from './replay/player.js';
import { format } from './router.js';
import { scrubberShortcuts } from './scrubber.js';

/** The number of steps shown before a requested step. */
const BEFORE = 500;
/**
 * The last run opened, kept while the page is recreated for another language or left for another page.
 * @type {Opened | null}
 */
let kept = null;

class ReplayPage {
  #box = h('div', { class: 'replay-page' });
  #ended = new AbortController();
  /** @type {ReturnType<typeof Player> | null} */
  #player = null;
  /** @type {Opened | null} */
  #shown = null;
  #usedDisks = false;

  /**
   * @param {HTMLElement} host
   * @param {PageContext} context
   */
  constructor(host, { params, navigate, app, shortcuts }) {
    this.app = app;
    this.navigate = navigate;
    this.shortcuts = shortcuts;
    this.signal = this.#ended.signal;
    host.append(this.#box);
    const onFiles = (/** @type {File[]} */ files) => this.#open(() => readFiles(files));
    acceptDrops(this.#box, { onFiles, signal: this.signal });
    this.#begin(params);
  }

  /** @param {Params} params */
  async #begin({ step }) {
    const { signal } = this;
    await Promise.all([style('replay'), loadStrings('filter')]);
    if (kept) {
      this.#visit(kept, Number(step ?? 0));
      return;
    }
    if (!this.app.traces_served) {
      this.#showChooser(step === undefined ? null : t('replay.not-here'));
      return;
    }
    replace(this.#box, h('p', { class: 'loading' }, t('replay.loading')));
    try {
      const run = await served(signal);
      if (!signal.aborted) this.#visit(run, step === undefined ? worth(run) : Number(step));
    } catch (error) {
      if (!signal.aborted) this.#showChooser(t('replay.failed-served', { why: messageOf(error) }));
    }
  }

  /**
   * Shows the form that accepts traces, with the last error.
   * @param {string | null} [wrong]
   */
  #showChooser(wrong = null) {
    this.#closePlayer();
    document.title = `${t('replay.title')} · Stateraft`;
    this.shortcuts([]);
    const chooser = Chooser({
      wrong,
      usedDisks: this.#usedDisks,
      onDisks: (isUsed) => {
        this.#usedDisks = isUsed;
      },
      onOpen: (read) => this.#open(read),
    });
    replace(this.#box, chooser);
  }

  #closePlayer() {
    this.#player?.destroy();
    this.#player = null;
  }

  #showExecuting() {
    this.#closePlayer();
    replace(this.#box, h('p', { class: 'loading', role: 'status' }, t('replay.executing')));
  }

  /** @param {import('./replay/chooser.js').ReadTraces} read */
  async #open(read) {
    const { signal } = this;
    this.#showExecuting();
    try {
      const run = await execute(await read(), { usedDisks: this.#usedDisks, signal });
      if (signal.aborted) return;
      kept = run;
      this.#show(run, worth(run));
    } catch (error) {
      if (signal.aborted) return;
      const isRefusal = error instanceof Refusal;
      this.#showChooser(isRefusal ? error.message : t('replay.refused', { why: messageOf(error) }));
    }
  }

  /**
   * Shows a step of a run; the step may be outside the loaded part.
   * @param {Opened} run
   * @param {number} step
   */
  #visit(run, step) {
    const { timeline } = run;
    const isAhead = step > timeline.last && step <= run.of;
    const isBehind = step > 0 && step < timeline.offset;
    if (run.kind === 'nodes' && (isAhead || isBehind))
      this.#move(run, { from: Math.max(1, step - BEFORE) }, step);
    else if (this.#player && this.#shown === run) this.#player.go(step);
    else this.#show(run, step);
  }

  /**
   * Loads and shows another part of the run.
   * @param {Opened} run
   * @param {Part} part
   * @param {number} step
   */
  async #move(run, part, step) {
    const { signal } = this;
    this.#showExecuting();
    try {
      const next = run.files
        ? await execute(run.files, { usedDisks: run.usedDisks, part, signal })
        : await served(signal, part);
      if (signal.aborted) return;
      if (run.files) kept = next;
      this.#show(next, step);
    } catch (error) {
      if (!signal.aborted) this.#showChooser(t('replay.refused', { why: messageOf(error) }));
    }
  }

  /**
   * @param {Opened} run
   * @param {number} step
   */
  #show(run, step) {
    this.#box.replaceChildren();
    this.#shown = run;
    document.title = `${t('replay.title')} · Stateraft`;
    this.shortcuts([
      ...scrubberShortcuts(),
      { keys: 'L', what: t('replay.key-violated') },
      { keys: 'O', what: t('replay.key-open') },
    ]);
    this.#player = Player(this.#box, {
      run,
      canExplore: this.app.pages.includes('explore'),
      onMove: (n) => this.#writeAddress({ page: 'replay', params: { step: n || null } }),
      onVisit: (n) => this.#visit(run, n),
      onPart: (part, n) => this.#move(run, part, n),
      onAnother: () => {
        kept = null;
        this.#writeAddress({ page: 'replay' });
        this.#showChooser();
      },
    });
    this.#player.go(Number.isFinite(step) ? Math.trunc(step) : 0);
  }

  /** @param {Place} place */
  #writeAddress(place) {
    this.navigate(format(place), { replace: true, quiet: true });
  }

  /** @param {{params: Params}} place */
  go({ params }) {
    if (this.#player && this.#shown) this.#visit(this.#shown, Number(params.step ?? 0));
  }

  destroy() {
    this.#ended.abort();
    this.#player?.destroy();
    this.#box.remove();
  }
}

/**
 * @param {HTMLElement} host
 * @param {PageContext} context
 */
export default (host, context) => new ReplayPage(host, context);

/**
 * The first step to show: the step that violates a property, or the last valid step.
 * @param {Opened} run
 */
function worth({ timeline, verdict }) {
  const violation = timeline.marks.find((mark) => mark.kind === 'violation');
  return violation?.step ?? (verdict.accepted ? 0 : timeline.last);
}
