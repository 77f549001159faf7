// What can happen in the state shown: a button for each event, grouped by the process it happens
// to. What is forbidden is there too, disabled, with the reason. Messages that have been delivered
// before are folded away: they can arrive again.
//
//   const actions = Actions(host, {onAct(action), onHover(message | null)});
//   actions.update({at, timeline, list: here.actions | null, selected});
//   actions.focusSearch();

import { family, initial, label, role, sentence, who } from '../describe.js';
import { h, replace } from '../dom.js';
import { t } from '../i18n.js';
import { roleOf, splitName, termOf } from '../timeline.js';

const GROUPS = {
  messages: ['deliver', 'again', 'drop'], timers: ['timeout', 'heartbeat', 'quorum', 'client-timeout', 'proxy-timeout'],
  faults: ['crash', 'restart', 'drop', 'again', 'sync', 'compact'], clients: ['client', 'read', 'invoke', 'client-timeout'],
};

/** Why something is forbidden, in the language of the page where the sentence is known. */
export function reason(why) {
  for (const [pattern, key] of REASONS) {
    const found = why.match(pattern);
    if (found) return t(key, { ...found.groups, what: found.groups?.what && t(`explore.bound-${found.groups.what}`) });
  }
  return why;
}

const REASONS = [
  [/^this scope has no (?<what>entries|reads|crashes|snapshots)$/, 'explore.why-none'],
  [/^it takes more (?<what>entries|reads|crashes|snapshots) than the (?<most>\d+) of this scope$/, 'explore.why-spent'],
  [/^no term after (?<term>\d+) may be entered in this scope$/, 'explore.why-term'],
  [/^it was dropped in step (?<step>\d+): it can arrive once it is sent again$/, 'explore.why-dropped'],
  [/^(?<who>\w+ \d+) is down$/, 'explore.why-down'],
  [/ is in no state for this$/, 'explore.why-state'],
];

export function Actions(host, { onAct }) {
  const search = h('input', { type: 'search', placeholder: t('explore.search-short'), 'aria-label': t('explore.search'), 'aria-keyshortcuts': '/', oninput: draw });
  const kind = h('select', { 'aria-label': t('explore.kind'), onchange: draw }, ['all', ...Object.keys(GROUPS)].map((name) => h('option', { value: name }, t(`explore.kind-${name}`))));
  const forbidden = h('input', { type: 'checkbox', checked: true, onchange: draw });
  const body = h('div', { class: 'act-list' });
  const box = h('div', { class: 'actions' }, h('h2', { class: 'sr-only' }, t('explore.tab-actions')), h('div', { class: 'act-filter' }, search, kind, h('label', { class: 'small' }, forbidden, ' ', t('explore.show-forbidden'))), body);
  host.append(box);
  let view = null;
  const unfolded = new Set();

  function words(action) {
    const message = action.message ? view.timeline.message(action.message) : null;
    if (message) return { message, says: label(message.message), from: initial(message.from), ask: action.key.match(/-(\d+)$/)?.[1] };
    return { says: t(`explore.act-${action.kind}`) === `explore.act-${action.kind}` ? action.label : t(`explore.act-${action.kind}`) };
  }

  function matches(action) {
    if (kind.value !== 'all' && !GROUPS[kind.value].includes(action.kind)) return false;
    if (!forbidden.checked && !action.allowed) return false;
    const asked = search.value.trim().toLowerCase();
    if (!asked) return true;
    const { says, message } = words(action);
    const all = `${says} ${action.label} ${action.key} ${action.kind} ${t(`explore.act-${action.kind}`)} ${who(action.process)} ${initial(action.process)} ${message ? `${who(message.from)} ${sentence(message.message)}` : ''}`.toLowerCase();
    return asked.split(/\s+/).every((word) => all.includes(word));
  }

  function button(action, content, cls = '') {
    const why = action.why_not ? t('explore.forbidden', { why: reason(action.why_not) }) : null;
    return h('button', {
      type: 'button', class: `act ${cls}${action.allowed && action.effect === false && action.kind !== 'drop' ? ' is-idle' : ''}`, disabled: !action.allowed, 'data-key': action.key,
      title: why ?? `${who(action.process)} ${action.label}${action.effect === false && action.kind !== 'drop' ? `\n${t('explore.no-effect')}` : ''}`,
      onclick: () => onAct(action),
    }, content, why && h('span', { class: 'act-why' }, reason(action.why_not)));
  }

  function messageRow(main, drop) {
    const { message, says, from, ask } = words(main);
    return h('div', { class: `act-message is-${message ? family(message.message) : 'vote'}${view.selected?.message === main.message ? ' is-picked' : ''}` },
      button(main, [h('span', { class: 'act-from' }, `${from} →`), ' ', h('span', { class: 'mono' }, says), ask && h('span', { class: 'dim' }, ` ${t('explore.ask', { id: ask })}`)], 'act-deliver'),
      drop && button(drop, h('span', { 'aria-label': `${t('explore.act-drop')}: ${says}` }, '✕'), 'act-drop'));
  }

  function draw() {
    if (!view) return;
    const { list, at } = view;
    if (!list) { body.setAttribute('aria-busy', 'true'); return; }
    body.removeAttribute('aria-busy');
    const held = document.activeElement?.dataset?.key;
    const some = list.filter(matches);
    const gone = new Set(list.filter((action) => action.kind === 'drop' && !action.allowed).map((action) => action.message));
    replace(body, at.names.map((name) => {
      const mine = some.filter((action) => action.process === name);
      if (!mine.length) return null;
      const drops = new Map(mine.filter((action) => action.kind === 'drop').map((action) => [action.message, action]));
      const row = (action) => { const drop = drops.get(action.message); return messageRow(action, drop?.allowed ? drop : null); };
      const plain = mine.filter((action) => !action.message).sort((one, other) => other.allowed - one.allowed);
      const isGone = (action) => !action.allowed && gone.has(action.message);
      const fresh = mine.filter((action) => action.kind === 'deliver' && !isGone(action));
      const old = mine.filter((action) => action.kind === 'again' || (action.kind === 'deliver' && isGone(action)));
      const snapshot = at.processes[name];
      const isServer = splitName(name).kind === 'server';
      const again = h('details', { open: unfolded.has(name) || search.value !== '' || kind.value === 'faults', ontoggle: (event) => { fill(); if (search.value) return; if (event.target.open) unfolded.add(name); else unfolded.delete(name); } },
        h('summary', {}, t('explore.again', { n: old.length })));
      const freshRows = fresh.map(row);
      // After thousands of steps there are thousands of them: made when somebody looks.
      const fill = () => { if (again.open && again.children.length === 1) again.append(...old.map(row)); };
      fill();
      const withRow = new Set([...fresh, ...old].map((action) => action.message));
      const lonely = [...drops.values()].filter((drop) => drop.allowed && kind.value !== 'all' && !withRow.has(drop.message));
      return h('section', { class: 'act-group', 'aria-label': who(name) },
        h('h3', {}, who(name), ' ', isServer && h('span', { class: `term-badge term-${termOf(snapshot) % 8}` }, `${role(roleOf(snapshot))} · t${termOf(snapshot)}`)),
        plain.length > 0 && h('div', { class: 'act-plain' }, plain.map((action) => button(action, words(action).says))),
        freshRows, old.length > 0 && again, lonely.map((drop) => messageRow(drop, null)));
    }), some.length === 0 && h('p', { class: 'dim' }, t(list.length ? 'explore.no-match' : 'explore.no-action')));
    if (held) body.querySelector(`[data-key="${CSS.escape(held)}"]`)?.focus();
  }

  return {
    update(next) { view = next; draw(); },
    focusSearch() { search.focus(); search.select(); },
    destroy() { box.remove(); },
  };
}
