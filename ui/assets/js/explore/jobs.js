// A search in the background: its progress, its result, and a control to stop it.
//
//   const job = Job(host, {onDone(done, asked)});
//   job.start({kind: 'check', ...world}); job.stop(); job.clear();
//
// The verdict is the server's sentence. The page never shows exhausted, truncated and violated
// alike.

import { deleteJson, events, postJson } from '../api.js';
import { h } from '../dom.js';
import { t } from '../i18n.js';
import { toast } from '../toast.js';
import { drawProgress, drawVerdict } from './job-view.js';

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
    progressed(asked, null);
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
            if (event === 'progress') progressed(asked, data);
            if (event === 'done') {
              running?.stream.close();
              running = null;
              drawVerdict(box, { done: data, onClose: hide });
              onDone(data, asked);
            }
          },
          onState: (state, error) => {
            if (state !== 'refused' || mine !== turn) return;
            running = null;
            hide();
            if (error) toast(error.message, 'bad');
          },
        }),
      };
    } catch (error) {
      hide();
      toast(/** @type {Error} */ (error).message, 'bad');
    }
  }

  /**
   * @param {any} asked
   * @param {any} progress
   */
  const progressed = (asked, progress) => drawProgress(box, { asked, progress, onStop: interrupt });

  /** Asks the server to end the search, which then reports its verdict. */
  function interrupt() {
    if (!running) return;
    deleteJson(`/api/jobs/${running.job}`).catch((error) => toast(error.message, 'bad'));
  }

  function hide() {
    box.hidden = true;
  }

  /** Ends the search without a verdict. */
  function stop() {
    turn += 1;
    if (!running) return;
    running.stream.close();
    deleteJson(`/api/jobs/${running.job}`).catch(() => {});
    running = null;
  }

  return {
    start,
    stop,
    clear() {
      stop();
      hide();
    },
    /** Removes the verdict, but not a running search. */
    hide() {
      if (!running) hide();
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
