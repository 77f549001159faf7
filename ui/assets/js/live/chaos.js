// Fault injection: isolated, paused and killed servers; cut, lossy and slow links. Active faults are at
// the top, each with a button that ends it. A fault ends automatically after the selected time.
//
// The parts: `chaos-active.js` (the active faults), `chaos-servers.js` (faults of servers),
// `chaos-link.js` (faults of links).

import { postJson } from '../api.js';
import { h, text } from '../dom.js';
import { t } from '../i18n.js';
import { toast } from '../toast.js';
import { ActiveFaults } from './chaos-active.js';
import { LinkForm } from './chaos-link.js';
import { ServerFaults } from './chaos-servers.js';
import { problemText } from './problem.js';

/**
 * Requests an action of the proxy (docs/http.md).
 * @typedef {(action: {do: string, [field: string]: any}) => void} Act
 */

/** The durations to select from, in seconds; 0 is until healed. */
const TIMES = [10, 30, 60, 300, 0];

/** @param {HTMLElement} host */
export function ChaosPanel(host) {
  /** @param {number} seconds */
  const option = (seconds) =>
    h(
      'option',
      { value: seconds, selected: seconds === 30 },
      seconds ? t('live.ends-after', { seconds }) : t('live.ends-never'),
    );
  const time = h('select', { id: 'live-time' }, TIMES.map(option));
  const duration = () => (Number(time.value) ? { for_seconds: Number(time.value) } : {});
  const heal = h(
    'button',
    { type: 'button', class: 'primary', disabled: true, onclick: () => act({ do: 'heal' }) },
    t('live.heal'),
  );
  const problem = h('p', { class: 'outcome is-bad', role: 'alert', hidden: true });
  const active = ActiveFaults({ act });
  const servers = ServerFaults({ act, duration });
  const link = LinkForm({ act, duration });
  host.append(
    h('p', { class: 'chaos-warn small' }, t('live.chaos-warn')),
    ...active.elements,
    problem,
    h(
      'div',
      { class: 'row' },
      h('label', { class: 'small', for: 'live-time' }, t('live.ends')),
      time,
      h('span', { class: 'spacer' }),
      heal,
    ),
    h('h3', {}, t('live.servers')),
    servers.element,
    h('h3', {}, t('live.links')),
    link.element,
  );

  /** @type {Act} */
  async function act(action) {
    problem.hidden = true;
    try {
      await postJson('/v1/chaos', action);
    } catch (error) {
      problem.hidden = false;
      text(problem, problemText(error));
      toast(problemText(error), 'bad');
    }
  }

  return {
    /** @param {import('./state.js').State} state */
    update(state) {
      const { chaos } = state.status ?? {};
      if (!chaos) return;
      heal.disabled = active.update(chaos) === 0;
      servers.update(state);
      link.update(state);
    },
  };
}
