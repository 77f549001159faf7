// The panels of the explore page around one walk: creates them, and draws the walk in all of them.
//
//   const bench = Workbench(host, {catalog, state, run});
//   bench.draw();                        // after every change of the state

import { text } from '../dom.js';
import { t } from '../i18n.js';
import { Inspector } from '../inspector.js';
import { LogGrid } from '../log-grid.js';
import { Scrubber } from '../scrubber.js';
import { SpaceTime } from '../spacetime.js';
import { Stage } from '../stage.js';
import { StepDescription, accusedBy } from '../step-description.js';
import { Actions } from './action-panel.js';
import { offersOf } from './actions.js';
import { Banner } from './banner.js';
import { Job } from './jobs.js';
import { Layout } from './layout.js';
import { ShareMenu } from './share.js';
import { Tree } from './tree.js';
import { Verdicts } from './verdicts.js';
import { asked, drawWorld } from './world.js';

/**
 * The actions of the reader.
 * @typedef {{
 *   goTo: (n: number) => void,
 *   act: (action: Action) => void,
 *   visit: (path: string[]) => void,
 *   chooseWorld: () => void,
 *   plant: () => void,
 *   check: () => void,
 *   find: () => void,
 *   findWitness: (name: string) => void,
 *   jobDone: (done: JobDone) => void,
 * }} Reader
 */

/**
 * @param {HTMLElement} host
 * @param {{catalog: Catalog, state: import('./state.js').WalkState, run: Reader}} options
 */
export function Workbench(host, { catalog, state, run }) {
  const { panels, frame, pickTab } = Layout(host, {
    onWorld: run.chooseWorld,
    onPlant: run.plant,
    onCheck: run.check,
    onFind: run.find,
    onTab: (name) => {
      if (name === 'tree') drawTree();
    },
  });
  const onGoto = run.goTo;
  /** @param {number} id */
  const onPickMessage = (id) => pick({ message: id });
  /** @param {string} name */
  const onPickProcess = (name) => pick({ process: name });
  const stage = Stage(panels.stage, { onPickMessage, onPickProcess });
  const description = StepDescription(panels.description);
  const logs = LogGrid(panels.logs);
  const time = SpaceTime(panels.time, { onGoto, onPickMessage });
  const inspector = Inspector(panels.details, {
    onGoto,
    onPickProcess: (name) => {
      state.shown.selected = { process: name };
      draw();
    },
  });
  const scrubber = Scrubber(panels.scrub, { onGoto });
  const actions = Actions(panels.actions, { onAct: run.act });
  const verdicts = Verdicts(panels.properties, { onGoto, onWitness: run.findWitness });
  const tree = Tree(panels.tree, { onVisit: run.visit });
  const job = Job(panels.job, { onDone: run.jobDone });
  const banner = Banner(panels.banner, {
    catalog,
    onGoto,
    onPlay: () => (scrubber.isPlaying ? scrubber.pause() : scrubber.play()),
    onShown: job.hide,
  });
  ShareMenu(panels.share, {
    timeline: () => state.shown.timeline,
    at: () => state.shown.n,
    stageElement: () => stage.picture,
    walk: () => ({ ...asked(state.shown.world), path: state.prefix }),
    name: () => state.shown.world.name,
  });
  pickTab('properties', 'actions');

  /** @param {Picked} what */
  function pick(what) {
    if (state.toggle(what)) pickTab('details');
    draw();
  }

  function draw() {
    const { timeline, n, path, world, selected } = state.shown;
    const { here, result } = state;
    const at = timeline.at(n);
    const accused = accusedBy(at.step?.violations?.[0] ?? null, at);
    const offers = offersOf(selected, here, run.act);
    const view = { timeline, at, selected, accused, actions: offers };
    stage.update(view);
    description.update(view);
    logs.update(view);
    time.update(view);
    scrubber.update({ ...view, next: n < path.length });
    actions.update({ at, timeline, list: here?.actions ?? null, selected });
    verdicts.update({ here, catalog, claim: claimOf(result) });
    inspector.update(view);
    drawTree();
    frame.classList.toggle('is-large', at.names.length > 4);
    drawWorld(panels.world, catalog, world);
    text(panels.check, t(world.mutant ? 'explore.check-bug' : 'explore.check'));
    banner.update({ result, view: state.shown });
  }

  function drawTree() {
    const { view } = state;
    if (view) tree.update({ visited: view.visited, path: view.path, n: view.n });
  }

  return {
    draw,
    job,
    banner,
    scrubber,
    /** Shows the properties, and the actions in a narrow window. */
    showStart: () => pickTab('properties', 'actions'),
    focusSearch() {
      pickTab('properties', 'actions');
      actions.focusSearch();
    },
    destroy() {
      const parts = [
        stage,
        description,
        logs,
        time,
        inspector,
        scrubber,
        actions,
        verdicts,
        tree,
        job,
      ];
      for (const part of parts) part.destroy();
    },
  };
}

/**
 * The violation that the walk shows, for the list of properties.
 * @param {Result | null} result
 */
function claimOf(result) {
  if (!result?.property) return null;
  return {
    property: result.property,
    why: result.why,
    cause: result.cause,
    key: `${result.property} ${result.path.length}`,
  };
}
