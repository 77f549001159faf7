// A message in the inspector: its sender and receiver, and the steps that touched it.

import { family, label, sentence, who } from '../describe.js';
import { h } from '../dom.js';
import { t } from '../i18n.js';
import { fact } from './facts.js';

/**
 * `buttons` are the actions for the message, below its sentence.
 * @param {SentAt} message
 * @param {{timeline: Timeline, onGoto: (step: number) => void, buttons: Content}} options
 */
export function messageDetails(message, { timeline, onGoto, buttons }) {
  /** @param {number} n */
  const stepLink = (n) =>
    h(
      'button',
      { type: 'button', class: 'quiet step-link', onclick: () => onGoto(n) },
      stepName(n, timeline),
    );
  const { id, from, to, sentAt, sentAgain, deliveredAt, droppedAt } = message;
  const delivered = deliveredAt.length ? deliveredAt.map(stepLink) : t('stage.insp-not-yet');
  return [
    h('h3', { class: `insp-title is-${family(message.message)}` }, label(message.message)),
    h('p', {}, sentence(message.message)),
    buttons,
    h(
      'dl',
      { class: 'facts-list' },
      fact('stage.insp-number', id),
      fact('stage.insp-from', who(from)),
      fact('stage.insp-to', who(to)),
      fact('stage.insp-sent', [sentAt, ...sentAgain].map(stepLink)),
      fact('stage.insp-delivered', delivered),
      droppedAt !== null && fact('stage.insp-dropped', stepLink(droppedAt)),
    ),
    h(
      'details',
      {},
      h('summary', {}, t('stage.insp-fields')),
      h('pre', {}, JSON.stringify(message.message, null, 1)),
    ),
  ];
}

/**
 * @param {number} n
 * @param {{offset: number}} timeline
 */
function stepName(n, { offset }) {
  if (n > offset) return t('stage.insp-step', { n });
  return offset > 0 ? t('stage.insp-before', { n: offset + 1 }) : t('stage.insp-start');
}
