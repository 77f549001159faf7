// Pages of keys by prefix. The first page of all keys is kept up to date from the state.

import { h, keyed, still, text } from '../dom.js';
import { t } from '../i18n.js';
import { ask } from './key-value.js';

/** The number of keys of a page. */
const LIMIT = 25;
/** The number of characters shown of a value. */
const SHOWN = 120;

/** @param {{onPick: (item: KeyItem) => void}} options */
export function KeyList({ onPick }) {
  let prefix = '';
  /**
   * The start of the current page; `null` for the first page.
   * @type {string | null}
   */
  let page = null;
  /** @type {(string | null)[]} */
  let before = [];
  /** @type {string | null} */
  let next = null;

  const search = h('input', {
    type: 'search',
    'aria-label': t('live.prefix'),
    placeholder: t('live.prefix-short'),
    autocomplete: 'off',
    spellcheck: 'false',
  });
  const body = h('tbody', {});
  const note = h('p', { class: 'small dim', role: 'status' });
  /** @param {string} key @param {() => void} onclick */
  const button = (key, onclick) =>
    h('button', { type: 'button', disabled: true, onclick }, t(`live.${key}`));
  const back = button('page-back', () => go(before.pop() ?? null));
  const on = button('page-next', () => {
    before.push(page);
    go(next);
  });
  /** @param {Event} event */
  const onsubmit = (event) => {
    event.preventDefault();
    prefix = search.value;
    before = [];
    go(null);
  };
  const form = h(
    'form',
    { class: 'row', onsubmit },
    search,
    h('button', {}, t('live.list')),
    h('span', { class: 'spacer' }),
    back,
    on,
  );
  const element = h('div', { class: 'keys-list' }, form, table(body), note);

  /** @param {string | null} place */
  async function go(place) {
    page = place;
    const filter = prefix ? `&prefix=${encodeURIComponent(prefix)}` : '';
    const answer = await ask('GET', place ?? `/v1/kv?limit=${LIMIT}${filter}`);
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
    /** @param {any} item */
    const key = (item) => `${item.key_encoding ?? ''} ${item.key}`;
    keyed(body, items, key, makeRow, (row, item) => drawRow(row, item, onPick));
    back.disabled = before.length === 0 && page === null;
    on.disabled = !more;
    const words = [items.length ? '' : t('live.no-keys'), fresh ? '' : t('live.keys-old')];
    text(note, words.filter(Boolean).join(' '));
  }

  return {
    element,
    /** Requests the first page again, if it is shown. */
    refresh() {
      if (page === null) go(null);
    },
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
  };
}

/** @param {HTMLElement} body */
function table(body) {
  const head = h(
    'tr',
    {},
    h('th', { scope: 'col' }, t('live.key')),
    h('th', { scope: 'col' }, t('live.value')),
    h('th', { scope: 'col', class: 'number' }, t('live.version')),
  );
  return h(
    'div',
    { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': t('live.keys') },
    h('table', { class: 'keys' }, h('thead', {}, head), body),
  );
}

/** @param {KeyItem} item */
function makeRow({ key }) {
  const name = h('button', { type: 'button', class: 'quiet mono', title: t('live.edit', { key }) });
  return h(
    'tr',
    {},
    h('td', {}, name),
    h('td', { class: 'mono' }),
    h('td', { class: 'number mono' }),
  );
}

/**
 * @param {PageElement} row
 * @param {KeyItem} item
 * @param {(item: KeyItem) => void} onPick
 */
function drawRow(row, item, onPick) {
  const [name, value, version] = row.children;
  text(name.firstChild, item.key_encoding ? `base64 ${item.key}` : item.key);
  name.firstChild.onclick = () => onPick(item);
  const isCut = item.cut || item.value.length > SHOWN;
  const shown = item.value.slice(0, SHOWN) + (isCut ? '…' : '');
  text(value, (item.value_encoding ? 'base64 ' : '') + shown);
  const isNew = version.textContent && version.textContent !== String(item.version);
  if (isNew && !still()) row.animate([{ background: 'var(--accent-soft)' }, {}], 900);
  text(version, String(item.version));
}
