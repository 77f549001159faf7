// The actions of a state as words: the name of an action, its effect, the reason why it is forbidden, and
// the actions that the stage and the inspector offer for the selection.
//
//   offersOf(selected, here, onAct)      // buttons: {words, run, disabled, why, cls}

import { initial, label, sentence, the } from '../describe.js';
import { t } from '../i18n.js';
import { roleOf } from '../timeline.js';

/**
 * @typedef {{
 *   at: Picture, timeline: Timeline, list: Action[] | null, selected: Picked | null,
 * }} ActionsView
 */

/**
 * The reason why an action is forbidden, in the language of the page if the sentence is known; null if it
 * is allowed.
 * @param {Action} action
 */
export function reason({ why_not: why }) {
  if (!why) return null;
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
 * The id of the server that the process tries next, if the key names one.
 * @param {Action} action
 */
const askOf = (action) => action.key.match(/-(\d+)$/)?.[1];

/**
 * The words of an action's button; for an action on a message, that message too.
 * @param {Action} action
 * @param {Timeline} timeline
 */
export function wordsOf(action, timeline) {
  const message = action.message ? timeline.message(action.message) : null;
  if (message)
    return {
      message,
      says: label(message.message),
      from: initial(message.from),
      ask: askOf(action),
    };
  const key = `explore.act-${action.kind}`;
  return { says: t(key) === key ? action.label : t(key) };
}

/**
 * Whether an allowed action leaves the state of its process as it is.
 * @param {Action} action
 */
export const isIdle = (action) =>
  action.allowed && action.effect === false && action.kind !== 'drop';

/**
 * The effect of an action, as a sentence.
 * @param {Action} action
 * @param {ActionsView} view
 */
export function sentenceOf(action, { at, timeline }) {
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
    action.why_not && t('explore.forbidden', { why: reason(action) }),
    isIdle(action) && t('explore.no-effect'),
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
    const ask = askOf(action);
    const name = t(`explore.act-${action.kind}`);
    return {
      words: ask ? `${name} (${t('explore.ask', { id: ask })})` : name,
      run: () => onAct(action),
      disabled: !action.allowed,
      why: reason(action),
      cls: action.kind === 'deliver' ? 'primary' : '',
    };
  });
}
