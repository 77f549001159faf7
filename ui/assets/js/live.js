// The live page: the running cluster, as the proxy reports it. The stage and the logs that draw a
// model draw real servers here. Beside them are the load, the events, the keys, and, if the proxy
// was started with --chaos, fault injection.
//
// All data arrives over one stream of server-sent events, which resumes after an interruption. If a
// token is required, the page requests it and shows nothing before.

import { events, setToken, token } from './api.js';
import { eachFrame, h, keyed, replace, set, style, text } from './dom.js';
import { duration, number, t } from './i18n.js';
import { ChaosPanel, said } from './live/chaos.js';
import { Chart } from './live/chart.js';
import { Happened, end, marksOf } from './live/happened.js';
import { Keys } from './live/keys.js';
import { Links } from './live/links.js';
import { Servers } from './live/servers.js';
import { State, figures } from './live/state.js';
import { LogGrid } from './log-grid.js';
import { Stage } from './stage.js';

const SPANS = [60, 120, 300, 600];

export default function page(host, { app, shortcuts }) {
  let shown = null;
  let gone = false;
  const box = h('div', { class: 'live' });
  const wait = style('live');
  host.append(box);

  function begin() {
    shown?.destroy();
    shown = null;
    if (app.token && !token()) { prompt(false); return; }
    shown = View(box, app, (error) => {
      shown?.destroy();
      shown = null;
      if (error.status === 401) { setToken(null); prompt(true); return; }
      replace(box, h('div', { class: 'notice is-bad', role: 'alert' }, h('p', {}, said(error)), h('button', { type: 'button', onclick: begin }, t('shell.again'))));
    });
  }

  function prompt(wrong) {
    const field = h('input', { id: 'live-token', type: 'password', required: true, autocomplete: 'off' });
    replace(box, h('form', {
      class: 'notice live-token', onsubmit: (event) => { event.preventDefault(); setToken(field.value.trim()); begin(); },
    }, h('h2', {}, t('live.token-title')), h('p', {}, t('live.token-why')), wrong && h('p', { class: 'chip is-bad', role: 'alert' }, t('live.token-wrong')),
    h('label', { for: 'live-token' }, t('live.token')), h('div', { class: 'row' }, field, h('button', { class: 'primary' }, t('live.token-show')))));
    field.focus();
  }

  const keys = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.('input, textarea, select, dialog')) return;
    if (shown?.key(event.key)) event.preventDefault();
  };
  addEventListener('keydown', keys);
  shortcuts?.([
    { keys: '1 … 9', what: t('live.key-server') }, { keys: 'k', what: t('live.key-keys') }, { keys: 'e', what: t('live.key-events') },
    ...(app.chaos ? [{ keys: 'c', what: t('live.key-chaos') }] : []), { keys: '← →', what: t('live.key-chart') },
  ]);
  wait.then(() => { if (!gone) begin(); });

  return {
    destroy() {
      gone = true;
      removeEventListener('keydown', keys);
      shown?.destroy();
      box.remove();
    },
  };
}

function View(box, app, refused) {
  const state = new State();
  let selected = null;
  let span = 120;
  /** The offset of the proxy's clock from the local clock. */
  let ahead = 0;

  const connection = h('span', { class: 'chip', role: 'status' });
  const summary = h('dl', { class: 'live-summary' });
  const cluster = h('strong', {});
  const spans = h('select', { id: 'live-span', onchange: (event) => { span = Number(event.target.value); later(); } },
    SPANS.map((seconds) => h('option', { value: seconds, selected: seconds === span }, t('live.last-minutes', { n: seconds / 60 }))));
  const panel = (name, cls, ...more) => h('section', { class: `panel ${cls}`, 'aria-labelledby': `live-${name}`, tabindex: '-1' }, h('h2', { id: `live-${name}` }, t(`live.${name}`)), more);
  const stageBox = h('div', { class: 'live-stage' });
  const stagePanel = panel('cluster', 'is-stage', stageBox, h('p', { class: 'small dim' }, t('live.stage-hint')));
  const serversPanel = panel('servers', 'is-servers');
  const logPanel = panel('logs', 'is-logs');
  const loadPanel = panel('load', 'is-load', h('div', { class: 'row' }, h('label', { class: 'small', for: 'live-span' }, t('live.span')), spans,
    h('span', { class: 'small dim' }, t('live.marks'))));
  const eventsPanel = panel('happened', 'is-events');
  const keysPanel = panel('keys', 'is-keys');
  const chaosPanel = app.chaos ? panel('chaos', 'is-chaos') : null;
  const alerts = h('ul', { class: 'live-alerts', role: 'status', 'aria-label': t('live.alerts') });
  const empty = h('p', { class: 'loading' }, t('live.connecting'));
  const all = h('div', { class: `live-panels${chaosPanel ? ' has-chaos' : ''}`, hidden: true }, stagePanel, chaosPanel, serversPanel, logPanel, loadPanel, eventsPanel, keysPanel);
  replace(box, h('div', { class: 'live-head' }, h('h1', { class: 'sr-only' }, t('live.title')), cluster, connection, summary), alerts, empty, all);

  const pick = (name) => { selected = selected === name ? null : name; later(); };
  let links = null;
  const stage = Stage(stageBox, { onPickProcess: pick, onDrawn: (layout) => links?.over(layout) });
  links = Links(stage.picture);
  const servers = Servers(serversPanel, { onPick: pick });
  const logs = LogGrid(logPanel, {});
  const charts = h('div', { class: 'live-charts' });
  loadPanel.append(charts);
  const rate = (value) => number(value, value < 10 ? 1 : 0);
  const throughput = Chart(charts, {
    title: t('live.throughput'), unit: t('live.per-second'), show: rate,
    lines: [{ key: 'writes', name: t('live.writes'), cls: 'is-write' }, { key: 'reads', name: t('live.reads'), cls: 'is-read' }, { key: 'failed', name: t('live.failed'), cls: 'is-failed' }],
  });
  const latency = Chart(charts, {
    title: t('live.latency'), unit: t('live.milliseconds'), scale: 'log', show: (value) => number(value, value < 1 ? 2 : value < 10 ? 1 : 0),
    lines: [
      { key: 'w50', name: t('live.writes-p50'), cls: 'is-write' }, { key: 'w99', name: t('live.writes-p99'), cls: 'is-write is-far' },
      { key: 'r50', name: t('live.reads-p50'), cls: 'is-read' }, { key: 'r99', name: t('live.reads-p99'), cls: 'is-read is-far' },
    ],
  });
  const happened = Happened(eventsPanel);
  const keys = Keys(keysPanel);
  const chaos = chaosPanel && ChaosPanel(chaosPanel);

  const later = eachFrame(draw);
  /** Whether the stream is open; nothing until the first attempt has ended. */
  let isOpen = null;
  let rows = [];

  /** The health of the cluster in one line: never green while writes wait. */
  function chip() {
    const { health } = state;
    const kind = isOpen === null ? null : !isOpen ? 'is-bad' : !health ? 'is-good' : {
      ok: health.up < health.servers || health.margin === 0 && health.servers > 2 ? 'is-warn' : 'is-good', no_leader: 'is-warn', no_quorum: 'is-bad',
    }[health.state] ?? 'is-warn';
    set(connection, { class: `chip ${kind ?? ''}` });
    const words = isOpen === null ? 'live.connecting' : !isOpen ? 'live.reconnecting' : health ? `live.health-${health.state}` : 'live.connected';
    text(connection, t(words, { up: health?.up ?? 0, servers: health?.servers ?? 0 }));
  }

  const fresh = { status: false, samples: false, events: false };
  const source = events('/v1/events', {
    onEvent(event) {
      const what = state.take(event);
      if (!what) return;
      if (what === 'samples') {
        rows = state.samples.map(figures);
        ahead = rows.length ? rows.at(-1).at - Date.now() : 0;
      }
      fresh[what] = true;
      later();
    },
    onState(now, error) {
      if (now === 'refused') { refused(error); return; }
      isOpen = now === 'open';
      chip();
      set(all, { class: `${all.className.replace(' is-old', '')}${now === 'open' ? '' : ' is-old'}` });
    },
  });
  // The displayed ages advance between samples.
  const tick = setInterval(() => later(), 1000);

  function draw() {
    if (!state.status) return;
    empty.hidden = true;
    all.hidden = false;
    if (fresh.status) {
      const at = state.at();
      stage.update({ at, selected: selected && { process: selected }, animate: false });
      links.update(state);
      logs.update({ at });
      keys.update(state);
      chaos?.update(state);
      text(cluster, state.status.cluster);
    } else {
      stage.update({ at: state.at(), selected: selected && { process: selected }, animate: false });
    }
    servers.update(state, selected);
    if (fresh.events) happened.update(state);
    const marks = marksOf(state.events);
    const now = Date.now() + ahead;
    throughput.update({ rows, span, marks, now });
    latency.update({ rows, span, marks, now });
    summarize();
    Object.assign(fresh, { status: false, samples: false, events: false });
  }

  function summarize() {
    const { leader, health } = state;
    const row = rows.at(-1);
    chip();
    keyed(alerts, state.alerts, ({ kind, node }) => `${kind} ${node}`, () => h('li', {}), (item, { kind, node }) => text(item, t(`live.alert-${kind}`, { who: end(node) })));
    // Without a leader the last known commit index stays, with its age.
    const index = leader?.commit_index ?? health?.commit_index ?? null;
    const old = !leader && health?.commit_age_ms >= 1000 ? ` · ${t('live.ago', { time: duration(Math.round(health.commit_age_ms / 1000)) })}` : '';
    const margin = health ? (health.margin >= 0 ? t('live.margin', { n: health.margin }) : t('live.margin-short', { n: -health.margin })) : '–';
    const facts = [
      ['leader', leader ? end(leader.id) : t('live.nobody'), leader ? '' : 'is-bad'], ['term', leader ? number(leader.term) : '–', ''],
      ['commit', index === null ? '–' : number(index) + old, old ? 'is-bad' : ''],
      ['up', health ? t('live.up-of', { up: health.up, servers: health.servers, majority: health.majority }) : '–', health?.margin < 0 ? 'is-bad' : ''], ['margin', margin, health?.margin < 0 ? 'is-bad' : ''], ['writes', row ? `${rate(row.writes)}/s` : '–', ''], ['reads', row ? `${rate(row.reads)}/s` : '–', ''],
      ['w99', row?.w99 ? `${number(row.w99, 1)} ms` : '–', ''], ['in-flight', number(state.status.proxy.requests_in_flight), ''],
    ];
    if (summary.children.length !== facts.length) replace(summary, facts.map(([name]) => h('div', {}, h('dt', {}, t(`live.sum-${name}`)), h('dd', {}))));
    facts.forEach(([, value, cls], place) => {
      const told = summary.children[place].lastChild;
      set(told, { class: cls || null });
      text(told, value);
    });
  }

  const go = (section) => { section.scrollIntoView({ block: 'start', behavior: 'smooth' }); section.focus({ preventScroll: true }); };

  return {
    /** Whether it handled this key. */
    key(name) {
      if (/^[1-9]$/.test(name) && state.status?.nodes.some(({ id }) => String(id) === name)) pick(`server ${name}`);
      else if (name === 'k') { go(keysPanel); keys.focus(); } else if (name === 'e') go(eventsPanel);
      else if (name === 'c' && chaosPanel) go(chaosPanel);
      else return false;
      return true;
    },
    destroy() {
      source.close();
      clearInterval(tick);
      later.stop();
      for (const part of [stage, logs, throughput, latency]) part.destroy();
      box.replaceChildren();
    },
  };
}
