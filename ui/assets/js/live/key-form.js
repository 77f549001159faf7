// The form of the key editor: its inputs and buttons, and the outcome of the last operation.
//
//   const form = KeyForm({get, put, delete});
//   form.element
//   form.fill({value, version});  form.value();  form.conditions();
//   form.say('good', 'text');  form.setBusy(true);

import { h, replace, set } from '../dom.js';
import { t } from '../i18n.js';
import { fromBase64, toBase64, utf8 } from './key-value.js';

/** @typedef {{get: () => void, put: () => void, delete: () => void}} KeyActions */

/** @param {KeyActions} actions */
export function KeyForm(actions) {
  const key = h('input', {
    id: 'live-key',
    type: 'text',
    required: true,
    autocomplete: 'off',
    spellcheck: 'false',
  });
  const value = h('textarea', { id: 'live-value', rows: 4, spellcheck: 'false' });
  const binary = h('input', { type: 'checkbox' });
  const { condition, version } = conditionInputs();
  const outcome = h('p', { class: 'outcome', role: 'status', 'aria-live': 'polite' });
  const buttons = buttonRow(actions);
  /** @param {Event} event */
  const onsubmit = (event) => {
    event.preventDefault();
    actions.get();
  };
  const element = h(
    'form',
    { class: 'keys-editor', onsubmit },
    h('label', { for: 'live-key' }, t('live.key')),
    key,
    h('label', { for: 'live-value' }, t('live.value')),
    value,
    h('label', { class: 'small row' }, binary, t('live.base64')),
    h('label', { for: 'live-condition' }, t('live.only')),
    h('div', { class: 'row' }, condition, version),
    buttons,
    outcome,
  );

  return {
    element,
    key,
    /**
     * The value to write; throws if base64 is selected and the text is not base64.
     * @returns {string | Uint8Array<ArrayBuffer>}
     */
    value: () => (binary.checked ? fromBase64(value.value) : value.value),
    /**
     * Shows the value and the version of a key that was read.
     * @param {{value: string, value_encoding?: string, version: number}} item
     */
    fill({ value: text, value_encoding: encoding, version: number }) {
      value.value = text;
      binary.checked = encoding === 'base64';
      if (value.value !== text) {
        // A text area changes line endings. Encoded as base64, the value survives being written back.
        value.value = toBase64(utf8(text));
        binary.checked = true;
      }
      version.value = String(number);
    },
    /** @param {number} number */
    setVersion(number) {
      version.value = String(number);
    },
    conditions: () => headersOf(condition.value, Number(version.value) || 0),
    /** @param {boolean} isBusy */
    setBusy(isBusy) {
      for (const each of buttons.querySelectorAll('button')) each.disabled = isBusy;
    },
    /**
     * Shows the outcome of an operation.
     * @param {string} kind
     * @param {Content} words
     */
    say(kind, words) {
      set(outcome, { class: `outcome is-${kind}` });
      replace(outcome, h('b', {}, t(`live.outcome-${kind}`)), ' ', words);
    },
  };
}

/** The condition of a write, and the version that it may need. */
function conditionInputs() {
  const version = h('input', {
    type: 'number',
    min: 1,
    'aria-label': t('live.version'),
    hidden: true,
  });
  const onchange = () => {
    version.hidden = condition.value !== 'version';
  };
  const condition = h(
    'select',
    { id: 'live-condition', onchange },
    ['always', 'absent', 'present', 'version'].map((name) =>
      h('option', { value: name }, t(`live.if-${name}`)),
    ),
  );
  return { condition, version };
}

/** @param {KeyActions} actions */
function buttonRow(actions) {
  /** @param {keyof KeyActions} name */
  const button = (name, cls = '') =>
    h('button', { type: 'button', class: cls, onclick: actions[name] }, t(`live.${name}`));
  return h(
    'div',
    { class: 'row' },
    button('get'),
    button('put', 'primary'),
    button('delete', 'danger'),
  );
}

/**
 * The headers of a conditional request.
 * @param {string} condition
 * @param {number} version
 * @returns {Record<string, string>}
 */
function headersOf(condition, version) {
  switch (condition) {
    case 'absent':
      return { 'if-none-match': '*' };
    case 'present':
      return { 'if-match': '*' };
    case 'version':
      return { 'if-match': `"${version}"` };
    default:
      return {};
  }
}
