// A search in the background: its progress, its result, and a control to stop it.
//
//   const job = Job(host, {onDone(done, asked)});
//   job.start({kind: 'check', ...world}); job.stop(); job.clear();
//
// The verdict is the server's sentence. The page never shows exhausted, truncated and violated
// alike.

import { deleteJson, events, postJson } from '../api.js';
import { h, replace } from '../dom.js';
import { bytes, duration, has, number, t } from '../i18n.js';
import { toast } from '../toast.js';
import { why } from '../why.js';

/** @type {Record<string, string>} */
const TONE = {
  exhausted: 'good',
  found: 'good',
  violated: 'bad',
  truncated: 'warn',
  not_found: 'warn',
  stopped: 'warn',
  failed: 'bad',
};

/**
 * The goal of the search, in the words of the page.
 * @param {{predicate?: string}} asked
 * @returns {Record<string, string>}
 */
function known({ predicate }) {
  const key = `explore.predicate-${predicate}`;
  return has(key) ? { what: t(key).replace(/\.$/, '') } : {};
}

/**
 * @param {HTMLElement} host
 * @param {{onDone: (done: JobDone, asked: any) => void}} options
 */
export function Job(host, { onDone }) {
  const box = h('section', { class: 'job', hidden: true, 'aria-label': t('explore.job') });
  host.append(box);
  /** @type {{job: string, asked: any, stream: {close: () => void}} | null} */
  let running = null;
  let turn = 0;

  /** @param {any} asked */
  async function start(asked) {
    stop();
    const mine = ++turn;
    box.hidden = false;
    draw(asked, null, null);
    try {
      const { job } = await postJson('/api/jobs', asked);
      if (mine !== turn) {
        deleteJson(`/api/jobs/${job}`).catch(() => {});
        return;
      }
      running = {
        job,
        asked,
        stream: events(`/api/jobs/${job}/events`, {
          onEvent: ({ event, data }) => {
            if (mine !== turn) return;
            if (event === 'progress') draw(asked, data, null);
            if (event === 'done') {
              running?.stream.close();
              running = null;
              draw(asked, null, data);
              onDone(data, asked);
            }
          },
          onState: (state, error) => {
            if (state !== 'refused' || mine !== turn) return;
            running = null;
            box.hidden = true;
            if (error) toast(error.message, 'bad');
          },
        }),
      };
    } catch (error) {
      box.hidden = true;
      toast(/** @type {Error} */ (error).message, 'bad');
    }
  }

  function stop() {
    turn += 1;
    if (!running) return;
    running.stream.close();
    deleteJson(`/api/jobs/${running.job}`).catch(() => {});
    running = null;
  }

  /**
   * @param {any} asked
   * @param {any} progress
   * @param {JobDone | null} done
   */
  function draw(asked, progress, done) {
    const title = t(
      asked.kind === 'check'
        ? asked.mutant
          ? 'explore.job-hunt'
          : 'explore.job-check'
        : 'explore.job-find',
    );
    if (done) {
      box.className = `job is-${TONE[done.verdict] ?? 'warn'}`;
      replace(
        box,
        h(
          'div',
          { class: 'row' },
          h(
            'span',
            { class: `chip is-${TONE[done.verdict] ?? 'warn'}` },
            t(`explore.verdict-${done.verdict}`),
          ),
          h('span', { class: 'job-say', role: 'status' }, why(done.say, { known: known(asked) })),
          done.states &&
            h(
              'span',
              { class: 'dim small mono' },
              `${t('explore.states', { n: done.states })} · ${duration(done.elapsed_seconds ?? 0)}`,
            ),
          h('span', { class: 'spacer' }),
          h(
            'button',
            {
              type: 'button',
              class: 'quiet',
              'aria-label': t('shell.close'),
              onclick: () => {
                box.hidden = true;
              },
            },
            '×',
          ),
        ),
      );
      return;
    }
    box.className = 'job is-running';
    /**
     * @param {string} key
     * @param {any} value
     */
    const fact = (key, value) =>
      h(
        'span',
        { class: 'job-fact' },
        h('span', { class: 'dim' }, t(`explore.${key}`)),
        ' ',
        h('b', { class: 'mono' }, value),
      );
    replace(
      box,
      h(
        'div',
        { class: 'row' },
        h('span', { class: 'spinner', 'aria-hidden': 'true' }),
        h('b', {}, title),
        progress && [
          fact('p-states', number(progress.states)),
          fact('p-rate', `${number(progress.states_per_second, 0)}/s`),
          fact('p-frontier', number(progress.frontier)),
          fact('p-depth', number(progress.depth)),
          fact('p-memory', bytes(progress.memory_bytes)),
          fact('p-elapsed', duration(progress.elapsed_seconds)),
        ],
        h('span', { class: 'spacer' }),
        h(
          'button',
          {
            type: 'button',
            class: 'danger',
            onclick: () => {
              if (running)
                deleteJson(`/api/jobs/${running.job}`).catch((error) =>
                  toast(error.message, 'bad'),
                );
            },
          },
          t('explore.stop'),
        ),
      ),
    );
  }

  return {
    start,
    stop,
    clear() {
      stop();
      box.hidden = true;
    },
    /** Removes the verdict, but not a running search. */
    hide() {
      if (!running) box.hidden = true;
    },
    get isRunning() {
      return running !== null;
    },
    destroy() {
      stop();
      box.remove();
    },
  };
}
