// The form that accepts traces: files, a pasted text, or the example.
//
//   replace(box, Chooser({wrong, usedDisks, onDisks(isUsed), onOpen(read)}));
//
// `read` is a function that reads the selected traces.

import { getJson } from '../api.js';
import { h } from '../dom.js';
import { t } from '../i18n.js';
import { readFiles } from './open.js';

const EXAMPLE = 'figure-8-bug';

/** @typedef {() => Promise<TraceFile[]>} ReadTraces */

/**
 * `wrong` is the reason why the last traces were refused.
 * @param {{
 *   wrong: string | null, usedDisks: boolean, onDisks: (isUsed: boolean) => void,
 *   onOpen: (read: ReadTraces) => void,
 * }} options
 */
export function Chooser({ wrong, usedDisks, onDisks, onOpen }) {
  const disks = h('input', {
    type: 'checkbox',
    checked: usedDisks,
    onchange: () => onDisks(disks.checked),
  });
  return h(
    'div',
    { class: 'replay-chooser' },
    h('h1', {}, t('replay.title')),
    h('p', { class: 'replay-lead' }, t('replay.lead')),
    wrong && h('div', { class: 'notice is-bad', role: 'alert' }, h('p', {}, wrong)),
    dropArea(onOpen),
    h('label', { class: 'replay-disks small' }, disks, ' ', t('replay.used-disks')),
    pasteArea(onOpen),
    h(
      'p',
      {},
      h(
        'button',
        { type: 'button', class: 'link', onclick: () => onOpen(example) },
        t('replay.example'),
      ),
    ),
  );
}

/** @param {(read: ReadTraces) => void} onOpen */
function dropArea(onOpen) {
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
      if (files.length) onOpen(() => readFiles(files));
    },
  });
  /** @param {string} words */
  const command = (words) => h('code', {}, words);
  return h(
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
  );
}

/** @param {(read: ReadTraces) => void} onOpen */
function pasteArea(onOpen) {
  const pasted = h('textarea', {
    rows: 6,
    spellcheck: 'false',
    'aria-label': t('replay.paste-about'),
    placeholder: '{"schema":"stateraft-trace/4",…',
  });
  const read = async () => [{ name: t('replay.pasted'), text: pasted.value }];
  return h(
    'details',
    { class: 'replay-paste' },
    h('summary', {}, t('replay.paste')),
    pasted,
    h('button', { type: 'button', onclick: () => onOpen(read) }, t('replay.open')),
  );
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
