// The cluster of a tour at one step: the stage, the logs, the data, and the space-time diagram.
//
//   const show = Show(host, {onGoto(step)});
//   show.update(card, step, {animate: true});
//   show.picture                         // the SVG element of the stage, for exports

import { initial, text as plain, who } from '../describe.js';
import { h, replace } from '../dom.js';
import { t } from '../i18n.js';
import { LogGrid } from '../log-grid.js';
import { filterMessages, filterNote, withMessages } from '../replay/filter.js';
import { SpaceTime } from '../spacetime.js';
import { Stage } from '../stage.js';
import { accusedBy } from '../step-description.js';
import { lookedAt } from './walk.js';

/** The number of steps for which a message that is never delivered is drawn. */
const FRESH = 4;

/**
 * @param {HTMLElement} host
 * @param {{onGoto: (step: number) => void}} options
 */
export function Show(host, { onGoto }) {
  const stageHost = h('div', { class: 'tour-stage' });
  const note = h('div', { class: 'filter-note small dim' });
  const logHost = h('div', { class: 'tour-logs' });
  const data = h('div', { class: 'tour-data row' });
  const spaceHost = h('div', { class: 'tour-spacetime' });
  host.append(
    h(
      'section',
      { class: 'tour-show' },
      stageHost,
      note,
      h('h2', { class: 'small' }, t('tour.logs')),
      logHost,
      data,
      h('h2', { class: 'small' }, t('tour.spacetime')),
      spaceHost,
    ),
  );
  const stage = Stage(stageHost, {});
  const logs = LogGrid(logHost);
  const space = SpaceTime(spaceHost, { onGoto });
  /** Whether messages that are never delivered are drawn too. */
  let all = false;

  /**
   * @param {PlacedCard} card
   * @param {number} n
   * @param {{animate: boolean}} options
   */
  function update(card, n, { animate }) {
    const { timeline } = card.part;
    const at = timeline.at(n);
    const look = lookedAt(timeline, card, n);
    const since = Math.max(card.from, n - FRESH);
    const { some, left } = filterMessages(timeline, at, { since, look: look.messages });
    const violations = n === card.to ? timeline.steps[n - 1]?.violations : null;
    const accused = accusedBy(violations?.[0], at);
    const drawn = all ? at : withMessages(at, some);
    stage.update({ at: drawn, selected: null, accused, animate });
    point(stage.picture, look);
    logs.update({ at, accused });
    drawData(data, at);
    space.update({ timeline, at, selected: null, accused });
    const onToggle = () => {
      all = !all;
      update(card, n, { animate: false });
    };
    filterNote(note, { left, all, onToggle });
  }

  return {
    picture: stage.picture,
    update,
    destroy() {
      for (const part of [stage, logs, space]) part.destroy();
    },
  };
}

/**
 * The data of the servers, if any server has data.
 * @param {HTMLElement} host
 * @param {Picture} at
 */
function drawData(host, { names, processes }) {
  const held = names.flatMap((name) => {
    const pairs = processes[name]?.running?.store;
    return pairs ? [{ name, pairs }] : [];
  });
  host.hidden = held.every(({ pairs }) => !pairs.length);
  if (host.hidden) return;
  const chips = held.map(({ name, pairs }) => {
    const words = pairs.map(({ key, value }) => `${plain(key)} = ${plain(value)}`);
    const content = [h('b', {}, initial(name)), h('code', {}, words.join(', ') || '–')];
    return h('span', { class: 'chip', title: who(name) }, content);
  });
  replace(host, h('span', { class: 'dim small' }, t('tour.data')), chips);
}

/**
 * Marks the subjects of the card. The stage keeps its elements by name, so the marks persist.
 * @param {SVGSVGElement} picture
 * @param {ReturnType<typeof lookedAt>} look
 */
function point(picture, { processes, messages }) {
  /**
   * @param {string} group
   * @param {(key: any) => boolean} wanted
   */
  const mark = (group, wanted) => {
    for (const [key, element] of /** @type {PageElement} */ (picture.querySelector(group))
      ?.keyedChildren ?? []) {
      if (wanted(key)) element.dataset.look = '';
      else delete element.dataset.look;
    }
  };
  mark('.nodes', (name) => processes.has(name));
  mark('.labels', (key) => messages.has(Number(String(key).slice(1))));
  mark('.arrows', (id) => messages.has(id));
}
