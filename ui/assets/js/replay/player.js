// Shows an opened run: the cluster at one step, the effects of that step, and the violations.

import { exportMenu } from '../export.js';
import { closest, h, replace } from '../dom.js';
import { t } from '../i18n.js';
import { Inspector } from '../inspector.js';
import { LogGrid } from '../log-grid.js';
import { Scrubber } from '../scrubber.js';
import { SpaceTime } from '../spacetime.js';
import { Splitter } from '../splitter.js';
import { Stage } from '../stage.js';
import { accusedBy, Story } from '../story.js';
import { exploreHash } from '../tour/walk.js';
import { sift, siftNote, withMessages } from './sift.js';
import { verdictOf } from './verdict.js';

/**
 * `run` is the result of `open.js`. `onMove(n)` reports the current step, `onVisit(n)` requests a step
 * in another part of the run, `onPart(part, n)` requests that part, `onAnother()` requests another run.
 * @param {HTMLElement} host
 * @param {{
 *   run: Opened, canExplore: boolean, onMove: (n: number) => void, onVisit: (n: number) => void,
 *   onPart: (part: Part, n: number) => void, onAnother: () => void,
 * }} options
 */
export function Player(host, { run, canExplore, onMove, onVisit, onPart, onAnother }) {
  const { timeline, walk, kind } = run;
  const breaks = timeline.marks.filter((mark) => mark.kind === 'broken');
  let n = timeline.offset;
  /** @type {Picked | null} */
  let selected = null;
  let all = false;

  const stageHost = h('div', { class: 'replay-stage' });
  const note = h('div', { class: 'sift-note small dim' });
  const storyHost = h('div', {});
  const inspectorHost = h('div', { class: 'replay-inspector' });
  const logHost = h('div', {});
  const spaceHost = h('div', { class: 'replay-spacetime' });
  const scrubHost = h('div', { class: 'replay-scrub' });
  const explore =
    canExplore && walk
      ? h('a', { class: 'button', title: t('replay.explore-about') }, t('replay.explore'))
      : null;

  const side = h(
    'aside',
    { class: 'replay-side' },
    h('h2', {}, t('replay.now')),
    storyHost,
    h('h2', {}, t('replay.inspector')),
    inspectorHost,
  );
  const grid = h('div', { class: 'replay-grid' });
  grid.append(
    h(
      'section',
      { class: 'replay-show' },
      stageHost,
      note,
      h('h2', { class: 'small dim' }, t('replay.logs')),
      logHost,
      h('h2', { class: 'small dim' }, t('replay.spacetime')),
      spaceHost,
    ),
    Splitter({
      name: 'told',
      label: t('replay.resize-told'),
      of: grid,
      panel: side,
      axis: 'x',
      side: -1,
      least: 220,
      most: 0.5,
    }),
    side,
  );
  const box = h(
    'div',
    { class: 'replay' },
    h(
      'header',
      { class: 'replay-head' },
      h(
        'div',
        {},
        h('h1', {}, title(timeline, kind)),
        h('span', { class: 'dim small' }, t('replay.steps', { n: run.of })),
      ),
      h('span', { class: 'spacer' }),
      h(
        'div',
        { class: 'row' },
        explore,
        exportMenu(timeline, {
          name: nameOf(run),
          at: () => n,
          stageElement: () => stage.picture,
          walk,
          jsonl: run.files?.length === 1 ? { text: run.files[0].text } : null,
        }),
        h('button', { type: 'button', onclick: onAnother }, t('replay.another')),
      ),
    ),
    verdictOf(run, { onGoto: go, onPart }),
    grid,
    scrubHost,
  );
  host.append(box);

  const stage = Stage(stageHost, {
    onPickMessage: (id) => pick({ message: id }),
    onPickProcess: (name) => pick({ process: name }),
  });
  const logs = LogGrid(logHost);
  const space = SpaceTime(spaceHost, { onGoto: go, onPickMessage: (id) => pick({ message: id }) });
  const inspector = Inspector(inspectorHost, {
    onGoto: go,
    onPickProcess: (name) => pick({ process: name }),
  });
  const story = Story(storyHost);
  const scrubber = Scrubber(scrubHost, { onGoto: go });
  addEventListener('keydown', keys);

  /** @param {Picked} what */
  function pick(what) {
    const same = JSON.stringify(what) === JSON.stringify(selected);
    selected = same ? null : what;
    draw(false);
  }

  /** @param {number} to */
  function go(to) {
    const isElsewhere = to > timeline.last || (to > 0 && to < timeline.offset);
    if (isElsewhere && kind === 'nodes' && to <= run.of) {
      onVisit(to);
      return;
    }
    stand(to, true);
  }

  /**
   * @param {number} to
   * @param {boolean} animate
   */
  function stand(to, animate) {
    n = Math.max(timeline.offset, Math.min(timeline.last, to));
    onMove(n);
    draw(animate);
  }

  /** @param {boolean} animate */
  function draw(animate) {
    const at = timeline.at(n);
    const accused = accusedBy(at.step?.broken?.[0], at);
    const { some, left } = sift(timeline, at, {
      look: new Set(selected?.message ? [selected.message] : []),
    });
    stage.update({ at: all ? at : withMessages(at, some), selected, accused, animate });
    siftNote(note, {
      left,
      all,
      onToggle: () => {
        all = !all;
        draw(false);
      },
    });
    logs.update({ at, accused });
    space.update({ timeline, at, selected, accused });
    inspector.update({ timeline, at, selected, accused });
    scrubber.update({ timeline, at });
    story.update({ timeline, at });
    if (explore && walk) explore.href = exploreHash(walk, Math.min(n, walk.path.length));
  }

  /** @param {KeyboardEvent} event */
  function keys(event) {
    if (document.querySelector('dialog[open]') || scrubber.key(event)) return;
    if (event.ctrlKey || event.metaKey || event.altKey || closest(event, 'input, textarea, select'))
      return;
    if (event.key === 'l' && breaks.length)
      go((breaks.find((mark) => mark.step > n) ?? breaks[0]).step);
    else if (event.key === 'o') onAnother();
    else return;
    event.preventDefault();
  }

  return {
    go: (/** @type {number} */ to) => stand(to, false),
    destroy() {
      removeEventListener('keydown', keys);
      for (const part of [stage, logs, space, inspector, story, scrubber]) part.destroy();
      box.remove();
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

/**
 * @param {Timeline} timeline
 * @param {string} kind
 */
function title(timeline, kind) {
  if (kind === 'nodes') return t('replay.nodes', { n: timeline.names.length });
  const { scope, mutant } = timeline.header;
  return t(mutant ? 'replay.scope-mutant' : 'replay.scope', { scope: scope?.name ?? '?', mutant });
}
