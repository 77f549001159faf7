// A button that opens a menu below it. The menu closes when an item runs, when the focus leaves it, when
// the button moves, and with Escape.
//
//   const menu = Menu({items: () => [{name, about, run}], whenEmpty: () => 'text'});
//   menu.button.append('Export ▾'); host.append(menu.element);

import { h, replace } from '../dom.js';

/** @typedef {{name: string, about: string, run: () => void}} MenuItem */

/**
 * `items` is called whenever the menu opens; a menu without items shows the text `whenEmpty()`.
 * @param {{items: () => MenuItem[], whenEmpty: () => string}} options
 */
export function Menu({ items, whenEmpty }) {
  const list = h('div', { class: 'export-list', role: 'menu', hidden: true, onkeydown: keys });
  const button = h('button', {
    type: 'button',
    class: 'menu',
    'aria-haspopup': 'menu',
    'aria-expanded': 'false',
    onclick: () => (list.hidden ? open() : close()),
  });
  const element = h(
    'span',
    {
      class: 'export-menu',
      onfocusout: (/** @type {FocusEvent} */ event) => {
        if (!element.contains(/** @type {Node | null} */ (event.relatedTarget))) close();
      },
    },
    button,
    list,
  );

  /** @param {MenuItem} item */
  function itemButton({ name, about, run }) {
    const onclick = () => {
      button.focus();
      close();
      run();
    };
    return h(
      'button',
      { type: 'button', role: 'menuitem', tabindex: '-1', onclick },
      h('strong', {}, name),
      h('span', { class: 'dim small' }, about),
    );
  }

  function open() {
    const found = items();
    replace(list, found.length ? found.map(itemButton) : h('p', { class: 'dim' }, whenEmpty()));
    setOpen(true);
    place(list, button);
    list.querySelector('button')?.focus({ preventScroll: true });
  }

  const close = () => setOpen(false);

  /** @param {boolean} isOpen */
  function setOpen(isOpen) {
    list.hidden = !isOpen;
    button.setAttribute('aria-expanded', String(isOpen));
    // The menu is placed at its button: when the button moves, the menu closes.
    for (const what of ['scroll', 'resize'])
      window[isOpen ? 'addEventListener' : 'removeEventListener'](what, away, { capture: true });
  }

  /** @param {Event} event */
  function away(event) {
    if (!list.contains(event.target instanceof Node ? event.target : null)) close();
  }

  /** @param {KeyboardEvent} event */
  function keys(event) {
    const all = [...list.querySelectorAll('button')];
    const here = all.findIndex((one) => one === document.activeElement);
    const to = {
      ArrowDown: (here + 1) % all.length,
      ArrowUp: (here + all.length - 1) % all.length,
      Home: 0,
      End: all.length - 1,
    }[event.key];
    if (event.key === 'Escape') {
      close();
      button.focus();
    } else if (to !== undefined) all[to]?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  return { element, button };
}

/**
 * Places a list below a button, or above it where there is more room; never outside the window.
 * @param {HTMLElement} list
 * @param {HTMLElement} button
 */
function place(list, button) {
  const at = button.getBoundingClientRect();
  const { width, height } = list.getBoundingClientRect();
  const below = innerHeight - at.bottom;
  const top = below >= height + 8 || below >= at.top ? at.bottom + 4 : at.top - height - 4;
  list.style.left = `${Math.max(8, Math.min(at.left, innerWidth - width - 8))}px`;
  list.style.top = `${Math.max(8, top)}px`;
  list.style.maxHeight = `${innerHeight - 16}px`;
}
