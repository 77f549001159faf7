// All details of the selection: a process, with the changes of the last step marked, or a message.
//
//   const inspector = Inspector(host, {onGoto(step), onPickProcess(name)});
//   inspector.update({timeline, at: timeline.at(n), selected: {process} | {message} | null,
//                     actions: [{words, run, disabled, why, cls}]});
//
// `actions` are buttons for the selection. Without a selection the inspector shows the process of the
// current step.

import { initial, who } from './describe.js';
import { h, replace } from './dom.js';
import { t } from './i18n.js';
import { messageDetails } from './inspector/message.js';
import { processDetails } from './inspector/process.js';

/**
 * @param {HTMLElement} host
 * @param {{onGoto?: (step: number) => void, onPickProcess?: (name: string) => void}} [options]
 */
export function Inspector(host, { onGoto = () => {}, onPickProcess = () => {} } = {}) {
  const box = h('div', { class: 'inspector' });
  host.append(box);

  /** @param {RunView} view */
  function draw({ timeline, at, selected, actions = [] }) {
    const buttons = actionButtons(actions);
    const message = selected?.message ? timeline.message(selected.message, at.n) : null;
    if (message) {
      replace(box, messageDetails(message, { timeline, onGoto, buttons }));
      return;
    }
    const name = selected?.process ?? at.step?.process ?? at.names[0];
    const snapshot = at.processes[name];
    if (!snapshot) {
      replace(box, h('p', { class: 'dim' }, t('stage.nothing')));
      return;
    }
    const before = at.step?.process === name ? at.before : null;
    replace(box, picker(at, name), processDetails(name, snapshot, before), buttons);
  }

  /**
   * The buttons that select a process.
   * @param {Picture} at
   * @param {string} name
   */
  function picker({ names }, name) {
    /** @param {string} one */
    const button = (one) => {
      const state = { 'aria-pressed': String(one === name), 'aria-label': who(one) };
      const onclick = () => onPickProcess(one);
      return h('button', { type: 'button', ...state, onclick }, initial(one));
    };
    const group = { class: 'row insp-picker', role: 'group', 'aria-label': t('stage.insp-which') };
    return h('div', group, names.map(button));
  }

  return {
    update: draw,
    destroy() {
      box.remove();
    },
  };
}

/** @param {Offer[]} actions */
function actionButtons(actions) {
  if (!actions.length) return null;
  /** @param {Offer} action */
  const button = ({ words, run, disabled, why = null, cls = '' }) =>
    h(
      'button',
      { type: 'button', class: cls, disabled, title: why, onclick: run },
      words,
      disabled && why && h('span', { class: 'small' }, why),
    );
  return h('div', { class: 'insp-actions' }, actions.map(button));
}
