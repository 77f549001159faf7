// The header of an opened run: its title, and the buttons that lead elsewhere.
//
//   const head = Head(run, {canExplore, step: () => n, stageElement: () => picture, onAnother});
//   head.element; head.update(n);

import { h } from '../dom.js';
import { exportMenu } from '../export.js';
import { t } from '../i18n.js';
import { exploreHash } from '../tour/walk.js';

/**
 * @param {Opened} run
 * @param {{
 *   canExplore: boolean, step: () => number, stageElement: () => SVGSVGElement,
 *   onAnother: () => void,
 * }} options
 */
export function Head(run, { canExplore, step, stageElement, onAnother }) {
  const { timeline, walk, files } = run;
  const explore =
    canExplore && walk
      ? h('a', { class: 'button', title: t('replay.explore-about') }, t('replay.explore'))
      : null;
  const exports = exportMenu(timeline, {
    name: nameOf(run),
    at: step,
    stageElement,
    walk,
    jsonl: files?.length === 1 ? { text: files[0].text } : null,
  });
  const steps = h('span', { class: 'dim small' }, t('replay.steps', { n: run.of }));
  const another = h('button', { type: 'button', onclick: onAnother }, t('replay.another'));
  const element = h(
    'header',
    { class: 'replay-head' },
    h('div', {}, h('h1', {}, titleOf(run)), steps),
    h('span', { class: 'spacer' }),
    h('div', { class: 'row' }, explore, exports, another),
  );
  return {
    element,
    /** @param {number} n */
    update(n) {
      if (explore && walk) explore.href = exploreHash(walk, Math.min(n, walk.path.length));
    },
  };
}

/**
 * The name of exported files.
 * @param {Opened} run
 */
function nameOf({ files, kind, timeline }) {
  if (files?.length === 1) return files[0].name.replace(/\.jsonl?$/, '');
  return kind === 'nodes' ? 'nodes' : (timeline.header.scope?.name ?? 'trace');
}

/** @param {Opened} run */
function titleOf({ kind, timeline }) {
  if (kind === 'nodes') return t('replay.nodes', { n: timeline.names.length });
  const { scope, mutant } = timeline.header;
  return t(mutant ? 'replay.scope-mutant' : 'replay.scope', { scope: scope?.name ?? '?', mutant });
}
