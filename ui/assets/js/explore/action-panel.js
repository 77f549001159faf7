// The possible events of the current state: a button for each event, grouped by the process at which it
// happens. Forbidden events are listed too, disabled, with the reason. Messages that were delivered
// before are collapsed, although they can arrive again. A line below the list describes the button
// under the pointer or the focus. After a step the focus stays in the list.
//
//   const actions = Actions(host, {onAct(action)});
//   actions.update({at, timeline, list: here.actions | null, selected});
//   actions.focusSearch();

import { closest, h, replace, text } from '../dom.js';
import { t } from '../i18n.js';
import { ActionFilter } from './action-filter.js';
import { focusIn, restoreFocus } from './action-focus.js';
import { ActionGroups, groupsOf } from './action-groups.js';
import { sentenceOf } from './actions.js';

/** @typedef {import('./actions.js').ActionsView} ActionsView */

/**
 * @param {HTMLElement} host
 * @param {{onAct: (action: Action) => void}} options
 */
export function Actions(host, { onAct }) {
  const filter = ActionFilter(draw);
  const groups = ActionGroups({ onAct });
  const body = h('div', {
    class: 'act-list',
    tabindex: '-1',
    onfocusin: describe,
    onpointerover: describe,
    onfocusout: describeFocused,
    onpointerleave: describeFocused,
  });
  const about = h('p', { class: 'act-about small', role: 'note' }, t('explore.about-hint'));
  const title = h('h2', { class: 'sr-only' }, t('explore.tab-actions'));
  const box = h('div', { class: 'actions' }, title, filter.element, body, about);
  host.append(box);
  /** @type {ActionsView} */
  let view;
  /** @type {Map<string | undefined, Action>} */
  let byKey = new Map();

  /** @param {Event} event */
  function describe(event) {
    const action = byKey.get(closest(event, '[data-key]')?.dataset.key);
    if (action) text(about, sentenceOf(action, view));
  }

  function describeFocused() {
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    const action = body.contains(focused) ? byKey.get(focused?.dataset.key) : undefined;
    text(about, action ? sentenceOf(action, view) : t('explore.about-hint'));
  }

  function draw() {
    if (!view) return;
    const { list, at, timeline } = view;
    if (!list) {
      body.setAttribute('aria-busy', 'true');
      return;
    }
    body.removeAttribute('aria-busy');
    const before = focusIn(body);
    byKey = new Map(list.map((action) => [action.key, action]));
    const listed = list.filter((action) => filter.accepts(action, timeline));
    const { kind, hasText } = filter;
    const groupView = { view, hasText, isOpen: hasText || kind === 'faults' };
    const nothing = list.length ? 'explore.no-match' : 'explore.no-action';
    replace(
      body,
      groupsOf(at.names, list, listed, kind !== 'all').map((group) =>
        groups.draw(group, groupView),
      ),
      listed.length === 0 && h('p', { class: 'dim' }, t(nothing)),
    );
    if (before) restoreFocus(body, before);
  }

  return {
    /** @param {ActionsView} next */
    update(next) {
      view = next;
      draw();
      describeFocused();
    },
    focusSearch: filter.focus,
    destroy() {
      box.remove();
    },
  };
}
