// Keeps the focus in the list of actions while the list is recreated, so that the next step is one key
// away.
//
//   const before = focusIn(list);        // before, or null if the focus is elsewhere
//   restoreFocus(list, before);          // after

/** @param {Element} within */
const enabledButtons = (within) =>
  /** @type {HTMLButtonElement[]} */ ([
    ...within.querySelectorAll('button:not([disabled])'),
  ]).filter((one) => one.checkVisibility());

/**
 * The focused button: its key, and its position in its group and in the list.
 * @param {HTMLElement} list
 */
export function focusIn(list) {
  if (!list.contains(document.activeElement)) return null;
  const button = /** @type {HTMLButtonElement} */ (document.activeElement);
  const group = button.closest('.act-group');
  return {
    key: button.dataset.key,
    group: group?.getAttribute('aria-label'),
    inGroup: group ? enabledButtons(group).indexOf(button) : 0,
    inList: enabledButtons(list).indexOf(button),
  };
}

/**
 * Focuses the same button, or the button in its position.
 * @param {HTMLElement} list
 * @param {NonNullable<ReturnType<typeof focusIn>>} before
 */
export function restoreFocus(list, { key, group, inGroup, inList }) {
  /** @type {HTMLElement | null} */
  const same = key ? list.querySelector(`[data-key="${CSS.escape(key)}"]:not([disabled])`) : null;
  const near = [...list.querySelectorAll('.act-group')].find(
    (one) => one.getAttribute('aria-label') === group,
  );
  const next =
    same ||
    (near && nearest(enabledButtons(near), inGroup)) ||
    nearest(enabledButtons(list), inList) ||
    list.querySelector('summary') ||
    list;
  next.focus({ preventScroll: next === list });
}

/**
 * @param {HTMLButtonElement[]} buttons
 * @param {number} place
 */
const nearest = (buttons, place) => buttons[Math.max(0, Math.min(place, buttons.length - 1))];
