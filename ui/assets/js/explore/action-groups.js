// The sections of the list of actions, one for each process with an action.
//
//   groupsOf(names, actions, listed, isDropListed)      // data: {name, plain, fresh, old, drops, lonely}
//   const groups = ActionGroups({onAct});
//   groups.draw(group, {view, isOpen})                  // a section

import { family, role, who } from '../describe.js';
import { h } from '../dom.js';
import { t } from '../i18n.js';
import { roleOf, splitName, termOf } from '../timeline.js';
import { isIdle, reason, wordsOf } from './actions.js';

/**
 * The actions of a process. `plain` concern no message, `fresh` deliver a message for the first time,
 * `old` deliver it again, `drops` has the drops by message, and `lonely` those without a delivery in the
 * list.
 * @typedef {{
 *   name: string, plain: Action[], fresh: Action[], old: Action[],
 *   drops: Map<number | null, Action>, lonely: Action[],
 * }} ActionGroup
 * @typedef {{
 *   view: import('./actions.js').ActionsView,
 *   isOpen: boolean, hasText: boolean,
 * }} GroupView
 */

/**
 * Groups the listed actions by process. A message whose drop is forbidden was dropped before, so that its
 * delivery is not a fresh one.
 * @param {string[]} names
 * @param {Action[]} actions
 * @param {Action[]} listed
 * @param {boolean} isDropListed
 * @returns {ActionGroup[]}
 */
export function groupsOf(names, actions, listed, isDropListed) {
  const gone = new Set(
    actions.filter(({ kind, allowed }) => kind === 'drop' && !allowed).map((one) => one.message),
  );
  /** @param {Action} action */
  const isGone = (action) => !action.allowed && gone.has(action.message);
  return names
    .map((name) => listed.filter(({ process }) => process === name))
    .filter((mine) => mine.length > 0)
    .map((mine) => {
      /** @param {string} kind */
      const ofKind = (kind) => mine.filter((action) => action.kind === kind);
      const drops = new Map(ofKind('drop').map((action) => [action.message, action]));
      const fresh = ofKind('deliver').filter((action) => !isGone(action));
      const old = mine.filter(
        (action) => action.kind === 'again' || (action.kind === 'deliver' && isGone(action)),
      );
      const withRow = new Set([...fresh, ...old].map(({ message }) => message));
      return {
        name: mine[0].process,
        plain: mine
          .filter(({ message }) => !message)
          .sort((one, other) => Number(other.allowed) - Number(one.allowed)),
        fresh,
        old,
        drops,
        lonely: [...drops.values()].filter(
          ({ allowed, message }) => allowed && isDropListed && !withRow.has(message),
        ),
      };
    });
}

/** @param {{onAct: (action: Action) => void}} options */
export function ActionGroups({ onAct }) {
  /** The processes whose repeated deliveries are open. */
  const unfolded = new Set();

  /**
   * @param {Action} action
   * @param {Content} content
   */
  const button = (action, content, cls = '') =>
    h(
      'button',
      {
        type: 'button',
        class: `act ${cls}${isIdle(action) ? ' is-idle' : ''}`,
        disabled: !action.allowed,
        'data-key': action.key,
        onclick: () => onAct(action),
      },
      content,
      action.why_not && h('span', { class: 'act-why' }, reason(action)),
    );

  /**
   * A message: the button that delivers it, and the button that drops it.
   * @param {Action} main
   * @param {Action | undefined} drop
   * @param {GroupView['view']} view
   */
  function messageRow(main, drop, { timeline, selected }) {
    const { message, says, from, ask } = wordsOf(main, timeline);
    const isPicked = selected?.message === main.message;
    const label = [
      h('span', { class: 'act-from' }, `${from} →`),
      ' ',
      h('span', { class: 'mono' }, says),
      ask && h('span', { class: 'dim' }, ` ${t('explore.ask', { id: ask })}`),
    ];
    const cross = () => h('span', { 'aria-label': `${t('explore.act-drop')}: ${says}` }, '✕');
    return h(
      'div',
      {
        class: `act-message is-${message ? family(message.message) : 'vote'}${isPicked ? ' is-picked' : ''}`,
      },
      button(main, label, 'act-deliver'),
      drop?.allowed && button(drop, cross(), 'act-drop'),
    );
  }

  /**
   * The deliveries of messages that were delivered or dropped before.
   * @param {ActionGroup} group
   * @param {GroupView} view
   * @param {(action: Action) => Element} row
   */
  function repeated({ name, old }, { isOpen, hasText }, row) {
    const box = h(
      'details',
      {
        open: unfolded.has(name) || isOpen,
        ontoggle: () => {
          fill();
          // A search opens the list for its results only.
          if (hasText) return;
          if (box.open) unfolded.add(name);
          else unfolded.delete(name);
        },
      },
      h('summary', {}, t('explore.again', { n: old.length })),
    );
    // A long run has thousands of them, so they are created when the list opens.
    const fill = () => {
      if (box.open && box.children.length === 1) box.append(...old.map(row));
    };
    fill();
    return box;
  }

  /**
   * @param {ActionGroup} group
   * @param {GroupView} groupView
   */
  function draw(group, groupView) {
    const { name, plain, fresh, old, drops, lonely } = group;
    const { view } = groupView;
    /** @param {Action} action */
    const row = (action) => messageRow(action, drops.get(action.message), view);
    return h(
      'section',
      { class: 'act-group', 'aria-label': who(name) },
      h('h3', {}, who(name), ' ', termBadge(name, view.at.processes[name])),
      plain.length > 0 &&
        h(
          'div',
          { class: 'act-plain' },
          plain.map((action) => button(action, wordsOf(action, view.timeline).says)),
        ),
      fresh.map(row),
      old.length > 0 && repeated(group, groupView, row),
      lonely.map((drop) => messageRow(drop, undefined, view)),
    );
  }

  return { draw };
}

/**
 * The role and the term of a server; `null` for other processes.
 * @param {string} name
 * @param {Snapshot | null} snapshot
 */
function termBadge(name, snapshot) {
  if (splitName(name).kind !== 'server') return null;
  const term = termOf(snapshot);
  const words = `${role(roleOf(snapshot))} · t${term}`;
  return h('span', { class: `term-badge term-${term % 8}` }, words);
}
