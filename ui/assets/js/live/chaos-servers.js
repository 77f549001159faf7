// The servers, each with buttons that isolate, pause and kill it, or end that.
//
//   const servers = ServerFaults({act(action), duration()});
//   servers.element
//   servers.update(state);

import { h, keyed, set, text } from '../dom.js';
import { t } from '../i18n.js';
import { end } from './events.js';

/** @typedef {import('./chaos.js').Act} Act */

/** The actions that begin a fault, which ends after the selected time. */
const BEGINS = ['isolate', 'pause', 'kill'];

/**
 * The actions offered for a server: for each of the three faults, the action that begins or ends it.
 * @param {{isolated: boolean, halted: string | null, embedded: boolean}} server
 */
export function serverActions({ isolated, halted, embedded }) {
  const [paused, killed] = [halted === 'paused', halted === 'killed'];
  return [
    { name: isolated ? 'rejoin' : 'isolate', isActive: isolated, disabled: false },
    { name: paused ? 'resume' : 'pause', isActive: paused, disabled: !embedded || killed },
    { name: killed ? 'start' : 'kill', isActive: killed, disabled: !embedded },
  ];
}

/** @param {{act: Act, duration: () => {for_seconds?: number}}} options */
export function ServerFaults({ act, duration }) {
  const element = h('div', { class: 'chaos-servers' });
  const button = () => h('button', { type: 'button' });
  /** @param {ClusterNode} node */
  const make = ({ id }) =>
    h(
      'div',
      { class: 'row', role: 'group', 'aria-label': end(id) },
      h('b', { class: 'chaos-name' }, end(id)),
      button(),
      button(),
      button(),
    );

  /**
   * @param {PageElement} row
   * @param {number} id
   * @param {import('./state.js').State} state
   */
  function draw(row, id, state) {
    const embedded = state.status?.chaos?.embedded ?? false;
    const server = { isolated: state.isolated(id), halted: state.halted(id), embedded };
    const [, ...buttons] = row.children;
    for (const [place, { name, isActive, disabled }] of serverActions(server).entries()) {
      const one = buttons[place];
      const words = t(`live.do-${name}`);
      set(one, {
        'aria-pressed': String(isActive),
        'aria-label': `${words}: ${end(id)}`,
        disabled,
      });
      text(one, words);
      one.onclick = () => act({ do: name, node: id, ...(BEGINS.includes(name) ? duration() : {}) });
    }
    buttons[2].classList.toggle('danger', server.halted !== 'killed');
  }

  return {
    element,
    /** @param {import('./state.js').State} state */
    update(state) {
      const nodes = state.status?.nodes ?? [];
      keyed(
        element,
        nodes,
        ({ id }) => id,
        make,
        (row, { id }) => draw(row, id, state),
      );
    },
  };
}
