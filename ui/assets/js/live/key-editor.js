// The editor for one key: get, put, delete, and conditional put and delete. The outcome of a write has
// the words of docs/http.md: done, the condition did not hold, not done, or unknown.
//
// `key-form.js` has the inputs.

import { t } from '../i18n.js';
import { KeyForm } from './key-form.js';
import { ask, fromBase64, keyPath, utf8 } from './key-value.js';

/** @param {{onWritten: () => void}} options */
export function KeyEditor({ onWritten }) {
  /**
   * The key selected in the list: its bytes, and the text in the input.
   * @type {{shown: string, bytes: Uint8Array} | null}
   */
  let chosen = null;
  const form = KeyForm({
    get: () => act(get),
    put: () => act(put),
    delete: () => act(remove),
  });
  const { key, say } = form;
  say('plain', t('live.editor-hint'));

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
    form.setBusy(true);
    say('plain', t('live.asking'));
    try {
      await run();
    } finally {
      form.setBusy(false);
    }
  }

  async function get() {
    const { status, body, words } = await ask('GET', path());
    if (status === 404) say('plain', t('live.absent'));
    else if (status !== 200) say('bad', words);
    else {
      form.fill(body);
      say('good', t('live.got', { version: body.version }));
    }
  }

  async function put() {
    let value;
    try {
      value = form.value();
    } catch {
      say('bad', t('live.not-base64'));
      return;
    }
    showWritten(await ask('PUT', path(), value, form.conditions()));
  }

  async function remove() {
    showWritten(await ask('DELETE', path(), undefined, form.conditions()));
  }

  /** @param {import('./key-value.js').Answer} answer */
  function showWritten(answer) {
    if (answer.status !== 200) {
      say(...failureOf(answer));
      return;
    }
    const { version } = answer.body;
    form.setVersion(version);
    say('good', t('live.written', { version }));
    onWritten();
  }

  return {
    element: form.element,
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
