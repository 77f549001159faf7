// The rows of the inspector: a name and a value, with the value before the last step if it changed.

import { h } from '../dom.js';
import { t } from '../i18n.js';

/**
 * `was` is the earlier value; `undefined` means that there is none.
 * @param {string} key
 * @param {any} value
 * @param {any} [was]
 */
export function fact(key, value, was) {
  const isChanged = was !== undefined && String(was) !== String(value);
  return [h('dt', {}, t(key)), changing('dd', value, was, isChanged)];
}

/**
 * An element with a value, marked if it changed.
 * @param {'dd' | 'td'} tag
 * @param {Content} value
 * @param {any} was
 * @param {boolean} isChanged
 */
export const changing = (tag, value, was, isChanged) =>
  h(
    tag,
    { class: isChanged ? 'is-changed' : null },
    value,
    isChanged && h('span', { class: 'was' }, ` ${t('stage.insp-was', { was })}`),
  );
