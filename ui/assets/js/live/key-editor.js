// The editor for one key: get, put, delete, and conditional put and delete. The outcome of a write has
// the words of docs/http.md: done, the condition did not hold, not done, or unknown.

import { h, replace, set } from '../dom.js';
import { t } from '../i18n.js';
import { ask, fromBase64, keyPath, toBase64, utf8 } from './key-value.js';

/** @param {{onWritten: () => void}} options */
export function KeyEditor({ onWritten }) {
  /**
   * The key selected in the list: its bytes, and the text in the input.
   * @type {{shown: string, bytes: Uint8Array} | null}
   */
  let chosen = null;

  const key = h('input', {
    id: 'live-key',
    type: 'text',
    required: true,
    autocomplete: 'off',
    spellcheck: 'false',
  });
  const value = h('textarea', { id: 'live-value', rows: 4, spellcheck: 'false' });
  const binary = h('input', { type: 'checkbox' });
  const condition = h(
    'select',
    { id: 'live-condition', onchange: () => conditionChanged() },
    ['always', 'absent', 'present', 'version'].map((name) =>
      h('option', { value: name }, t(`live.if-${name}`)),
    ),
  );
  const version = h('input', {
    type: 'number',
    min: 1,
    'aria-label': t('live.version'),
    hidden: true,
  });
  const outcome = h('p', { class: 'outcome', role: 'status', 'aria-live': 'polite' });
  /** @param {string} name @param {string} cls @param {() => Promise<void>} run */
  const button = (name, cls, run) =>
    h('button', { type: 'button', class: cls, onclick: () => act(run) }, t(`live.${name}`));
  const buttons = h(
    'div',
    { class: 'row' },
    button('get', '', get),
    button('put', 'primary', put),
    button('delete', 'danger', remove),
  );
  const element = h(
    'form',
    {
      class: 'keys-editor',
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        act(get);
      },
    },
    h('label', { for: 'live-key' }, t('live.key')),
    key,
    h('label', { for: 'live-value' }, t('live.value')),
    value,
    h('label', { class: 'small row' }, binary, t('live.base64')),
    h('label', { for: 'live-condition' }, t('live.only')),
    h('div', { class: 'row' }, condition, version),
    buttons,
    outcome,
  );
  say('plain', t('live.editor-hint'));

  function conditionChanged() {
    version.hidden = condition.value !== 'version';
  }

  function path() {
    return keyPath(chosen?.shown === key.value ? chosen.bytes : utf8(key.value));
  }

  /** @param {() => Promise<void>} run */
  async function act(run) {
    if (!key.value) {
      say('bad', t('live.key-missing'));
      key.focus();
      return;
    }
    setBusy(true);
    say('plain', t('live.asking'));
    try {
      await run();
    } finally {
      setBusy(false);
    }
  }

  /** @param {boolean} isBusy */
  function setBusy(isBusy) {
    for (const each of buttons.querySelectorAll('button')) each.disabled = isBusy;
  }

  async function get() {
    const answer = await ask('GET', path());
    if (answer.status === 404) {
      say('plain', t('live.absent'));
      return;
    }
    if (answer.status !== 200) {
      say('bad', answer.words);
      return;
    }
    value.value = answer.body.value;
    binary.checked = answer.body.value_encoding === 'base64';
    if (value.value !== answer.body.value) {
      // A text area changes line endings. Encoded as base64, the value survives being written back.
      value.value = toBase64(utf8(answer.body.value));
      binary.checked = true;
    }
    version.value = answer.body.version;
    say('good', t('live.got', { version: answer.body.version }));
  }

  async function put() {
    /** @type {string | Uint8Array<ArrayBuffer>} */
    let held = value.value;
    if (binary.checked) {
      try {
        held = fromBase64(value.value);
      } catch {
        say('bad', t('live.not-base64'));
        return;
      }
    }
    wrote(await ask('PUT', path(), held, conditions()));
  }

  async function remove() {
    wrote(await ask('DELETE', path(), undefined, conditions()));
  }

  /** @returns {Record<string, string>} */
  function conditions() {
    switch (condition.value) {
      case 'absent':
        return { 'if-none-match': '*' };
      case 'present':
        return { 'if-match': '*' };
      case 'version':
        return { 'if-match': `"${Number(version.value) || 0}"` };
      default:
        return {};
    }
  }

  /** @param {import('./key-value.js').Answer} answer */
  function wrote(answer) {
    if (answer.status === 200) {
      version.value = answer.body.version;
      say('good', t('live.written', { version: answer.body.version }));
      onWritten();
      return;
    }
    const [kind, words] = failureOf(answer);
    say(kind, words);
  }

  /**
   * @param {string} kind
   * @param {Content} words
   */
  function say(kind, words) {
    set(outcome, { class: `outcome is-${kind}` });
    replace(outcome, h('b', {}, t(`live.outcome-${kind}`)), ' ', words);
  }

  return {
    element,
    /**
     * Shows an item of the list, with its complete value.
     * @param {KeyItem} item
     */
    edit(item) {
      key.value = item.key;
      const bytes = item.key_encoding ? fromBase64(item.key) : utf8(item.key);
      chosen = { shown: key.value, bytes };
      act(get);
    },
    focus() {
      key.focus();
    },
  };
}

/**
 * The kind and the words of a write that did not succeed.
 * @param {import('./key-value.js').Answer} answer
 * @returns {[string, string]}
 */
function failureOf({ status, body, words }) {
  const { code, outcome, version } = body?.error ?? {};
  if (status === 412 && version === null) return ['warn', t('live.failed-absent')];
  if (status === 412) return ['warn', t('live.failed-version', { version })];
  if (status === 404) return ['plain', t('live.absent')];
  if (status === 0) return ['unknown', t('live.unknown')];
  if (code === 'outcome_unknown') return ['unknown', words];
  if (status === 503 && outcome === 'not_done') return ['bad', t('live.not-done', { why: words })];
  return ['bad', words];
}
