// The form that injects a fault into a link.
//
//   const link = LinkForm({act(action), duration()});
//   link.element
//   link.update(state);

import { h } from '../dom.js';
import { t } from '../i18n.js';
import { describeFaults, end } from './events.js';

/** @type {Record<string, LinkFault>} */
const PRESETS = {
  cut: { cut: true },
  lossy: { drop: 0.3 },
  slow: { delay_ms: [200, 400] },
  twice: { duplicate: 0.5 },
  reorder: { reorder: 0.5 },
  terrible: { drop: 0.2, duplicate: 0.2, reorder: 0.3, delay_ms: [20, 200] },
};

/**
 * The end of a link from the value of an option.
 * @param {string} value
 * @returns {End}
 */
const endOf = (value) => (/^\d+$/.test(value) ? Number(value) : value);

/** @param {{act: import('./chaos.js').Act, duration: () => {for_seconds?: number}}} options */
export function LinkForm({ act, duration }) {
  const from = h('select', { 'aria-label': t('live.from') });
  const to = h('select', { 'aria-label': t('live.to') });
  const preset = h(
    'select',
    { 'aria-label': t('live.what') },
    Object.entries(PRESETS).map(([name, what]) =>
      h(
        'option',
        { value: name },
        t(`live.preset-${name}`) + (what.cut ? '' : `: ${describeFaults(what)}`),
      ),
    ),
  );
  const both = h('input', { type: 'checkbox', checked: true });
  /** @param {Event} event */
  const onsubmit = (event) => {
    event.preventDefault();
    act({
      do: 'link',
      from: endOf(from.value),
      to: endOf(to.value),
      both: both.checked,
      ...PRESETS[preset.value],
      ...duration(),
    });
  };
  const element = h(
    'form',
    { class: 'row chaos-link', onsubmit },
    from,
    h('span', { 'aria-hidden': 'true' }, '→'),
    to,
    preset,
    h('label', { class: 'row' }, both, t('live.both')),
    h('button', {}, t('live.break-link')),
  );
  return {
    element,
    /** @param {import('./state.js').State} state */
    update({ status }) {
      const ids = (status?.nodes ?? []).map(({ id }) => id);
      const ends = [...ids, 'proxy', 'clients'].map(String);
      const initial = status?.chaos?.embedded
        ? [ids[0], ids[Math.min(1, ids.length - 1)]]
        : ['proxy', ids[0]];
      for (const [place, select] of [from, to].entries()) {
        if (select.options.length === ends.length) continue;
        select.replaceChildren(
          ...ends.map((name) => h('option', { value: name }, end(endOf(name)))),
        );
        select.value = String(initial[place]);
      }
    },
  };
}
