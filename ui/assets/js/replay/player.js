// Shows an opened run: the cluster at one step, the effects of that step, and the violations.

import { closest, h } from '../dom.js';
import { Inspector } from '../inspector.js';
import { LogGrid } from '../log-grid.js';
import { Scrubber } from '../scrubber.js';
import { SpaceTime } from '../spacetime.js';
import { Stage } from '../stage.js';
import { accusedBy, StepDescription } from '../step-description.js';
import { Head } from './head.js';
import { layOut } from './layout.js';
import { filterMessages, filterNote, withMessages } from './filter.js';
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
  const { timeline, kind } = run;
  const violations = timeline.marks.filter((mark) => mark.kind === 'violation');
  let n = timeline.offset;
  /** @type {Picked | null} */
  let selected = null;
  /** Whether messages that are never delivered are drawn too. */
  let all = false;

  const head = Head(run, {
    canExplore,
    step: () => n,
    stageElement: () => stage.picture,
    onAnother,
  });
  const box = h('div', { class: 'replay' });
  const verdict = verdictOf(run, { onGoto: go, onPart });
  const hosts = layOut(box, { head: head.element, verdict });
  host.append(box);

  /** @param {number} id */
  const onPickMessage = (id) => pick({ message: id });
  /** @param {string} name */
  const onPickProcess = (name) => pick({ process: name });
  const stage = Stage(hosts.stage, { onPickMessage, onPickProcess });
  const logs = LogGrid(hosts.logs);
  const space = SpaceTime(hosts.space, { onGoto: go, onPickMessage });
  const inspector = Inspector(hosts.inspector, { onGoto: go, onPickProcess });
  const description = StepDescription(hosts.description);
  const scrubber = Scrubber(hosts.scrub, { onGoto: go });
  addEventListener('keydown', keys);

  /** @param {Picked} what */
  function pick(what) {
    const same = JSON.stringify(what) === JSON.stringify(selected);
    selected = same ? null : what;
    draw({ animate: false });
  }

  /** @param {number} to */
  function go(to) {
    const isElsewhere = to > timeline.last || (to > 0 && to < timeline.offset);
    if (isElsewhere && kind === 'nodes' && to <= run.of) onVisit(to);
    else showStep(to, { animate: true });
  }

  /**
   * @param {number} to
   * @param {{animate: boolean}} options
   */
  function showStep(to, { animate }) {
    n = Math.max(timeline.offset, Math.min(timeline.last, to));
    onMove(n);
    draw({ animate });
  }

  function toggleAll() {
    all = !all;
    draw({ animate: false });
  }

  /** @param {{animate: boolean}} options */
  function draw({ animate }) {
    const at = timeline.at(n);
    const accused = accusedBy(at.step?.violations?.[0], at);
    const look = new Set(selected?.message ? [selected.message] : []);
    const { some, left } = filterMessages(timeline, at, { look });
    stage.update({ at: all ? at : withMessages(at, some), selected, accused, animate });
    filterNote(hosts.note, { left, all, onToggle: toggleAll });
    logs.update({ at, accused });
    space.update({ timeline, at, selected, accused });
    inspector.update({ timeline, at, selected, accused });
    scrubber.update({ timeline, at });
    description.update({ timeline, at });
    head.update(n);
  }

  /** @param {KeyboardEvent} event */
  function keys(event) {
    if (document.querySelector('dialog[open]') || scrubber.key(event)) return;
    const { key, ctrlKey, metaKey, altKey } = event;
    if (ctrlKey || metaKey || altKey || closest(event, 'input, textarea, select')) return;
    if (key === 'l' && violations.length)
      go((violations.find(({ step }) => step > n) ?? violations[0]).step);
    else if (key === 'o') onAnother();
    else return;
    event.preventDefault();
  }

  return {
    /** @param {number} to */
    go: (to) => showStep(to, { animate: false }),
    destroy() {
      removeEventListener('keydown', keys);
      for (const part of [stage, logs, space, inspector, description, scrubber]) part.destroy();
      box.remove();
    },
  };
}
