// The live page: the running cluster, as the proxy reports it. The stage and the logs that draw a
// model draw real servers here. Beside them are the load, the events, the keys, and, if the proxy
// was started with --chaos, fault injection.
//
// All data arrives over one stream of server-sent events, which resumes after an interruption. If a
// token is required, the page requests it and shows nothing before.

/** @import { ApiError } from './api.js' */
import { events, setToken, token } from './api.js';
import { closest, eachFrame, h, replace, set, style } from './dom.js';
import { t } from './i18n.js';
import { ChaosPanel } from './live/chaos.js';
import { EventList } from './live/events.js';
import { Keys } from './live/keys.js';
import { Links } from './live/links.js';
import { Load } from './live/load.js';
import { problemText } from './live/problem.js';
import { Servers } from './live/servers.js';
import { State } from './live/state.js';
import { Summary } from './live/summary.js';
import { LogGrid } from './log-grid.js';
import { Stage } from './stage.js';

/**
 * @param {HTMLElement} host
 * @param {PageContext} context
 */
export default function page(host, { app, shortcuts }) {
  /** @type {ReturnType<typeof View> | null} */
  let shown = null;
  let gone = false;
  const box = h('div', { class: 'live' });
  const wait = style('live');
  host.append(box);

  function begin() {
    shown?.destroy();
    shown = null;
    if (app.token && !token()) {
      prompt(false);
      return;
    }
    shown = View(box, app, (error) => {
      shown?.destroy();
      shown = null;
      if (error?.status === 401) {
        setToken(null);
        prompt(true);
        return;
      }
      replace(
        box,
        h(
          'div',
          { class: 'notice is-bad', role: 'alert' },
          h('p', {}, problemText(error)),
          h('button', { type: 'button', onclick: begin }, t('shell.again')),
        ),
      );
    });
  }

  /** @param {boolean} wrong */
  function prompt(wrong) {
    const field = h('input', {
      id: 'live-token',
      type: 'password',
      required: true,
      autocomplete: 'off',
    });
    replace(
      box,
      h(
        'form',
        {
          class: 'notice live-token',
          onsubmit: (/** @type {Event} */ event) => {
            event.preventDefault();
            setToken(field.value.trim());
            begin();
          },
        },
        h('h2', {}, t('live.token-title')),
        h('p', {}, t('live.token-why')),
        wrong && h('p', { class: 'chip is-bad', role: 'alert' }, t('live.token-wrong')),
        h('label', { for: 'live-token' }, t('live.token')),
        h('div', { class: 'row' }, field, h('button', { class: 'primary' }, t('live.token-show'))),
      ),
    );
    field.focus();
  }

  /** @param {KeyboardEvent} event */
  const keys = (event) => {
    if (
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      closest(event, 'input, textarea, select, dialog')
    )
      return;
    if (shown?.key(event.key)) event.preventDefault();
  };
  addEventListener('keydown', keys);
  shortcuts?.([
    { keys: '1 … 9', what: t('live.key-server') },
    { keys: 'k', what: t('live.key-keys') },
    { keys: 'e', what: t('live.key-events') },
    ...(app.chaos ? [{ keys: 'c', what: t('live.key-chaos') }] : []),
    { keys: '← →', what: t('live.key-chart') },
  ]);
  wait.then(() => {
    if (!gone) begin();
  });

  return {
    destroy() {
      gone = true;
      removeEventListener('keydown', keys);
      shown?.destroy();
      box.remove();
    },
  };
}

/**
 * The page with a connection to the proxy; `onRefused(error)` is called if the proxy refuses it.
 * @param {HTMLElement} box
 * @param {App} app
 * @param {(error: ApiError | undefined) => void} onRefused
 */
function View(box, app, onRefused) {
  const state = new State();
  /** @type {string | null} */
  let selected = null;
  const stageBox = h('div', { class: 'live-stage' });
  const hint = h('p', { class: 'small dim' }, t('live.stage-hint'));
  const panels = {
    cluster: panel('cluster', 'is-stage', stageBox, hint),
    chaos: app.chaos ? panel('chaos', 'is-chaos') : null,
    servers: panel('servers', 'is-servers'),
    logs: panel('logs', 'is-logs'),
    load: panel('load', 'is-load'),
    events: panel('events', 'is-events'),
    keys: panel('keys', 'is-keys'),
  };
  const empty = h('p', { class: 'loading' }, t('live.connecting'));
  const cls = `live-panels${app.chaos ? ' has-chaos' : ''}`;
  const all = h('div', { class: cls, hidden: true }, Object.values(panels));
  const summary = Summary();
  replace(box, summary.head, summary.alerts, empty, all);

  /** @param {string} name */
  const pick = (name) => {
    selected = selected === name ? null : name;
    later();
  };
  /** @type {ReturnType<typeof Links> | null} */
  let links = null;
  /** @param {StageLayout & Size} layout */
  const onDrawn = (layout) => links?.over(layout);
  const stage = Stage(stageBox, { onPickProcess: pick, onDrawn });
  links = Links(stage.picture);
  const servers = Servers(panels.servers, { onPick: pick });
  const logs = LogGrid(panels.logs);
  const load = Load(panels.load);
  const eventList = EventList(panels.events);
  const keys = Keys(panels.keys);
  const chaos = panels.chaos && ChaosPanel(panels.chaos);

  const later = eachFrame(draw);
  /**
   * The parts of the state that changed since the last drawing.
   * @type {Set<string>}
   */
  const fresh = new Set();
  const source = events('/v1/events', {
    onEvent(event) {
      const part = state.take(event);
      if (!part) return;
      if (part === 'samples') load.take(state.samples);
      fresh.add(part);
      later();
    },
    onState(now, error) {
      if (now === 'refused') {
        onRefused(error);
        return;
      }
      summary.connect(now === 'open', state);
      set(all, { class: now === 'open' ? cls : `${cls} is-old` });
    },
  });
  // The displayed ages advance between samples.
  const tick = setInterval(later, 1000);

  function draw() {
    if (!state.status) return;
    empty.hidden = true;
    all.hidden = false;
    const at = state.at();
    stage.update({ at, selected: selected ? { process: selected } : null, animate: false });
    if (fresh.has('status')) {
      links?.update(state);
      logs.update({ at });
      keys.update(state);
      chaos?.update(state);
    }
    servers.update(state, selected);
    if (fresh.has('events')) eventList.update(state);
    load.update(state);
    summary.update(state, load.row);
    fresh.clear();
  }

  /** @param {string} name */
  function key(name) {
    if (state.status?.nodes.some(({ id }) => String(id) === name)) pick(`server ${name}`);
    else if (name === 'k') {
      goTo(panels.keys);
      keys.focus();
    } else if (name === 'e') goTo(panels.events);
    else if (name === 'c' && panels.chaos) goTo(panels.chaos);
    else return false;
    return true;
  }

  return {
    /** Whether it handled this key. */
    key,
    destroy() {
      source.close();
      clearInterval(tick);
      later.stop();
      for (const part of [stage, logs, load]) part.destroy();
      box.replaceChildren();
    },
  };
}

/**
 * @param {string} name
 * @param {string} cls
 * @param {Content[]} content
 */
function panel(name, cls, ...content) {
  const title = h('h2', { id: `live-${name}` }, t(`live.${name}`));
  const props = { class: `panel ${cls}`, 'aria-labelledby': `live-${name}`, tabindex: '-1' };
  return h('section', props, title, content);
}

/** @param {HTMLElement} section */
function goTo(section) {
  section.scrollIntoView({ block: 'start', behavior: 'smooth' });
  section.focus({ preventScroll: true });
}
