// The explore page: walking the state space of a scope by hand.

import { h } from './dom.js';
import { t } from './i18n.js';

export default function page(host) {
  host.append(h('p', { class: 'loading' }, t('shell.loading')));
  return { destroy() { host.replaceChildren(); } };
}
