// The names of the lanes of the space-time diagram, and the list of the hidden lanes. The name of a lane
// makes it low; × hides it.
//
//   const names = LaneNames(lanes, {onChange});
//   names.draw();                        // after each layout of the lanes

import { initial, the } from '../describe.js';
import { h, keyed, replace, set } from '../dom.js';
import { t } from '../i18n.js';

/** @typedef {import('./lanes.js').Lane} Lane */

/**
 * @param {import('./lanes.js').Lanes} lanes
 * @param {{onChange: () => void}} options
 */
export function LaneNames(lanes, { onChange }) {
  const names = h('div', { class: 'st-names' });
  const hidden = h('div', { class: 'st-hidden row', hidden: true });

  /** @param {Lane} lane */
  function make({ name }) {
    const collapse = () => {
      lanes.toggleLow(name);
      onChange();
    };
    const hide = () => {
      lanes.hide(name);
      onChange();
    };
    const about = t('stage.st-hide', { who: the(name) });
    const hiding = { class: 'quiet st-hide', 'aria-label': about, title: about, onclick: hide };
    return h(
      'div',
      { class: 'st-name' },
      h('button', { type: 'button', class: 'quiet', onclick: collapse }, initial(name)),
      h('button', { type: 'button', ...hiding }, '×'),
    );
  }

  /** @param {string} name */
  function restoring(name) {
    const onclick = () => {
      lanes.restore(name);
      onChange();
    };
    return h('button', { type: 'button', onclick }, `${initial(name)} ↩`);
  }

  return {
    names,
    hidden,
    draw() {
      names.style.height = `${lanes.height + 8}px`;
      keyed(names, lanes.list, ({ name }) => name, make, place);
      hidden.hidden = lanes.hidden.size === 0;
      replace(hidden, t('stage.st-hidden'), [...lanes.hidden].map(restoring));
    },
  };
}

/**
 * @param {PageElement} element
 * @param {Lane} lane
 */
function place(element, { name, isLow, top, height }) {
  element.style.top = `${top}px`;
  element.style.height = `${height}px`;
  const words = t(isLow ? 'stage.st-expand' : 'stage.st-collapse', { who: the(name) });
  const state = { 'aria-expanded': String(!isLow), 'aria-label': words, title: words };
  set(element.firstChild, state);
}
