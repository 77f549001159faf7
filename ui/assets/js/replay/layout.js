// The layout of an opened run: the header, the verdict, the cluster beside the details of a step, and the
// scrubber.
//
//   const hosts = layOut(box, {head, verdict});      // the elements for the parts, by name

import { h } from '../dom.js';
import { t } from '../i18n.js';
import { Splitter } from '../splitter.js';

/**
 * @param {HTMLElement} box
 * @param {{head: HTMLElement, verdict: HTMLElement}} content
 */
export function layOut(box, { head, verdict }) {
  const hosts = {
    stage: h('div', { class: 'replay-stage' }),
    note: h('div', { class: 'filter-note small dim' }),
    description: h('div', {}),
    inspector: h('div', { class: 'replay-inspector' }),
    logs: h('div', {}),
    space: h('div', { class: 'replay-spacetime' }),
    scrub: h('div', { class: 'replay-scrub' }),
  };
  const show = h(
    'section',
    { class: 'replay-show' },
    hosts.stage,
    hosts.note,
    h('h2', { class: 'small dim' }, t('replay.logs')),
    hosts.logs,
    h('h2', { class: 'small dim' }, t('replay.spacetime')),
    hosts.space,
  );
  const side = h(
    'aside',
    { class: 'replay-side' },
    h('h2', {}, t('replay.now')),
    hosts.description,
    h('h2', {}, t('replay.inspector')),
    hosts.inspector,
  );
  const grid = h('div', { class: 'replay-grid' });
  const splitter = Splitter({
    name: 'told',
    label: t('replay.resize-told'),
    of: grid,
    panel: side,
    axis: 'x',
    side: -1,
    least: 220,
    most: 0.5,
  });
  grid.append(show, splitter, side);
  box.append(head, verdict, grid, hosts.scrub);
  return hosts;
}
