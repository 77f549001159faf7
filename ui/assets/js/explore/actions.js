// The possible events of the current state: a button for each event, grouped by the process at which it
// happens. Forbidden events are listed too, disabled, with the reason. Messages that were delivered
// before are collapsed, although they can arrive again. A line below the list describes the button
// under the pointer or the focus. After a step the focus stays in the list.
//
//   const actions = Actions(host, {onAct(action), onHover(message | null)});
//   actions.update({at, timeline, list: here.actions | null, selected});
//   actions.focusSearch();
//
// `offersOf(selected, here, onAct)` returns the actions available for the selected message or process, as
// buttons for the stage and the inspector: `{words, run, disabled, why, cls}`.

import { family, initial, label, role, sentence, the, who } from '../describe.js';
import { closest, h, replace, text } from '../dom.js';
import { t } from '../i18n.js';
import { roleOf, splitName, termOf } from '../timeline.js';

/**
 * @typedef {{
 *   at: Picture, timeline: Timeline, list: Action[] | null, selected: Picked | null,
 * }} ActionsView
 */

/** @type {Record<string, string[]>} */
const GROUPS = {
  messages: ['deliver', 'again', 'drop'],
  timers: ['timeout', 'heartbeat', 'quorum', 'client-timeout', 'proxy-timeout'],
  faults: ['crash', 'restart', 'drop', 'again', 'sync', 'compact'],
  clients: ['client', 'read', 'invoke', 'client-timeout'],
};

/**
 * The reason why an action is forbidden, in the language of the page if the sentence is known.
 * @param {string} why
 */
export function reason(why) {
  for (const [pattern, key] of REASONS) {
    const found = why.match(pattern);
    if (found)
      return t(key, {
        ...found.groups,
        what: found.groups?.what && t(`explore.bound-${found.groups.what}`),
      });
  }
  return why;
}

/** @type {[RegExp, string][]} */
const REASONS = [
  [/^this scope has no (?<what>entries|reads|crashes|snapshots)$/, 'explore.why-none'],
  [
    /^it takes more (?<what>entries|reads|crashes|snapshots) than the (?<most>\d+) of this scope$/,
    'explore.why-spent',
  ],
  [/^no term after (?<term>\d+) may be entered in this scope$/, 'explore.why-term'],
  [
    /^it was dropped in step (?<step>\d+): it can arrive once it is sent again$/,
    'explore.why-dropped',
  ],
  [/^(?<who>\w+ \d+) is down$/, 'explore.why-down'],
  [/ is in no state for this$/, 'explore.why-state'],
];

/**
 * The effect of an action, as a sentence.
 * @param {Action} action
 * @param {ActionsView} view
 */
function sentenceOf(action, { at, timeline }) {
  const name = the(action.process);
  const snapshot = at.processes[action.process];
  const message = action.message ? timeline.message(action.message) : null;
  const told = () => {
    if (message && action.kind === 'drop')
      return t('stage.ev-drop', {
        message: sentence(message.message),
        from: the(message.from),
        to: the(message.to),
      });
    if (message)
      return t('stage.ev-deliver', {
        who: name,
        message: sentence(message.message),
        from: the(message.from),
      });
    const leads = roleOf(snapshot) === 'leader';
    const key =
      {
        heartbeat: leads ? 'stage.ev-heartbeat' : 'stage.ev-asks-again',
        quorum: leads ? 'stage.ev-quorum' : 'stage.ev-unheard',
        client: 'stage.ev-propose',
      }[action.kind] ?? `explore.about-${action.kind}`;
    return t(key, { who: name });
  };
  const words = told();
  return [
    `${words.charAt(0).toUpperCase()}${words.slice(1)}.`,
    action.why_not && t('explore.forbidden', { why: reason(action.why_not) }),
    action.allowed && action.effect === false && action.kind !== 'drop' && t('explore.no-effect'),
  ]
    .filter(Boolean)
    .join(' ');
}

/**
 * The buttons for the selected message or process.
 * @param {Picked | null} selected
 * @param {Here | null} here
 * @param {(action: Action) => void} onAct
 * @returns {Offer[]}
 */
export function offersOf(selected, here, onAct) {
  if (!selected || !here) return [];
  /** @param {Action} action */
  const isMine = (action) =>
    selected.message
      ? action.message === selected.message
      : action.process === selected.process && !action.message;
  return here.actions.filter(isMine).map((action) => {
    const ask = action.key.match(/-(\d+)$/)?.[1];
    const name = t(`explore.act-${action.kind}`);
    return {
      words: ask ? `${name} (${t('explore.ask', { id: ask })})` : name,
      run: () => onAct(action),
      disabled: !action.allowed,
      why: action.why_not && reason(action.why_not),
      cls: action.kind === 'deliver' ? 'primary' : '',
    };
  });
}

/**
 * @param {HTMLElement} host
 * @param {{onAct: (action: Action) => void}} options
 */
export function Actions(host, { onAct }) {
  const search = h('input', {
    type: 'search',
    placeholder: t('explore.search-short'),
    'aria-label': t('explore.search'),
    'aria-keyshortcuts': '/',
    oninput: draw,
  });
  const kind = h(
    'select',
    { 'aria-label': t('explore.kind'), onchange: draw },
    ['all', ...Object.keys(GROUPS)].map((name) =>
      h('option', { value: name }, t(`explore.kind-${name}`)),
    ),
  );
  const forbidden = h('input', { type: 'checkbox', checked: true, onchange: draw });
  const body = h('div', {
    class: 'act-list',
    tabindex: '-1',
    onfocusin: tell,
    onpointerover: tell,
    onfocusout: untell,
    onpointerleave: untell,
  });
  const about = h('p', { class: 'act-about small', role: 'note' });
  const box = h(
    'div',
    { class: 'actions' },
    h('h2', { class: 'sr-only' }, t('explore.tab-actions')),
    h(
      'div',
      { class: 'act-filter' },
      search,
      kind,
      h('label', { class: 'small' }, forbidden, ' ', t('explore.show-forbidden')),
    ),
    body,
    about,
  );
  host.append(box);
  /** @type {ActionsView} */
  let view;
  /** @type {Map<string | undefined, Action>} */
  let listed = new Map();
  text(about, t('explore.about-hint'));
  const unfolded = new Set();

  /** @param {Action} action */
  function words(action) {
    const message = action.message ? view.timeline.message(action.message) : null;
    if (message)
      return {
        message,
        says: label(message.message),
        from: initial(message.from),
        ask: action.key.match(/-(\d+)$/)?.[1],
      };
    return {
      says:
        t(`explore.act-${action.kind}`) === `explore.act-${action.kind}`
          ? action.label
          : t(`explore.act-${action.kind}`),
    };
  }

  /** @param {Event} event */
  function tell(event) {
    const action = listed.get(closest(event, '[data-key]')?.dataset.key);
    if (action) text(about, sentenceOf(action, view));
  }

  function untell() {
    const action = listed.get(
      /** @type {HTMLElement | null} */ (document.activeElement)?.dataset?.key,
    );
    text(
      about,
      action && body.contains(document.activeElement)
        ? sentenceOf(action, view)
        : t('explore.about-hint'),
    );
  }

  /** @param {Action} action */
  function matches(action) {
    if (kind.value !== 'all' && !GROUPS[kind.value].includes(action.kind)) return false;
    if (!forbidden.checked && !action.allowed) return false;
    const asked = search.value.trim().toLowerCase();
    if (!asked) return true;
    const { says, message } = words(action);
    const all =
      `${says} ${action.label} ${action.key} ${action.kind} ${t(`explore.act-${action.kind}`)} ${who(action.process)} ${initial(action.process)} ${message ? `${who(message.from)} ${sentence(message.message)}` : ''}`.toLowerCase();
    return asked.split(/\s+/).every((word) => all.includes(word));
  }

  /**
   * @param {Action} action
   * @param {Content} content
   */
  function button(action, content, cls = '') {
    return h(
      'button',
      {
        type: 'button',
        class: `act ${cls}${action.allowed && action.effect === false && action.kind !== 'drop' ? ' is-idle' : ''}`,
        disabled: !action.allowed,
        'data-key': action.key,
        onclick: () => onAct(action),
      },
      content,
      action.why_not && h('span', { class: 'act-why' }, reason(action.why_not)),
    );
  }

  /**
   * @param {Action} main
   * @param {Action | null} drop
   */
  function messageRow(main, drop) {
    const { message, says, from, ask } = words(main);
    return h(
      'div',
      {
        class: `act-message is-${message ? family(message.message) : 'vote'}${view.selected?.message === main.message ? ' is-picked' : ''}`,
      },
      button(
        main,
        [
          h('span', { class: 'act-from' }, `${from} →`),
          ' ',
          h('span', { class: 'mono' }, says),
          ask && h('span', { class: 'dim' }, ` ${t('explore.ask', { id: ask })}`),
        ],
        'act-deliver',
      ),
      drop &&
        button(
          drop,
          h('span', { 'aria-label': `${t('explore.act-drop')}: ${says}` }, '✕'),
          'act-drop',
        ),
    );
  }

  function draw() {
    if (!view) return;
    const { list, at } = view;
    if (!list) {
      body.setAttribute('aria-busy', 'true');
      return;
    }
    body.removeAttribute('aria-busy');
    const before = body.contains(document.activeElement) ? focused() : null;
    const some = list.filter(matches);
    listed = new Map(list.map((action) => [action.key, action]));
    const gone = new Set(
      list
        .filter((action) => action.kind === 'drop' && !action.allowed)
        .map((action) => action.message),
    );
    replace(
      body,
      at.names.map((name) => {
        const mine = some.filter((action) => action.process === name);
        if (!mine.length) return null;
        const drops = new Map(
          mine.filter((action) => action.kind === 'drop').map((action) => [action.message, action]),
        );
        /** @param {Action} action */
        const row = (action) => {
          const drop = drops.get(action.message);
          return messageRow(action, drop?.allowed ? drop : null);
        };
        const plain = mine
          .filter((action) => !action.message)
          .sort((one, other) => Number(other.allowed) - Number(one.allowed));
        /** @param {Action} action */
        const isGone = (action) => !action.allowed && gone.has(action.message);
        const fresh = mine.filter((action) => action.kind === 'deliver' && !isGone(action));
        const old = mine.filter(
          (action) => action.kind === 'again' || (action.kind === 'deliver' && isGone(action)),
        );
        const snapshot = at.processes[name];
        const isServer = splitName(name).kind === 'server';
        const again = h(
          'details',
          {
            open: unfolded.has(name) || search.value !== '' || kind.value === 'faults',
            ontoggle: (/** @type {Event} */ event) => {
              fill();
              if (search.value) return;
              if (again.open) unfolded.add(name);
              else unfolded.delete(name);
            },
          },
          h('summary', {}, t('explore.again', { n: old.length })),
        );
        const freshRows = fresh.map(row);
        // A long run has thousands of them, so they are created when the list opens.
        const fill = () => {
          if (again.open && again.children.length === 1) again.append(...old.map(row));
        };
        fill();
        const withRow = new Set([...fresh, ...old].map((action) => action.message));
        const lonely = [...drops.values()].filter(
          (drop) => drop.allowed && kind.value !== 'all' && !withRow.has(drop.message),
        );
        return h(
          'section',
          { class: 'act-group', 'aria-label': who(name) },
          h(
            'h3',
            {},
            who(name),
            ' ',
            isServer &&
              h(
                'span',
                { class: `term-badge term-${termOf(snapshot) % 8}` },
                `${role(roleOf(snapshot))} · t${termOf(snapshot)}`,
              ),
          ),
          plain.length > 0 &&
            h(
              'div',
              { class: 'act-plain' },
              plain.map((action) => button(action, words(action).says)),
            ),
          freshRows,
          old.length > 0 && again,
          lonely.map((drop) => messageRow(drop, null)),
        );
      }),
      some.length === 0 &&
        h('p', { class: 'dim' }, t(list.length ? 'explore.no-match' : 'explore.no-action')),
    );
    if (before) refocus(before);
  }

  /** @param {Element} within */
  const open = (within) =>
    /** @type {HTMLButtonElement[]} */ ([
      ...within.querySelectorAll('button:not([disabled])'),
    ]).filter((one) => one.checkVisibility());

  /** The focused button: its key and its position. */
  function focused() {
    const button = /** @type {HTMLButtonElement} */ (document.activeElement);
    const group = button.closest('.act-group');
    return {
      key: button.dataset.key,
      group: group?.getAttribute('aria-label'),
      inGroup: group ? open(group).indexOf(button) : 0,
      inList: open(body).indexOf(button),
    };
  }

  /**
   * Focuses the same button, or the button in its position, so that the next step is one key away.
   * @param {ReturnType<typeof focused>} before
   */
  function refocus({ key, group, inGroup, inList }) {
    /**
     * @param {HTMLButtonElement[]} buttons
     * @param {number} place
     */
    const at = (buttons, place) => buttons[Math.max(0, Math.min(place, buttons.length - 1))];
    /** @type {HTMLElement | null} */
    const same = key ? body.querySelector(`[data-key="${CSS.escape(key)}"]:not([disabled])`) : null;
    const near = [...body.querySelectorAll('.act-group')].find(
      (one) => one.getAttribute('aria-label') === group,
    );
    const next =
      same ||
      (near && at(open(near), inGroup)) ||
      at(open(body), inList) ||
      body.querySelector('summary') ||
      body;
    next.focus({ preventScroll: next === body });
  }

  return {
    /** @param {ActionsView} next */
    update(next) {
      view = next;
      draw();
      untell();
    },
    focusSearch() {
      search.focus();
      search.select();
    },
    destroy() {
      box.remove();
    },
  };
}
