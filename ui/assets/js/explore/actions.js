// The actions of a state as words: the name of an action, its effect, the reason why it is forbidden, and
// the actions that the stage and the inspector offer for the selection.
//
//   offersOf(selected, here, onAct)      // buttons: {words, run, disabled, why, cls}

import { initial, label, sentence, the } from '../describe.js';
import { t } from '../i18n.js';
import { roleOf } from '../timeline.js';
import { sentence as reasonWords } from '../why.js';

/**
 * @typedef {{
 *   at: Picture, timeline: Timeline, list: Action[] | null, selected: Picked | null,
 * }} ActionsView
 */

/**
 * The reason why an action is forbidden, in the language of the page; null if it is allowed.
 * @param {Action} action
 */
export const reason = ({ why_not: english, cause }) => english && reasonWords(english, cause);

/**
 * The id of the server that the process tries next, if the key names one.
 * @param {Action} action
 */
const askOf = (action) => action.key.match(/-(\d+)$/)?.[1];

/**
 * The id of the server to which a leader transfers its leadership, if the key names one.
 * @param {Action} action
 */
const targetOf = (action) => action.key.match(/^\d+l(\d+)$/)?.[1];

/**
 * The name of an action, without its message.
 * @param {Action} action
 */
export const nameOf = (action) => t(`explore.act-${action.kind}`, { id: targetOf(action) });

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
  const says = nameOf(action);
  return { says: says === `explore.act-${action.kind}` ? action.label : says };
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
    return t(key, { who: name, to: the(`server ${targetOf(action)}`) });
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
    const name = nameOf(action);
    return {
      words: ask ? `${name} (${t('explore.ask', { id: ask })})` : name,
      run: () => onAct(action),
      disabled: !action.allowed,
      why: reason(action),
      cls: action.kind === 'deliver' ? 'primary' : '',
    };
  });
}
