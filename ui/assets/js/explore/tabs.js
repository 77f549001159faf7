// A bar of tabs, one for each panel that it selects. The arrow keys move between them.
//
//   const bar = TabBar(['tree', 'logs'], {cls: 'is-wide', onPick(name)});
//   bar.element; bar.mark('tree');

import { h } from '../dom.js';
import { t } from '../i18n.js';

/**
 * @param {string[]} names
 * @param {{cls: string, onPick: (name: string) => void}} options
 */
export function TabBar(names, { cls, onPick }) {
  const tabs = names.map((name) => {
    const props = { type: 'button', role: 'tab', class: 'quiet', 'data-name': name };
    return h('button', { ...props, onclick: () => onPick(name) }, t(`explore.tab-${name}`));
  });
  const label = t('explore.panels');
  const bar = { class: `tabbar ${cls}`, role: 'tablist', 'aria-label': label, onkeydown: keys };

  /** @param {KeyboardEvent} event */
  function keys(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    const here = tabs.findIndex((tab) => tab === document.activeElement);
    const next = (here + by + tabs.length) % tabs.length;
    onPick(names[next]);
    tabs[next].focus();
  }

  return {
    element: h('div', bar, tabs),
    /**
     * Marks the selected tab, if it is in this bar.
     * @param {string} name
     */
    mark(name) {
      for (const [place, tab] of tabs.entries()) {
        const isOn = names[place] === name;
        tab.setAttribute('aria-selected', String(isOn));
        tab.tabIndex = isOn ? 0 : -1;
      }
    },
  };
}
