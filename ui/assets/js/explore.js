// The explore page: a walk through the state space of a scope by hand, with the real core.
//
// The address holds the whole state of the page: the world (scope, bounds, bug, step granularity), the
// path of keys, and the current step on it. The server executes paths. The page keeps the timeline of
// the current path, the possible actions of each state requested so far, and the tree of visited
// states. If the current step is before the end of the path, the steps after it are the steps of the
// earlier walk. A different action creates a branch, and the tree leads back to the earlier one.
//
// The parts are in `explore/`: `welcome` (the first screen), `world` (the selection of the world),
// `actions`, `verdicts`, `tree`, `jobs`, `share`.

import { ApiError, getJson, postJson } from './api.js';
import { h, replace, style, text } from './dom.js';
import { duration, t } from './i18n.js';
import { Actions, reason } from './explore/actions.js';
import { Job } from './explore/jobs.js';
import { ShareMenu } from './explore/share.js';
import { Tree, Visited } from './explore/tree.js';
import { Verdicts } from './explore/verdicts.js';
import { Welcome } from './explore/welcome.js';
import { aboutOf, asked, boundsWords, chooseFind, choosePlant, chooseWorld, methodWords, paramsOf, worldKey, worldOf } from './explore/world.js';
import { Inspector } from './inspector.js';
import { lawName } from './laws.js';
import { LogGrid } from './log-grid.js';
import { Scrubber, scrubberShortcuts } from './scrubber.js';
import { SpaceTime } from './spacetime.js';
import { Splitter } from './splitter.js';
import { Stage } from './stage.js';
import { Story, accusedBy } from './story.js';
import { Timeline } from './timeline.js';
import { toast } from './toast.js';
import { why } from './why.js';

/** The result found in each world; it survives a visit to another page. */
const found = new Map();

const TABS = ['actions', 'laws', 'details', 'tree', 'logs', 'time'];

export default function page(host, { params, navigate, app, shortcuts }) {
  let catalogue = null;
  let parts = null;
  let welcome = null;
  let alive = true;
  /** The current view: `world`, `path` (keys), `n`, `timeline`, `selected`. */
  let now = null;
  let job = null;
  const heres = new Map();
  let hereTurn = 0;
  let walkTurn = 0;

  shortcuts([...scrubberShortcuts(), { keys: '/', what: t('explore.key-search') }, { keys: 'f', what: t('explore.find') }, { keys: 'p', what: t('explore.plant') }, { keys: 'c', what: t('explore.check') }]);
  addEventListener('keydown', keys);
  begin(params);

  async function begin(asking) {
    await style('explore');
    try {
      catalogue ??= await getJson('/api/catalogue');
    } catch (error) {
      if (alive) replace(host, h('div', { class: 'notice is-bad', role: 'alert' }, h('p', {}, error.message), h('button', { type: 'button', onclick: () => begin(asking) }, t('shell.again'))));
      return;
    }
    if (alive) await show(asking);
  }

  /* From the address to the view. */

  async function show(asking) {
    if (!asking.scope) { welcomeScreen(); return; }
    const world = worldOf(asking, catalogue);
    const path = asking.path ? asking.path.split('.').filter(Boolean) : [];
    const at = asking.at === undefined ? path.length : Number.parseInt(asking.at, 10) || 0;
    await walk(world, path, at);
  }

  function welcomeScreen() {
    leave();
    host.replaceChildren();
    now = null;
    welcome = Welcome(host, { catalogue, app, onWorld: enter });
  }

  function leave() {
    welcome?.destroy();
    welcome = null;
    job?.destroy();
    job = null;
    for (const part of parts?.all ?? []) part.destroy();
    parts = null;
  }

  /** Opens a world and, if requested, starts the search for a violation in it. */
  async function enter(world, hunt) {
    now = null;
    heres.clear();
    await walk(world, [], 0, { push: true });
    if (!now) return;
    job.clear();
    pickTab('laws', 'actions');
    if (hunt) check();
  }

  async function walk(world, path, n, { keep = 0, push = false } = {}) {
    const mine = ++walkTurn;
    const same = now && worldKey(now.world) === worldKey(world);
    // A known prefix of the path needs no request.
    let known = 0;
    if (same) while (known < path.length && now.path[known] === path[known]) known += 1;
    known = Math.max(known, keep);
    let answer;
    let lost = null;
    try {
      answer = same && known === path.length && path.length ? null : await postJson('/api/walk', { ...asked(world), path, from: same ? known : 0 });
    } catch (error) {
      if (mine !== walkTurn || !alive) return;
      // The path is not executable to its end: show its valid prefix, and the reason for the rest.
      if (!(error instanceof ApiError) || error.status !== 422 || !error.body?.steps) { fault(error); return; }
      answer = error.body;
      lost = error.message;
      path = path.slice(0, error.body.good);
      n = Math.min(n, path.length);
    }
    if (mine !== walkTurn || !alive) return;
    let timeline;
    if (same && !answer) timeline = path.length === now.path.length ? now.timeline : now.timeline.firstSteps(known);
    else if (same && known > 0) {
      timeline = known === now.timeline.length ? now.timeline : now.timeline.firstSteps(known);
      timeline.append(answer.steps.slice(Math.max(0, known - (path.length - answer.steps.length))));
    } else {
      const network = answer.here.messages.filter((message) => message.sent_at === 0).map(({ from, to, message }) => ({ from: address(from), to: address(to), message }));
      timeline = new Timeline({ source: 'walk', header: answer.header, start: answer.start, network, steps: answer.steps });
    }
    if (!same) heres.clear();
    if (answer) heres.set(path.join('.'), answer.here);
    const visited = same ? now.visited : new Visited(worldKey(world));
    now = { world, path, n: Math.max(0, Math.min(n, path.length)), timeline, visited, selected: same ? now.selected : null, header: answer?.header ?? now.header, found: found.get(worldKey(world)) ?? null };
    visited.add(path, timeline.steps);
    if (!parts) workbench();
    if (lost) toast(t('explore.lost', { why: lost }), 'bad');
    writeAddress({ push });
    draw();
  }

  function address(name) {
    const [kind, id] = name.split(' ');
    return { [{ server: 'Node', proxy: 'Proxy', client: 'Client' }[kind]]: Number(id) };
  }

  function fault(error) {
    // The shell already reports a server that does not respond.
    if (parts && error.status === 0) return;
    if (parts) { toast(error.message, 'bad'); return; }
    leave();
    replace(host, h('div', { class: 'notice is-bad', role: 'alert' }, h('p', {}, error.message), h('a', { href: '#/explore' }, t('explore.back-to-start'))));
  }

  function writeAddress({ push = false } = {}) {
    const { world, path, n } = now;
    navigate({ page: 'explore', params: { ...paramsOf(world, catalogue), path: path.join('.'), at: n === path.length ? null : n } }, { quiet: true, push });
  }

  /* The view. */

  function workbench() {
    welcome?.destroy();
    welcome = null;
    host.replaceChildren();
    const box = (cls, key, extra = {}) => h('section', { class: `panel ${cls}`, 'aria-label': t(key), ...extra });
    const el = {
      world: h('button', { type: 'button', class: 'world-button', onclick: () => chooseWorld({ catalogue, world: now.world, onChosen: enter }) }),
      check: h('button', { type: 'button', onclick: check }, t('explore.check')),
      plant: h('button', { type: 'button', onclick: plant }, t('explore.plant')),
      find: h('button', { type: 'button', onclick: find }, t('explore.find')),
      share: h('span', { class: 'row' }), job: h('div', {}), banner: h('div', { class: 'found', hidden: true, role: 'status' }),
      actions: box('p-actions', 'explore.tab-actions'), stage: box('p-stage', 'stage.title'), story: h('div', { class: 'p-story panel' }),
      laws: box('p-laws', 'explore.tab-laws'), details: box('p-details', 'explore.tab-details'), tree: box('p-tree', 'explore.tab-tree'),
      logs: box('p-logs', 'explore.tab-logs'), time: box('p-time', 'explore.tab-time'), scrub: h('div', { class: 'p-scrub' }),
    };
    const frame = h('div', { class: 'explore', 'data-tab': 'laws', 'data-narrow': 'actions' });
    const tabs = (names, data, cls) => h('div', { class: `tabbar ${cls}`, role: 'tablist', 'aria-label': t('explore.panels'), onkeydown: tabKeys },
      names.map((name) => h('button', { type: 'button', role: 'tab', class: 'quiet', 'data-name': name, onclick: () => pickTab(name) }, t(`explore.tab-${name}`))));
    el.side = h('div', { class: 'p-side' }, tabs(['laws', 'details', 'tree'], 'tab', 'is-wide'), el.laws, el.details, el.tree);
    const fold = (panel, key) => h('details', { class: `fold ${panel.className.split(' ')[1]}-fold`, open: true }, h('summary', {}, t(key)), panel);
    const middle = h('div', { class: 'p-middle' }, el.stage, el.story);
    const bench = h('div', { class: 'bench' });
    const line = (name, panel, axis, side, least, most) => Splitter({ name, label: t(`explore.resize-${name}`), of: bench, panel, axis, side, least, most });
    bench.append(el.actions, line('actions', el.actions, 'x', 1, 200, 0.4), middle, line('side', el.side, 'x', -1, 200, 0.4), el.side);
    frame.append(
      h('h1', { class: 'sr-only' }, t('shell.page-explore')),
      h('div', { class: 'toolbar' }, el.world, h('span', { class: 'spacer' }), el.plant, el.check, el.find, el.share),
      el.job, el.banner,
      bench, line('bench', bench, 'y', 1, 320, 0.85),
      el.scrub,
      tabs(TABS, 'narrow', 'is-narrow'),
      h('div', { class: 'below' }, fold(el.logs, 'explore.tab-logs'), fold(el.time, 'explore.tab-time')));
    host.append(frame);
    const pickMessage = (id) => { now.selected = now.selected?.message === id ? null : { message: id }; if (now.selected) pickTab('details'); draw(); };
    const pickProcess = (name) => { now.selected = now.selected?.process === name ? null : { process: name }; if (now.selected) pickTab('details'); draw(); };
    const byName = {
      stage: Stage(el.stage, { onPickMessage: pickMessage, onPickProcess: pickProcess }),
      story: Story(el.story), logs: LogGrid(el.logs),
      time: SpaceTime(el.time, { onGoto: goTo, onPickMessage: pickMessage }),
      inspector: Inspector(el.details, { onGoto: goTo, onPickProcess: (name) => { now.selected = { process: name }; draw(); } }),
      scrubber: Scrubber(el.scrub, { onGoto: goTo }),
      actions: Actions(el.actions, { onAct: act }),
      verdicts: Verdicts(el.laws, { onGoto: goTo, onWitness: (name) => findThat({ witness: name }) }),
      tree: Tree(el.tree, { onVisit: (path) => visit(path) }),
    };
    job = Job(el.job, { onDone: jobDone });
    parts = { el, frame, ...byName, all: Object.values(byName) };
    ShareMenu(el.share, {
      timeline: () => now.timeline, at: () => now.n, stageElement: () => parts.stage.picture,
      walk: () => ({ ...asked(now.world), path: now.path.slice(0, now.n) }), name: () => now.world.name,
    });
    pickTab('laws', 'actions');
  }

  function pickTab(name, narrow = name) {
    const { frame } = parts;
    if (['laws', 'details', 'tree'].includes(name)) frame.dataset.tab = name;
    frame.dataset.narrow = narrow;
    for (const tab of frame.querySelectorAll('[role="tab"]')) {
      const on = tab.parentElement.classList.contains('is-wide') ? tab.dataset.name === frame.dataset.tab : tab.dataset.name === frame.dataset.narrow;
      tab.setAttribute('aria-selected', String(on));
      tab.tabIndex = on ? 0 : -1;
    }
    if (now && name === 'tree') parts.tree.update({ visited: now.visited, path: now.path, n: now.n });
  }

  function tabKeys(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    const all = [...event.currentTarget.children];
    const next = all[(all.indexOf(document.activeElement) + by + all.length) % all.length];
    pickTab(next.dataset.name);
    next.focus();
  }

  function draw() {
    if (!parts || !now) return;
    const { timeline, n, path, world, selected } = now;
    const at = timeline.at(n);
    const broken = at.step?.broken?.[0] ?? null;
    const accused = accusedBy(broken, at);
    const here = heres.get(path.slice(0, n).join('.')) ?? null;
    const view = { timeline, at, selected, accused, actions: picked(here) };
    parts.stage.update(view);
    parts.story.update(view);
    parts.logs.update(view);
    parts.time.update(view);
    parts.scrubber.update({ ...view, next: n < path.length });
    parts.actions.update({ at, timeline, list: here?.actions ?? null, selected });
    parts.verdicts.update({ here, catalogue, claim: claim() });
    parts.inspector.update(view);
    parts.tree.update({ visited: now.visited, path, n });
    parts.frame.classList.toggle('is-large', at.names.length > 4);
    drawWorld(world);
    drawBanner();
    if (!here) askHere();
  }

  function drawWorld(world) {
    const mutant = catalogue.mutants.find(({ name }) => name === world.mutant);
    replace(parts.el.world, h('span', { class: 'world-words' }, h('b', {}, world.name), h('span', { class: 'dim' }, boundsWords(world.bounds)),
      mutant && h('span', { class: 'chip is-warn', title: aboutOf('mutant', mutant) }, `${t('explore.planted')}: ${aboutOf('mutant', mutant).replace(/\.$/, '')}`),
      world.steps === 'split' && h('span', { class: 'chip' }, t('explore.split-short'))), h('span', { 'aria-hidden': 'true' }, '▾'));
    text(parts.el.check, t(world.mutant ? 'explore.check-bug' : 'explore.check'));
  }

  /** The result found, with controls to step through it. */
  function drawBanner() {
    const { n, path, timeline } = now;
    const told = now.found;
    const banner = parts.el.banner;
    const on = told && path.length === told.path.length && path.every((key, i) => key === told.path[i]);
    banner.hidden = !on;
    if (!on) return;
    const atEnd = n === path.length;
    const line = told.law ? at(told, n) : '';
    if (banner.shows?.told === told && banner.shows.n === n) return;
    // If only the words change, the buttons are kept: a key held down must keep its target.
    if (banner.shows?.told === told && banner.shows.atEnd === atEnd && banner.shows.moved === n > 0 && banner.shows.isStuck === (n === told.stuck)) {
      banner.shows.n = n;
      replace(banner.querySelector('.found-line'), line);
      return;
    }
    banner.shows = { told, atEnd, n, moved: n > 0, isStuck: n === told.stuck };
    const held = banner.contains(document.activeElement) ? document.activeElement.id : null;
    // One notice is enough: the verdict is part of this one.
    job.hide();
    banner.className = `found ${told.law ? 'is-bad' : 'is-good'}`;
    replace(banner,
      h('span', { class: `chip is-${told.law ? 'bad' : 'good'}` }, t(`explore.verdict-${told.verdict}`)),
      h('div', { class: 'found-words' },
        told.law ? [h('b', {}, headline(told)), ' ', h('span', { class: 'found-line' }, line)] : h('b', {}, t('explore.found-state', { n: path.length })),
        h('div', { class: 'dim small' }, told.law && now.world.mutant ? `${t('explore.no-verdict')} ` : '',
          // The steps of a schedule or a simulation are not a number of states.
          told.method === 'timed' || told.method === 'schedule' ? '' : `${t('explore.states', { n: told.states })} · `, duration(told.seconds)),
        told.law && told.method && h('details', { class: 'small' }, h('summary', {}, t('explore.how-found')), h('p', {}, methodWords(catalogue, told.method, now.world.mutant)))),
      n > 0 && h('button', { type: 'button', id: 'found-start', onclick: () => goTo(0) }, t('explore.from-start')),
      told.stuck !== null && n !== told.stuck && h('button', { type: 'button', id: 'found-stuck', onclick: () => goTo(told.stuck) }, t('explore.to-stuck')),
      !atEnd && h('button', { type: 'button', class: 'primary', id: 'found-next', onclick: () => goTo(now.n + 1) }, `${t('stage.next')} ▶`),
      !atEnd && h('button', { type: 'button', id: 'found-play', onclick: () => (parts.scrubber.isPlaying ? parts.scrubber.pause() : parts.scrubber.play()) }, t('explore.play-pause')));
    if (held) (banner.querySelector(`#${held}`) ?? banner.querySelector('button'))?.focus();
  }

  function headline({ law, method, path, stuck, ticks }) {
    const n = stuck ?? path.length;
    if (method === 'progress') return t(n ? 'explore.found-stuck' : 'explore.found-stuck-at-start', { n });
    if (method === 'timed') return t('explore.found-timed', { law: lawName(law), n, ticks: ticks?.at(-1) ?? 0 });
    return t(method === 'schedule' ? 'explore.found-schedule' : 'explore.found-law', { law: lawName(law), n });
  }

  /** The description of the counterexample at a step. */
  function at({ path, stuck, ticks, why: reason }, n) {
    const tick = ticks && n > 0 ? `${t('explore.at-tick', { n: ticks[n - 1] })} ` : '';
    if (stuck !== null && n >= stuck) return [t(n > stuck ? 'explore.found-still-stuck' : path.length > stuck ? 'explore.found-is-stuck' : 'explore.found-is-stuck-alone', { n: path.length - stuck }), ' ', why(reason, { end: '.', capital: true })];
    if (n < path.length) return [tick, t('explore.found-walk')];
    return now.timeline.at(n).step?.broken?.length ? t('explore.found-end') : [tick, why(reason, { end: '.', capital: true })];
  }

  /** The violation of the current walk, for the list of properties. */
  function claim() {
    const told = now.found;
    const on = told?.law && now.path.length === told.path.length && now.path.every((key, i) => key === told.path[i]);
    return on ? { law: told.law, why: told.why, key: `${told.law} ${told.path.length}` } : null;
  }

  /** The actions available for the selected item. */
  function picked(here) {
    const { selected } = now;
    if (!selected || !here) return [];
    const mine = here.actions.filter((action) => (selected.message ? action.message === selected.message : action.process === selected.process && !action.message));
    return mine.map((action) => {
      const ask = action.key.match(/-(\d+)$/)?.[1];
      const named = t(`explore.act-${action.kind}`);
      return { words: ask ? `${named} (${t('explore.ask', { id: ask })})` : named, run: () => act(action), disabled: !action.allowed, why: action.why_not && reason(action.why_not), cls: action.kind === 'deliver' ? 'primary' : '' };
    });
  }

  /** Requests the actions of the current state unless known. Quick moves send one at their end. */
  function askHere() {
    const mine = ++hereTurn;
    setTimeout(async () => {
      if (mine !== hereTurn || !now || !alive) return;
      const { world } = now;
      const prefix = now.path.slice(0, now.n);
      try {
        const answer = await postJson('/api/walk', { ...asked(world), path: prefix, from: prefix.length });
        if (!now || !alive || worldKey(now.world) !== worldKey(world)) return;
        if (heres.size > 400) heres.clear();
        heres.set(prefix.join('.'), answer.here);
        if (mine === hereTurn) draw();
      } catch (error) {
        if (mine === hereTurn && alive && error.status !== 0) toast(error.message, 'bad');
      }
    }, parts.scrubber.isPlaying ? 350 : 60);
  }

  /* The actions of the reader. */

  function goTo(n) {
    if (!now) return;
    now.n = Math.max(0, Math.min(n, now.path.length));
    // A message that is not sent yet cannot be selected.
    if (now.selected?.message && !now.timeline.message(now.selected.message, now.n)) now.selected = null;
    writeAddress();
    draw();
  }

  async function act(action) {
    const { world, path, n } = now;
    if (path[n] === action.key) { now.selected = null; goTo(n + 1); return; }
    if (now.selected?.message === action.message) now.selected = null;
    await walk(world, [...path.slice(0, n), action.key], n + 1, { keep: n });
  }

  async function visit(path) {
    // On the current path only the position changes.
    if (path.every((key, i) => key === now.path[i])) { goTo(path.length); return; }
    await walk(now.world, path, path.length);
  }

  function check() {
    job.start({ kind: 'check', ...asked(now.world), path: [] });
  }

  function plant() { choosePlant({ catalogue, world: now.world, onChosen: enter }); }

  function find() { chooseFind({ catalogue, onFind: findThat }); }

  function findThat(what) {
    job.start({ kind: what.witness ? 'witness' : 'find', ...asked(now.world), path: now.path.slice(0, now.n), ...what });
  }

  async function jobDone(done) {
    if (!now || !done.path?.length) return;
    const world = { ...now.world, steps: done.steps ?? now.world.steps };
    const isLaw = done.verdict === 'violated';
    // A counterexample opens at its start, so that the reader steps through it; a state found is shown.
    await walk(world, done.path, isLaw ? 0 : done.path.length, { push: now.path.length > 0 });
    if (!now) return;
    now.found = { path: [...now.path], law: isLaw ? done.law ?? '' : null, why: done.why, verdict: done.verdict, states: done.states ?? 0, method: done.method ?? null, stuck: done.stuck_after ?? null, ticks: done.ticks ?? null, seconds: done.elapsed_seconds ?? 0 };
    found.set(worldKey(world), now.found);
    draw();
    if (isLaw) parts.el.banner.querySelector('#found-next')?.focus();
  }

  function keys(event) {
    if (!parts || document.querySelector('dialog[open]')) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const field = event.target.closest?.('input:not([type="range"]), textarea, select');
    if (parts.scrubber.key(event)) return;
    if (field) return;
    const run = { '/': () => { pickTab('laws', 'actions'); parts.actions.focusSearch(); }, f: find, p: plant, c: check }[event.key];
    if (run) { event.preventDefault(); run(); }
  }

  return {
    go({ params: next }) { if (catalogue) show(next); },
    destroy() {
      alive = false;
      removeEventListener('keydown', keys);
      leave();
      host.replaceChildren();
    },
  };
}
