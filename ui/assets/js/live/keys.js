// The keys: pages of keys by prefix, and an editor for one key with get, put, delete, and conditional
// put and delete. The outcome of a write has the words of docs/http.md: done, the condition did not
// hold, not done, or unknown.

import { token } from '../api.js';
import { h, keyed, replace, set, still, text } from '../dom.js';
import { t } from '../i18n.js';
import { saidBy } from './chaos.js';

const LIMIT = 25;

/** @param {HTMLElement} host */
export function Keys(host) {
  let prefix = '';
  /**
   * The start of the current page; the first page starts at `null` and is kept up to date.
   * @type {string | null}
   */
  let page = null;
  /** @type {(string | null)[]} */
  let before = [];
  /** @type {string | null} */
  let next = null;
  /**
   * The key selected in the list: its bytes, and the text in the input.
   * @type {{shown: string, bytes: Uint8Array} | null}
   */
  let chosen = null;

  const search = h('input', {
    type: 'search',
    'aria-label': t('live.prefix'),
    placeholder: t('live.prefix-short'),
    autocomplete: 'off',
    spellcheck: 'false',
  });
  const body = h('tbody', {});
  const note = h('p', { class: 'small dim', role: 'status' });
  const back = h(
    'button',
    { type: 'button', onclick: () => go(before.pop() ?? null) },
    t('live.page-back'),
  );
  const on = h(
    'button',
    {
      type: 'button',
      onclick: () => {
        before.push(page);
        go(next);
      },
    },
    t('live.page-next'),
  );
  const list = h(
    'div',
    { class: 'keys-list' },
    h(
      'form',
      {
        class: 'row',
        onsubmit: (event) => {
          event.preventDefault();
          prefix = search.value;
          before = [];
          go(null);
        },
      },
      search,
      h('button', {}, t('live.list')),
      h('span', { class: 'spacer' }),
      back,
      on,
    ),
    h(
      'div',
      { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': t('live.keys') },
      h(
        'table',
        { class: 'keys' },
        h(
          'thead',
          {},
          h(
            'tr',
            {},
            h('th', { scope: 'col' }, t('live.key')),
            h('th', { scope: 'col' }, t('live.value')),
            h('th', { scope: 'col', class: 'number' }, t('live.version')),
          ),
        ),
        body,
      ),
    ),
    note,
  );

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
  const button = (name, cls, run) =>
    h('button', { type: 'button', class: cls, onclick: () => act(name, run) }, t(`live.${name}`));
  const buttons = h(
    'div',
    { class: 'row' },
    button('get', '', get),
    button('put', 'primary', put),
    button('delete', 'danger', remove),
  );
  const editor = h(
    'form',
    {
      class: 'keys-editor',
      onsubmit: (event) => {
        event.preventDefault();
        act('get', get);
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
  host.append(h('div', { class: 'keys-both' }, list, editor));
  say('plain', t('live.editor-hint'));

  function conditionChanged() {
    version.hidden = condition.value !== 'version';
  }

  /* Listing. */

  /** @param {string | null} place */
  async function go(place) {
    page = place;
    const url =
      place ?? `/v1/kv?limit=${LIMIT}${prefix ? `&prefix=${encodeURIComponent(prefix)}` : ''}`;
    const answer = await ask('GET', url);
    if (answer.status !== 200) {
      text(note, answer.words);
      return;
    }
    next = answer.body.next;
    show(answer.body.items, Boolean(next), true);
  }

  /**
   * @param {KeyItem[]} items
   * @param {boolean} more
   * @param {boolean} fresh
   */
  function show(items, more, fresh) {
    keyed(
      body,
      items,
      (item) => `${item.key_encoding ?? ''} ${item.key}`,
      (item) => {
        const name = h('button', {
          type: 'button',
          class: 'quiet mono',
          title: t('live.edit', { key: item.key }),
        });
        return h(
          'tr',
          {},
          h('td', {}, name),
          h('td', { class: 'mono' }),
          h('td', { class: 'number mono' }),
        );
      },
      (row, item) => {
        const [name, held, version] = row.children;
        text(name.firstChild, item.key_encoding ? `base64 ${item.key}` : item.key);
        name.firstChild.onclick = () => {
          key.value = item.key;
          chosen = {
            shown: key.value,
            bytes: item.key_encoding ? fromBase64(item.key) : utf8(item.key),
          };
          act('get', get);
        };
        const shown =
          item.value.length > 120
            ? `${item.value.slice(0, 120)}…`
            : item.value + (item.cut ? '…' : '');
        text(held, (item.value_encoding ? 'base64 ' : '') + shown);
        if (!still() && version.textContent && version.textContent !== String(item.version))
          row.animate([{ background: 'var(--accent-soft)' }, {}], 900);
        text(version, String(item.version));
      },
    );
    back.disabled = before.length === 0 && page === null;
    on.disabled = !more;
    text(
      note,
      [items.length ? '' : t('live.no-keys'), fresh ? '' : t('live.keys-old')]
        .filter(Boolean)
        .join(' '),
    );
  }

  /* One key. */

  function path() {
    return keyPath(chosen?.shown === key.value ? chosen.bytes : utf8(key.value));
  }

  /**
   * @param {string} name
   * @param {() => Promise<void>} run
   */
  async function act(name, run) {
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

  /** @param {{status: number, body: any, words: string}} answer */
  function wrote(answer) {
    if (answer.status === 200) {
      version.value = answer.body.version;
      say('good', t('live.written', { version: answer.body.version }));
      if (page === null) go(null);
      return;
    }
    const { code, outcome: known, version: now } = answer.body?.error ?? {};
    if (answer.status === 412)
      say(
        'warn',
        now === null ? t('live.failed-absent') : t('live.failed-version', { version: now }),
      );
    else if (answer.status === 404) say('plain', t('live.absent'));
    else if (answer.status === 0) say('unknown', t('live.unknown'));
    else if (code === 'outcome_unknown') say('unknown', answer.words);
    else if (answer.status === 503 && known === 'not_done')
      say('bad', t('live.not-done', { why: answer.words }));
    else say('bad', answer.words);
  }

  /**
   * @param {string} kind
   * @param {Content} words
   */
  function say(kind, words) {
    set(outcome, { class: `outcome is-${kind}` });
    replace(outcome, h('b', {}, t(`live.outcome-${kind}`)), ' ', words);
  }

  back.disabled = true;
  on.disabled = true;
  return {
    /**
     * The current first keys, from the state.
     * @param {{status: Cluster | null}} state
     */
    update({ status }) {
      if (page !== null || prefix || !status) return;
      const { items, more, fresh } = status.keys;
      const last = items.at(-1);
      // The state has no link to the next page: the page requests it when it is needed.
      next = more && last ? `/v1/kv?limit=${LIMIT}&after=${encodeURIComponent(last.key)}` : null;
      show(items, more && !last?.key_encoding, fresh);
    },
    focus() {
      key.focus();
    },
  };
}

/** @param {string} text */
const utf8 = (text) => new TextEncoder().encode(text);
/** @param {string} text */
const fromBase64 = (text) => Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
/** @param {Uint8Array} bytes */
const toBase64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));

/**
 * The resource of a key, in base64url: browsers resolve `.` and `..` in paths, even if escaped.
 * @param {Uint8Array} bytes
 */
export const keyPath = (bytes) =>
  `/v1/key/${toBase64(bytes).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')}`;

/**
 * Never throws: status 0 means that no response arrived.
 * @param {string} method
 * @param {string} url
 * @param {string | Uint8Array<ArrayBuffer>} [body]
 * @param {Record<string, string>} [more]
 * @returns {Promise<{status: number, body: any, words: string}>}
 */
async function ask(method, url, body, more = {}) {
  /** @type {Record<string, string>} */
  const headers = { ...more };
  const held = token();
  if (held) headers.authorization = `Bearer ${held}`;
  try {
    const answer = await fetch(url, { method, headers, body, cache: 'no-store' });
    const told = await answer.json().catch(() => null);
    return {
      status: answer.status,
      body: told,
      words: saidBy(told) ?? t('shell.status', { status: answer.status }),
    };
  } catch {
    return { status: 0, body: null, words: t('shell.gone') };
  }
}
