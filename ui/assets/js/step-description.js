// The description of the current step: its event, its messages, its changes, its witnesses, and for each
// violation the property and the reason.
//
//   const description = StepDescription(host, {});
//   description.update({timeline, at: timeline.at(n)});
//
// `accusedBy(violation, at)` returns the subjects of a violation, so that other parts mark them.

import { h, replace } from './dom.js';
import { tell } from './describe.js';
import { t } from './i18n.js';
import { propertyName, witness } from './properties.js';
import { why } from './why.js';

/** @param {HTMLElement} host */
export function StepDescription(host) {
  const box = h('div', { class: 'step-description', 'aria-live': 'polite' });
  host.append(box);
  /** @type {{timeline: Timeline, key: string} | null} */
  let last = null;
  return {
    /** @param {Pick<RunView, 'timeline' | 'at'>} view */
    update({ timeline, at }) {
      const key = `${at.n}/${at.step?.key ?? ''}`;
      if (last?.timeline === timeline && last.key === key) return;
      last = { timeline, key };
      replace(box, words(timeline, at));
      // In a box that is too short, the effects stay in view below the event.
      host.scrollTop = host.scrollHeight;
    },
    destroy() {
      box.remove();
    },
  };
}

/**
 * @param {Timeline} timeline
 * @param {Picture} at
 */
function words(timeline, at) {
  const told = tell(timeline, at.n);
  const what = told.what.charAt(0).toUpperCase() + told.what.slice(1);
  const witnesses = at.step?.witnesses ?? [];
  return [
    h(
      'p',
      { class: 'step-event' },
      h('b', { class: 'step-number' }, at.n),
      ' ',
      h('span', {}, `${what}.`),
    ),
    (at.step?.violations ?? [])
      .slice(0, 4)
      .map((violation) =>
        h(
          'p',
          { class: 'step-violation' },
          h('b', {}, t('stage.step-violation', { property: propertyName(violation.property) })),
          ' ',
          why(violation.why, { cause: violation.cause, end: '.' }),
        ),
      ),
    told.sends.length > 0 &&
      h(
        'p',
        { class: 'step-line' },
        h('span', { class: 'dim' }, t('stage.step-sends')),
        ' ',
        told.sends.join('; '),
      ),
    told.changes.length > 0 &&
      h(
        'p',
        { class: 'step-line' },
        h('span', { class: 'dim' }, t('stage.step-now')),
        ' ',
        told.changes.map((change, place) => [
          place > 0 && ' · ',
          h(
            'span',
            { class: 'step-change' },
            t(`stage.field-${change.field}`, { of: change.of }),
            ' ',
            change.field === 'log'
              ? change.is
              : [
                  h('s', {}, String(change.was === '' ? t('stage.none') : change.was)),
                  ' → ',
                  h('b', {}, String(change.is === '' ? t('stage.none') : change.is)),
                ],
          ),
        ]),
      ),
    witnesses.length > 0 &&
      h(
        'p',
        { class: 'step-line' },
        witnesses.map((name) => [h('span', { class: 'chip' }, witness(name)), ' ']),
      ),
  ];
}

/**
 * The subjects of a violation: `{servers: ['server 1'], index: 2 | null}`.
 * @param {Violation | null | undefined} violation
 * @param {Picture} at
 * @returns {Accused | null}
 */
export function accusedBy(violation, at) {
  if (!violation) return null;
  const { server, other, index = null } = violation.cause ?? {};
  const servers = [server, other].filter(Number.isInteger).map((id) => `server ${id}`);
  if (!servers.length && at.step) servers.push(at.step.process);
  return { servers, index };
}
