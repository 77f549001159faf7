// Shares a walk: its address, and the exports of `export.js`.
//
//   const menu = ShareMenu(host, {timeline(), at(), stageElement(), walk(), name()});

import { h } from '../dom.js';
import { t } from '../i18n.js';
import { addressNow } from '../router.js';
import { toast } from '../toast.js';

/**
 * @param {HTMLElement} host
 * @param {{
 *   timeline: () => Timeline, at: () => number, stageElement: () => SVGSVGElement,
 *   walk: () => any, name: () => string,
 * }} options
 */
export function ShareMenu(host, { timeline, at, stageElement, walk, name }) {
  const copy = h('button', { type: 'button', onclick: copyAddress }, t('explore.share'));
  host.append(copy);
  import('../export.js').then(
    ({ exportMenu }) => {
      if (host.isConnected) host.append(exportMenu(timeline, { name, at, stageElement, walk }));
    },
    () => {
      /* Without the export menu a walk can still be shared by its address. */
    },
  );

  async function copyAddress() {
    addressNow();
    try {
      await navigator.clipboard.writeText(location.href);
      toast(t('explore.copied'), 'good');
    } catch {
      // No permission, or no secure context: show the address for copying by hand.
      const field = h('input', {
        type: 'text',
        readonly: true,
        value: location.href,
        'aria-label': t('explore.share'),
      });
      const note = toast(t('explore.copy-this'));
      note.querySelector('span')?.append(field);
      field.select();
    }
  }
}
