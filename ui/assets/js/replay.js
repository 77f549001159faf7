// The replay page: opens a recorded run and steps through it.
//
// `#/replay?step=12`. An opened file stays in the page only. The trace that the server was started with
// (`raft-checker replay --serve FILE..`) is available again after a reload, and its address can be
// shared. Of a long run the page shows a part, and requests another part when the reader moves there.

import { getJson, messageOf } from './api.js';
import { h, replace, style } from './dom.js';
import { loadStrings, t } from './i18n.js';
import { execute, readFiles, Refusal, served } from './replay/open.js';
import { Player } from './replay/player.js';
import { format } from './router.js';
import { scrubberShortcuts } from './scrubber.js';

const EXAMPLE = 'figure-8-bug';
/** The number of steps shown before a requested step. */
const BEFORE = 500;
/**
 * The last run opened, kept while the page is recreated for another language or left for another page.
 * @type {Opened | null}
 */
let kept = null;

/**
 * @param {HTMLElement} host
 * @param {PageContext} context
 */
export default function page(host, { params, navigate, app, shortcuts }) {
  const box = h('div', { class: 'replay-page' });
  host.append(box);
  const ended = new AbortController();
  const { signal } = ended;
  /** @type {ReturnType<typeof Player> | null} */
  let player = null;
  /** @type {Opened | null} */
  let shown = null;
  let usedDisks = false;

  addEventListener(
    'dragover',
    (event) => {
      if (!event.dataTransfer?.types.includes('Files')) return;
      event.preventDefault();
      box.classList.add('is-over');
    },
    { signal },
  );
  addEventListener(
    'dragleave',
    (event) => {
      if (!event.relatedTarget) box.classList.remove('is-over');
    },
    { signal },
  );
  addEventListener(
    'drop',
    (event) => {
      const files = [...(event.dataTransfer?.files ?? [])];
      if (!files.length) return;
      event.preventDefault();
      box.classList.remove('is-over');
      open(() => readFiles(files));
    },
    { signal },
  );

  begin();

  async function begin() {
    await Promise.all([style('replay'), loadStrings('sift')]);
    if (kept) {
      visit(kept, Number(params.step ?? 0));
      return;
    }
    if (!app.traces_served) {
      door(params.step === undefined ? null : t('replay.not-here'));
      return;
    }
    replace(box, h('p', { class: 'loading' }, t('replay.loading')));
    try {
      const run = await served(signal);
      if (!signal.aborted) visit(run, params.step === undefined ? worth(run) : Number(params.step));
    } catch (error) {
      if (!signal.aborted) door(t('replay.failed-served', { why: messageOf(error) }));
    }
  }

  /**
   * The form that accepts traces, with the last error.
   * @param {string | null} [wrong]
   */
  function door(wrong = null) {
    player?.destroy();
    player = null;
    document.title = `${t('replay.title')} · Stateraft`;
    shortcuts([]);
    const input = h('input', {
      type: 'file',
      multiple: true,
      class: 'sr-only',
      id: 'replay-files',
      tabindex: '-1',
      'aria-label': t('replay.choose'),
      accept: '.jsonl,.json,.ndjson,.txt,application/jsonl',
      onchange: () => {
        const files = [...(input.files ?? [])];
        if (files.length) open(() => readFiles(files));
      },
    });
    const pasted = h('textarea', {
      rows: 6,
      spellcheck: 'false',
      'aria-label': t('replay.paste-about'),
      placeholder: '{"schema":"stateraft-trace/2",…',
    });
    /** @param {string} words */
    const command = (words) => h('code', {}, words);
    replace(
      box,
      h(
        'div',
        { class: 'replay-door' },
        h('h1', {}, t('replay.title')),
        h('p', { class: 'replay-lead' }, t('replay.lead')),
        wrong && h('div', { class: 'notice is-bad', role: 'alert' }, h('p', {}, wrong)),
        h(
          'div',
          { class: 'replay-drop' },
          input,
          h(
            'button',
            { type: 'button', class: 'primary', onclick: () => input.click() },
            t('replay.choose'),
          ),
          h('p', {}, t('replay.drop')),
          h(
            'ul',
            { class: 'small dim' },
            h('li', {}, around(t('replay.what-scope'), command('raft-checker check --trace FILE'))),
            h('li', {}, around(t('replay.what-nodes'), command('raft-node --trace FILE'))),
          ),
        ),
        h(
          'label',
          { class: 'replay-disks small' },
          h('input', {
            type: 'checkbox',
            checked: usedDisks,
            onchange: (/** @type {{target: HTMLInputElement}} */ event) => {
              usedDisks = event.target.checked;
            },
          }),
          ' ',
          t('replay.used-disks'),
        ),
        h(
          'details',
          { class: 'replay-paste' },
          h('summary', {}, t('replay.paste')),
          pasted,
          h(
            'button',
            {
              type: 'button',
              onclick: () => open(async () => [{ name: t('replay.pasted'), text: pasted.value }]),
            },
            t('replay.open'),
          ),
        ),
        h(
          'p',
          {},
          h(
            'button',
            { type: 'button', class: 'link', onclick: () => open(example) },
            t('replay.example'),
          ),
        ),
      ),
    );
  }

  /** @param {() => Promise<TraceFile[]>} read */
  async function open(read) {
    const before = player;
    player = null;
    before?.destroy();
    replace(box, h('p', { class: 'loading', role: 'status' }, t('replay.executing')));
    try {
      const run = await execute(await read(), { usedDisks, signal });
      if (signal.aborted) return;
      kept = run;
      show(run, worth(run));
    } catch (error) {
      if (signal.aborted) return;
      door(
        error instanceof Refusal ? error.message : t('replay.refused', { why: messageOf(error) }),
      );
    }
  }

  /**
   * Shows a step of a run; the step may be outside the loaded part.
   * @param {Opened} run
   * @param {number} step
   */
  function visit(run, step) {
    const { timeline } = run;
    const isAhead = step > timeline.last && step <= run.of;
    const isBehind = step > 0 && step < timeline.offset;
    if (run.kind === 'nodes' && (isAhead || isBehind))
      move(run, { from: Math.max(1, step - BEFORE) }, step);
    else if (player && shown === run) player.go(step);
    else show(run, step);
  }

  /**
   * Loads and shows another part of the run.
   * @param {Opened} run
   * @param {Part} part
   * @param {number} step
   */
  async function move(run, part, step) {
    player?.destroy();
    player = null;
    replace(box, h('p', { class: 'loading', role: 'status' }, t('replay.executing')));
    try {
      const next = run.files
        ? await execute(run.files, { usedDisks: run.usedDisks, part, signal })
        : await served(signal, part);
      if (signal.aborted) return;
      if (run.files) kept = next;
      show(next, step);
    } catch (error) {
      if (!signal.aborted) door(t('replay.refused', { why: messageOf(error) }));
    }
  }

  /**
   * @param {Opened} run
   * @param {number} step
   */
  function show(run, step) {
    box.replaceChildren();
    shown = run;
    document.title = `${t('replay.title')} · Stateraft`;
    shortcuts([
      ...scrubberShortcuts(),
      { keys: 'L', what: t('replay.key-broken') },
      { keys: 'O', what: t('replay.key-open') },
    ]);
    player = Player(box, {
      run,
      canExplore: app.pages.includes('explore'),
      onMove: (n) =>
        navigate(format({ page: 'replay', params: { step: n || null } }), {
          replace: true,
          quiet: true,
        }),
      onVisit: (n) => visit(run, n),
      onPart: (part, n) => move(run, part, n),
      onAnother: () => {
        kept = null;
        navigate('#/replay', { replace: true, quiet: true });
        door();
      },
    });
    player.go(Number.isFinite(step) ? Math.trunc(step) : 0);
  }

  return {
    go: (/** @type {{params: Params}} */ next) => {
      if (player && shown) visit(shown, Number(next.params.step ?? 0));
    },
    destroy() {
      ended.abort();
      player?.destroy();
      box.remove();
    },
  };
}

/**
 * The first step to show: the step that violates a property, or the last valid step.
 * @param {Opened} run
 */
function worth({ timeline, verdict }) {
  const broken = timeline.marks.find((mark) => mark.kind === 'broken');
  return broken?.step ?? (verdict.accepted ? 0 : timeline.last);
}

async function example() {
  return [
    { name: `${EXAMPLE}.jsonl`, text: await getJson(`/ui/tours/${EXAMPLE}.jsonl`, { raw: true }) },
  ];
}

/**
 * A sentence with an element in place of `{command}`.
 * @param {string} sentence
 * @param {Node} element
 */
function around(sentence, element) {
  const [before, after = ''] = sentence.split('{command}');
  return [before, element, after];
}
