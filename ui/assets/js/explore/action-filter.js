// The filter of the list of actions: a text, a kind, and whether forbidden actions are listed.
//
//   const filter = ActionFilter(onChange);
//   filter.element
//   list.filter((action) => filter.accepts(action, timeline))

import { initial, sentence, who } from '../describe.js';
import { h } from '../dom.js';
import { t } from '../i18n.js';
import { nameOf, wordsOf } from './actions.js';

/** @type {Record<string, string[]>} */
const KINDS = {
  messages: ['deliver', 'again', 'drop'],
  timers: ['timeout', 'heartbeat', 'quorum', 'abort-transfer', 'client-timeout', 'proxy-timeout'],
  faults: ['crash', 'restart', 'drop', 'again', 'sync', 'compact'],
  clients: ['client', 'read', 'invoke', 'client-timeout', 'transfer'],
};

/** @param {() => void} onChange */
export function ActionFilter(onChange) {
  const search = h('input', {
    type: 'search',
    placeholder: t('explore.search-short'),
    'aria-label': t('explore.search'),
    'aria-keyshortcuts': '/',
    oninput: onChange,
  });
  const kind = h(
    'select',
    { 'aria-label': t('explore.kind'), onchange: onChange },
    ['all', ...Object.keys(KINDS)].map((name) =>
      h('option', { value: name }, t(`explore.kind-${name}`)),
    ),
  );
  const forbidden = h('input', { type: 'checkbox', checked: true, onchange: onChange });
  const element = h(
    'div',
    { class: 'act-filter' },
    search,
    kind,
    h('label', { class: 'small' }, forbidden, ' ', t('explore.show-forbidden')),
  );
  return {
    element,
    /** The selected kind, or `all`. */
    get kind() {
      return kind.value;
    },
    get hasText() {
      return search.value !== '';
    },
    /**
     * @param {Action} action
     * @param {Timeline} timeline
     */
    accepts(action, timeline) {
      if (kind.value !== 'all' && !KINDS[kind.value].includes(action.kind)) return false;
      if (!forbidden.checked && !action.allowed) return false;
      return matches(search.value, action, timeline);
    },
    focus() {
      search.focus();
      search.select();
    },
  };
}

/**
 * Whether each word of a query occurs in the words of an action, in any order and case.
 * @param {string} query
 * @param {Action} action
 * @param {Timeline} timeline
 */
export function matches(query, action, timeline) {
  const wanted = query.trim().toLowerCase();
  if (!wanted) return true;
  const { says, message } = wordsOf(action, timeline);
  const all = [
    says,
    action.label,
    action.key,
    action.kind,
    nameOf(action),
    who(action.process),
    initial(action.process),
    message ? `${who(message.from)} ${sentence(message.message)}` : '',
  ]
    .join(' ')
    .toLowerCase();
  return wanted.split(/\s+/).every((word) => all.includes(word));
}
