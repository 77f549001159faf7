// The active faults: a sentence for each, the time left, and a button that ends it.
//
//   const active = ActiveFaults({act(action)});
//   active.elements
//   active.update(chaos)                 // returns the number of active faults

import { h, keyed, set, text } from '../dom.js';
import { t } from '../i18n.js';
import { describeFaults, end } from './events.js';

/** @typedef {import('./chaos.js').Act} Act */

/**
 * The active faults, each with the action that ends it.
 * @param {Chaos} chaos
 */
export function activeFaults({ links, isolated, halted }) {
  return [
    ...isolated.map(({ node, seconds_left: left }) => ({
      key: `i${node}`,
      words: t('live.is-isolated', { who: end(node) }),
      left,
      undo: { do: 'rejoin', node },
    })),
    ...halted.map(({ node, how, seconds_left: left }) => ({
      key: `h${node}`,
      words: t(`live.is-${how}`, { who: end(node) }),
      left,
      undo: { do: how === 'paused' ? 'resume' : 'start', node },
    })),
    ...links.map(({ from, to, faults, seconds_left: left }) => ({
      key: `l${from}-${to}`,
      words: `${end(from)} → ${end(to)}: ${describeFaults(faults)}`,
      left,
      undo: { do: 'link', from, to },
    })),
  ];
}

/** @param {{act: Act}} options */
export function ActiveFaults({ act }) {
  const list = h('ul', { class: 'plain chaos-active', 'aria-label': t('live.active') });
  const none = h('p', { class: 'chip is-good' }, t('live.all-well'));

  const make = () =>
    h(
      'li',
      { class: 'row' },
      h('span', { 'aria-hidden': 'true' }, '⚡'),
      h('span', {}),
      h('span', { class: 'small' }),
      h('button', { type: 'button', class: 'quiet' }, t('live.end-it')),
    );

  /**
   * @param {PageElement} row
   * @param {ReturnType<typeof activeFaults>[number]} fault
   */
  function draw(row, { words, left, undo }) {
    const [, what, time, button] = row.children;
    text(what, words);
    text(time, left === null ? t('live.until-healed') : t('live.left', { n: left }));
    set(button, { 'aria-label': `${t('live.end-it')}: ${words}` });
    button.onclick = () => act(undo);
  }

  return {
    elements: [none, list],
    /** @param {Chaos} chaos */
    update(chaos) {
      const all = activeFaults(chaos);
      none.hidden = all.length > 0;
      keyed(list, all, ({ key }) => key, make, draw);
      return all.length;
    },
  };
}
