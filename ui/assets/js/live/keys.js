// The keys: a list of them, and an editor for one.

import { h } from '../dom.js';
import { KeyEditor } from './key-editor.js';
import { KeyList } from './key-list.js';

/** @param {HTMLElement} host */
export function Keys(host) {
  const list = KeyList({ onPick: (item) => editor.edit(item) });
  const editor = KeyEditor({ onWritten: () => list.refresh() });
  host.append(h('div', { class: 'keys-both' }, list.element, editor.element));
  return { update: list.update, focus: editor.focus };
}
