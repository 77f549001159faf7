// The list beside the picture of the stage: the messages of a count, or the actions for the selected
// message.
//
//   const list = StageList({onPickMessage(id), onClose()});
//   list.showStack(stack); list.showActions(actions, picked, size); list.hide();

import { family, initial, label, sentence } from '../describe.js';
import { h, replace, set } from '../dom.js';
import { t } from '../i18n.js';

/** The number of messages in the list of a count. */
const LISTED = 60;
/** The distance of the list from the selected message, and from the edges of the picture, in pixels. */
const GAP = 14;
const EDGE = 4;

/** @param {{onPickMessage: (id: number) => void, onClose: () => void}} options */
export function StageList({ onPickMessage, onClose }) {
  const element = h('div', { class: 'stage-list', hidden: true, role: 'dialog' });

  /** @param {SentAt} sent */
  function messageButton({ id, message }) {
    const look = { class: `is-${family(message)}`, title: sentence(message) };
    const onclick = () => onPickMessage(id);
    return h('button', { type: 'button', ...look, onclick }, label(message));
  }

  return {
    element,
    hide() {
      element.hidden = true;
    },
    /**
     * Shows the messages between two processes.
     * @param {{from: string, to: string, messages: SentAt[]}} stack
     */
    showStack({ from, to, messages }) {
      element.hidden = false;
      element.classList.remove('is-offer');
      set(element, { style: { left: '', top: '' } });
      const close = { type: 'button', class: 'quiet', 'aria-label': t('shell.close') };
      replace(
        element,
        h(
          'div',
          { class: 'row' },
          h('strong', {}, `${initial(from)} → ${initial(to)}`),
          h('span', { class: 'spacer' }),
          h('button', { ...close, onclick: onClose }, '×'),
        ),
        messages.slice(-LISTED).map(messageButton),
      );
    },
    /**
     * Shows the actions for the selected message, beside it; hides the list if there are none.
     * @param {Offer[]} actions
     * @param {Point | undefined} picked
     * @param {Size} size
     */
    showActions(actions, picked, size) {
      element.hidden = !picked || actions.length === 0;
      element.classList.toggle('is-offer', !element.hidden);
      if (!picked || element.hidden) return;
      replace(element, actions.map(offerButton));
      const { offsetWidth: width, offsetHeight: height } = element;
      const most = size.width - width - EDGE;
      const left = Math.max(EDGE, Math.min(most, picked.x - width / 2));
      const fitsBelow = picked.y + GAP + height < size.height;
      const top = fitsBelow ? picked.y + GAP : picked.y - GAP - height;
      set(element, { style: { left: `${left}px`, top: `${top}px` } });
    },
  };
}

/** @param {Offer} offer */
const offerButton = ({ cls = '', disabled, why = null, run, words }) =>
  h('button', { type: 'button', class: cls, disabled, title: why, onclick: run }, words);
