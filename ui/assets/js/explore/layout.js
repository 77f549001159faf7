// The layout of the explore page: the toolbar, the panels with movable lines between them, and the tabs
// that select a panel. A wide window has tabs for the panel at the side; a narrow window shows one panel
// at a time and has tabs for all of them.
//
//   const layout = Layout(host, {onWorld, onPlant, onCheck, onFind, onTab(name)});
//   layout.panels.stage                  // the elements, by name
//   layout.pickTab('details')

import { h } from '../dom.js';
import { t } from '../i18n.js';
import { Splitter } from '../splitter.js';
import { TabBar } from './tabs.js';

const TABS = ['actions', 'properties', 'details', 'tree', 'logs', 'time'];
/** The panels at the side of a wide window. */
const SIDE = ['properties', 'details', 'tree'];

/**
 * @param {HTMLElement} host
 * @param {{
 *   onWorld: () => void, onPlant: () => void, onCheck: () => void, onFind: () => void,
 *   onTab: (name: string) => void,
 * }} options
 */
export function Layout(host, { onWorld, onPlant, onCheck, onFind, onTab }) {
  /**
   * @param {string} words
   * @param {() => void} onclick
   */
  const button = (words, onclick) => h('button', { type: 'button', onclick }, words);
  /** @param {string} name */
  const panel = (name, key = `explore.tab-${name}`) =>
    h('section', { class: `panel p-${name}`, 'aria-label': t(key) });
  const panels = {
    world: h('button', { type: 'button', class: 'world-button', onclick: onWorld }),
    check: button(t('explore.check'), onCheck),
    share: h('span', { class: 'row' }),
    job: h('div', {}),
    banner: h('div', { class: 'found', hidden: true, role: 'status' }),
    actions: panel('actions'),
    stage: panel('stage', 'stage.title'),
    description: h('div', { class: 'p-description panel' }),
    properties: panel('properties'),
    details: panel('details'),
    tree: panel('tree'),
    logs: panel('logs'),
    time: panel('time'),
    scrub: h('div', { class: 'p-scrub' }),
  };
  const wideTabs = TabBar(SIDE, { cls: 'is-wide', onPick: (name) => pickTab(name) });
  const narrowTabs = TabBar(TABS, { cls: 'is-narrow', onPick: (name) => pickTab(name) });
  const frame = h('div', { class: 'explore', 'data-tab': 'properties', 'data-narrow': 'actions' });
  const side = h('div', { class: 'p-side' }, wideTabs.element, [
    panels.properties,
    panels.details,
    panels.tree,
  ]);
  const bench = h('div', { class: 'bench' });
  /**
   * @param {string} name
   * @param {Omit<Parameters<typeof Splitter>[0], 'name' | 'label' | 'of'>} of
   */
  const line = (name, of) =>
    Splitter({ name, label: t(`explore.resize-${name}`), of: bench, ...of });
  bench.append(
    panels.actions,
    line('actions', { panel: panels.actions, axis: 'x', side: 1, least: 200, most: 0.4 }),
    h('div', { class: 'p-middle' }, panels.stage, panels.description),
    line('side', { panel: side, axis: 'x', side: -1, least: 200, most: 0.4 }),
    side,
  );
  const toolbar = h(
    'div',
    { class: 'toolbar' },
    panels.world,
    h('span', { class: 'spacer' }),
    button(t('explore.plant'), onPlant),
    panels.check,
    button(t('explore.find'), onFind),
    panels.share,
  );
  frame.append(
    h('h1', { class: 'sr-only' }, t('shell.page-explore')),
    toolbar,
    panels.job,
    panels.banner,
    bench,
    line('bench', { panel: bench, axis: 'y', side: 1, least: 320, most: 0.85 }),
    panels.scrub,
    narrowTabs.element,
    h('div', { class: 'below' }, fold('logs'), fold('time')),
  );
  host.append(frame);

  /** @param {'logs' | 'time'} name */
  function fold(name) {
    const summary = h('summary', {}, t(`explore.tab-${name}`));
    return h('details', { class: `fold p-${name}-fold`, open: true }, summary, panels[name]);
  }

  /**
   * Shows a panel; in a narrow window the panel `narrow`.
   * @param {string} name
   */
  function pickTab(name, narrow = name) {
    if (SIDE.includes(name)) frame.dataset.tab = name;
    frame.dataset.narrow = narrow;
    wideTabs.mark(frame.dataset.tab ?? '');
    narrowTabs.mark(narrow);
    onTab(name);
  }

  return { frame, panels, pickTab };
}
