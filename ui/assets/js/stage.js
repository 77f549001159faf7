// The stage: every process, and the messages in flight between them, at one step of a timeline.
//
//   const stage = Stage(host, {onPickMessage(id), onPickProcess(name)});
//   stage.update({at: timeline.at(n), selected: {message: 3} | {process: 'server 2'} | null,
//                 accused: {servers: ['server 1'], index: 2} | null, animate: true,
//                 actions: [{words, run, disabled, why, cls}]});   // offered beside a picked message
//
// Servers are on a ring, clients and proxies below it. The shape and the word of a server show its role,
// its color shows its term, always with the number. A message is an arrow with a label. Up to three
// messages between the same two processes fan out; a count that opens a list stands for the rest. The
// messages of the current step are marked: new, delivered, dropped. Each selectable item is a button
// for the keyboard.
//
// The drawing uses pixels of the host, so that text has the same size at every width.
// `stage/layout.js` computes all positions; `onDrawn(layout)` is called after each drawing, for code
// that adds to the picture.

import { family, initial, label, role, sentence, short, text as words, the, who } from './describe.js';
import { drawing, h, keyed, replace, set, still, svg, text } from './dom.js';
import { t } from './i18n.js';
import { arrange, connect, factSpots, settle } from './stage/layout.js';
import { isDown, logOf, roleOf, splitName, termOf } from './timeline.js';

const FAN = 3;

export function Stage(host, { onPickMessage = () => {}, onPickProcess = () => {}, onDrawn = () => {} } = {}) {
  const leads = svg('g', { class: 'leads', 'aria-hidden': 'true' });
  const arrows = svg('g', { class: 'arrows' });
  const nodes = svg('g', { class: 'nodes' });
  const labels = svg('g', { class: 'labels' });
  const sparks = svg('g', { class: 'sparks', 'aria-hidden': 'true' });
  const defs = svg('defs', {}, ['vote', 'append', 'client'].map((name) => svg('marker', {
    id: `head-${name}`, viewBox: '0 0 10 10', refX: 8.5, refY: 5, markerWidth: 9, markerHeight: 9, markerUnits: 'userSpaceOnUse', orient: 'auto-start-reverse',
  }, svg('path', { d: 'M0 0 10 5 0 10 2.5 5z', class: `head is-${name}` }))));
  const picture = svg('svg', { class: 'stage-picture', role: 'group', 'aria-label': t('stage.title') }, defs, arrows, nodes, leads, labels, sparks);
  const list = h('div', { class: 'stage-list', hidden: true, role: 'dialog' });
  const box = h('div', { class: 'stage' }, picture, list);
  host.append(box);

  let view = null;
  let opened = null;
  let lastStep = null;
  const sheet = drawing(box, () => { if (view) draw(false); });

  function draw(moved) {
    const width = Math.max(280, sheet.size.width);
    const { at, selected = null } = view;
    const accused = view.accused?.servers ?? [];
    const names = at.names.filter((name) => at.processes[name]);
    const height = Math.max(sheet.size.height, 240);
    set(picture, { width, height, viewBox: `0 0 ${width} ${height}` });
    const layout = arrange(names.map((name) => item(name, at.processes[name], width)), { width, height });
    const routes = route(at.inFlight, layout, { width, height }, selected);
    drawArrows(routes, selected);
    drawNodes(names, layout.places, at, selected, accused, width);
    onDrawn({ ...layout, width, height });
    if (opened) showList(routes);
    else offer(routes, width, height);
    if (moved) animate(routes, at);
  }

  /* Messages. */

  function drawArrows({ drawn, stacks }, selected) {
    const state = (message) => [
      'message', `is-${family(message.message)}`, message.isNew && 'is-new', message.isDelivering && 'is-delivering',
      message.isDropping && 'is-dropping', selected?.message === message.id && 'is-picked',
    ].filter(Boolean).join(' ');
    keyed(arrows, drawn, ({ message }) => message.id,
      () => svg('path', {}),
      (path, { message, curve }) => set(path, {
        class: state(message), d: curve.d, 'marker-end': `url(#head-${family(message.message)})`, 'data-from': message.from, 'data-to': message.to,
      }));
    const all = [...drawn.map((one) => ({ ...one, key: `m${one.message.id}` })), ...stacks.map((one) => ({ ...one, key: `s${one.pair}` }))];
    keyed(leads, all.filter(({ lead }) => lead), ({ key }) => key, () => svg('path', {}),
      (path, { x, y, lead }) => set(path, { d: `M${x.toFixed(1)} ${y.toFixed(1)}L${lead.x.toFixed(1)} ${lead.y.toFixed(1)}` }));
    keyed(labels, all, ({ key }) => key, makeLabel, (group, one) => {
      const about = one.message ? messageAbout(one.message) : t('stage.more-about', { n: one.count, from: the(one.from), to: the(one.to) });
      set(group, {
        class: one.message ? state(one.message) : 'message stack',
        transform: `translate(${one.x.toFixed(1)} ${one.y.toFixed(1)})`, 'aria-label': about,
        'aria-pressed': one.message ? String(selected?.message === one.message.id) : null,
      });
      const [title, rect, label] = group.children;
      text(title, about);
      set(rect, { x: -one.w / 2, y: -10, width: one.w, height: 20, rx: 5 });
      text(label, one.words);
      group.pick = () => {
        if (one.message) onPickMessage(one.message.id);
        else { opened = opened === one.pair ? null : one.pair; if (opened) showList({ stacks }); else list.hidden = true; }
      };
    });
  }

  function makeLabel() {
    return button(svg('g', {}, svg('title', {}), svg('rect', {}), svg('text', { 'text-anchor': 'middle', dy: '0.35em' })));
  }

  function button(group) {
    set(group, { role: 'button', tabindex: 0 });
    group.addEventListener('click', () => group.pick());
    group.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault();
      event.stopPropagation();
      group.pick();
    });
    return group;
  }

  function showList({ stacks }) {
    const stack = stacks.find(({ pair }) => pair === opened);
    list.hidden = !stack;
    list.classList.remove('is-offer');
    set(list, { style: { left: '', top: '' } });
    if (!stack) { opened = null; return; }
    replace(list,
      h('div', { class: 'row' }, h('strong', {}, `${initial(stack.from)} → ${initial(stack.to)}`), h('span', { class: 'spacer' }),
        h('button', { type: 'button', class: 'quiet', 'aria-label': t('shell.close'), onclick: () => { opened = null; list.hidden = true; } }, '×')),
      stack.messages.slice(-60).map((message) => h('button', { type: 'button', class: `is-${family(message.message)}`, title: sentence(message.message), onclick: () => onPickMessage(message.id) },
        label(message.message))));
  }

  /** The actions for the selected message, beside it. */
  function offer({ drawn }, width, height) {
    const picked = view.selected?.message && drawn.find(({ message }) => message.id === view.selected.message);
    const actions = picked ? view.actions ?? [] : [];
    list.hidden = actions.length === 0;
    list.classList.toggle('is-offer', !list.hidden);
    if (list.hidden) return;
    replace(list, actions.map((one) => h('button', { type: 'button', class: one.cls ?? '', disabled: one.disabled, title: one.why ?? null, onclick: one.run }, one.words)));
    const x = Math.max(4, Math.min(width - list.offsetWidth - 4, picked.x - list.offsetWidth / 2));
    const below = picked.y + 14 + list.offsetHeight < height;
    set(list, { style: { left: `${x}px`, top: `${below ? picked.y + 14 : picked.y - 14 - list.offsetHeight}px` } });
  }

  /* Processes. */

  function drawNodes(names, places, at, selected, accused, width) {
    keyed(nodes, names, (name) => name, makeNode, (group, name) => {
      const { x, y, r } = places.get(name);
      const snapshot = at.processes[name];
      const kind = splitName(name).kind;
      const roleName = kind === 'server' ? roleOf(snapshot) : kind;
      const changed = at.changed.has(name);
      const about = nodeAbout(name, snapshot) + (changed ? `; ${t('stage.changed')}` : '');
      set(group, {
        class: ['process', `is-${kind}`, `is-${roleName}`, changed && 'is-changed', at.step?.process === name && 'is-acting',
          selected?.process === name && 'is-picked', accused.includes(name) && 'is-accused',
          kind === 'server' && `term-${termOf(snapshot) % 8}`].filter(Boolean).join(' '),
        transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, 'aria-label': about, 'aria-pressed': String(selected?.process === name),
      });
      group.pick = () => onPickProcess(name);
      const [title, halo, timer, body, inner, crown, words] = group.children;
      text(title, about + (hasTimer(snapshot) ? `. ${t('stage.timer')}` : ''));
      set(halo, { d: shape(roleName, r + 9) });
      set(timer, { r: r + 4.5, class: `timer${hasTimer(snapshot) ? ' is-armed' : ''}` });
      set(body, { d: shape(roleName, r) });
      set(inner, { d: roleName === 'leader' ? shape(roleName, r - 4) : roleName === 'down' ? cross(r) : '' });
      set(crown, { d: roleName === 'leader' ? crownAt(r) : '' });
      const small = r < 38;
      const lines = kind === 'server'
        ? [{ words: initial(name), cls: 'name', dy: small ? -11 : -13 }, { words: role(roleName), cls: 'role', dy: small ? 3 : 4, isTight: role(roleName).length > r / 4 },
          termLine(termOf(snapshot), r - ({ leader: 5, candidate: 3, 'pre-candidate': 3 }[roleName] ?? 0), small ? 16 : 19)]
        : [{ words: who(name), cls: 'name plain', dy: 0 }];
      keyed(words, lines, ({ cls }) => cls, () => svg('text', { 'text-anchor': 'middle' }), (line, one) => {
        set(line, { class: `${one.cls}${one.isTight ? ' is-tight' : ''}`, y: one.dy, dy: '0.35em' });
        text(line, one.words);
      });
      const told = facts(snapshot, kind, width);
      const spots = factSpots(places.get(name), told.length);
      keyed(group.children[7], told.map((fact, place) => ({ ...fact, ...spots[place] })), ({ key }) => key,
        () => svg('text', {}), (line, one) => {
          set(line, { x: one.x, y: one.y, 'text-anchor': one.anchor, class: 'fact' });
          text(line, one.words);
        });
    });
  }

  function makeNode() {
    return button(svg('g', {}, svg('title', {}), svg('path', { class: 'halo' }), svg('circle', {}), svg('path', { class: 'body' }),
      svg('path', { class: 'inner' }), svg('path', { class: 'crown' }), svg('g', { class: 'words' }), svg('g', { class: 'facts' })));
  }

  /* The delivered message moves once along its arrow. */
  function animate({ drawn }, at) {
    sparks.replaceChildren();
    if (still()) return;
    for (const { message, curve } of drawn) {
      if (!message.isDelivering) continue;
      const spark = svg('circle', { r: 6, class: `spark is-${family(message.message)}` });
      spark.style.offsetPath = `path("${curve.d}")`;
      spark.style.offsetRotate = '0deg';
      sparks.append(spark);
      const run = spark.animate([{ offsetDistance: '0%' }, { offsetDistance: '100%' }], { duration: 380, easing: 'ease-in-out' });
      run.onfinish = () => spark.remove();
    }
  }

  return {
    /** The SVG element, for exports. */
    picture,
    update(next) {
      const moved = next.at.n !== lastStep && next.animate !== false;
      if (next.at.n !== lastStep) { opened = null; list.hidden = true; }
      lastStep = next.at.n;
      view = next;
      draw(moved);
    },
    destroy() { sheet.stop(); box.remove(); },
  };
}

function messageAbout(message) {
  const marks = [message.isNew && t('stage.message-new'), message.isDelivering && t('stage.message-delivered'), message.isDropping && t('stage.message-dropped')];
  return [t('stage.message-about', { id: message.id, from: the(message.from), to: the(message.to), message: sentence(message.message) }), ...marks.filter(Boolean)].join('; ');
}

const hasTimer = (snapshot) => snapshot?.kind === 'server' && !isDown(snapshot) && roleOf(snapshot) !== 'leader';

function nodeAbout(name, snapshot) {
  const kind = splitName(name).kind;
  if (kind !== 'server') return t('stage.process-about', { who: who(name), facts: facts(snapshot, kind, 999).map((fact) => fact.words).join(', ') });
  const log = logOf(snapshot);
  if (isDown(snapshot)) return t('stage.down-about', { who: the(name), term: termOf(snapshot), last: log.last });
  const none = t('stage.none');
  const running = snapshot.running ?? {};
  return t('stage.server-about', {
    who: who(name), role: role(roleOf(snapshot)), term: termOf(snapshot), vote: running.voted_for ?? none, leader: running.leader ?? none,
    commit: log.commit, last: log.last,
  });
}

/** The fact lines beside a process. */
function facts(snapshot, kind, width) {
  const id = (held) => (held === null || held === undefined ? '–' : t('stage.server-short', { id: held }));
  if (kind === 'proxy') {
    return [{ key: 'believes', words: t('stage.fact-believes', { leader: id(snapshot.leader) }) },
      { key: 'flight', words: t('stage.fact-in-flight', { n: snapshot.in_flight ?? 0 }) }];
  }
  if (kind === 'client') {
    const open = snapshot.idle ? t('stage.idle') : t('stage.waiting');
    const told = [{ key: 'open', words: `${open} · ${t('stage.fact-done', { n: snapshot.invoked ?? 0 })}` }];
    if (snapshot.operation) told.push({ key: 'operation', words: words(snapshot.operation) });
    else if (snapshot.session) told.push({ key: 'session', words: t('stage.fact-session', { id: snapshot.session }) });
    return told;
  }
  const log = logOf(snapshot);
  if (isDown(snapshot)) return [{ key: 'down', words: t('stage.fact-down', { term: termOf(snapshot), last: log.last }) }];
  const running = snapshot.running ?? {};
  const told = [
    { key: 'vote', words: t('stage.fact-vote', { vote: id(running.voted_for) }) },
    ...(width >= 520 ? [{ key: 'commit', words: t('stage.fact-commit', { commit: log.commit, last: log.last }) }] : [
      { key: 'commit', words: t('stage.fact-commit-alone', { commit: log.commit }) },
      log.last !== log.commit && { key: 'last', words: t('stage.fact-last', { last: log.last }) },
    ].filter(Boolean)),
  ];
  if (running.role?.endsWith('candidate')) told.push({ key: 'votes', words: t('stage.fact-votes', { votes: (running.votes ?? []).map(id).join(' ') || '–' }) });
  else if (running.role !== 'leader' && width >= 520) told.push({ key: 'leader', words: t('stage.fact-leader', { leader: id(running.leader) }) });
  if (running.unsynced?.length && width >= 500) told.push({ key: 'unsynced', words: t('stage.fact-unsynced', { n: running.unsynced.length }) });
  return told;
}

/**
 * 'term 17', in smaller letters or as 't17' where that does not fit in a circle of radius `r` at the
 * distance `dy` from its center. For a leader that is the circle inside its inner line, for a candidate
 * one inside its hexagon.
 */
function termLine(term, r, dy) {
  const words = t('stage.term', { term });
  const room = 2 * Math.sqrt(Math.max(0, r ** 2 - (dy + 4) ** 2)) - 3;
  const [wide, narrow] = [7.3, 6.1].map((letter) => letter * words.length);
  if (narrow > room) return { words: t('stage.term-short', { term }), cls: 'termline', dy };
  return { words, cls: 'termline', dy, isTight: wide > room };
}

/** A process in the form that the layout requires. */
function item(name, snapshot, width) {
  const { kind } = splitName(name);
  return { name, kind, facts: facts(snapshot, kind, width).map(({ words: told }) => told), crown: kind === 'server' && roleOf(snapshot) === 'leader' };
}

/*
 * Shapes: followers and leaders are circles, a leader with a second line and a crown; a candidate is a
 * hexagon; a crashed server is dashed and crossed out; proxies and clients are boxes.
 */
function shape(roleName, r) {
  if (roleName === 'candidate' || roleName === 'pre-candidate') {
    const corner = (i) => `${(r * 1.08 * Math.cos((Math.PI / 3) * i)).toFixed(1)} ${(r * 1.08 * Math.sin((Math.PI / 3) * i)).toFixed(1)}`;
    return `M${[0, 1, 2, 3, 4, 5].map(corner).join('L')}z`;
  }
  if (roleName === 'client' || roleName === 'proxy') {
    const w = r + 4;
    const hgt = 16 + (r > 44 ? 6 : 0);
    const c = roleName === 'client' ? 14 : 4;
    return `M${-w + c} ${-hgt}H${w - c}q${c} 0 ${c} ${c}V${hgt - c}q0 ${c} ${-c} ${c}H${-w + c}q${-c} 0 ${-c} ${-c}V${-hgt + c}q0 ${-c} ${c} ${-c}z`;
  }
  return `M0 ${-r}A${r} ${r} 0 1 1 -0.01 ${-r}z`;
}

const crownAt = (r) => `M-13 ${-r - 3}l-3 -14 8.5 6 7.5 -10 7.5 10 8.5 -6 -3 14z`;
const cross = (r) => { const d = r * 0.62; return `M${-d} ${-d}L${d} ${d}M${-d} ${d}L${d} ${-d}`; };

/* Arrows between the same two processes fan out; a count stands for those beyond the third. */
function route(messages, { places, boxes }, { width, height }, selected) {
  const pairs = new Map();
  for (const message of messages) {
    if (!places.has(message.from) || !places.has(message.to)) continue;
    const pair = `${message.from}>${message.to}`;
    if (!pairs.has(pair)) pairs.set(pair, []);
    pairs.get(pair).push(message);
  }
  const crowded = width < 520 || messages.length > 10 || places.size > 4;
  const drawn = [];
  const stacks = [];
  const nodes = [...places.values()];
  const used = new Map();
  for (const [pair, all] of pairs) {
    // By priority: the selected message, the messages of the current step, then the latest.
    const weight = (message) => (message.id === selected?.message ? 4 : 0) + (message.isDelivering || message.isDropping ? 2 : 0) + (message.isNew ? 1 : 0);
    const latest = all.length > 40 ? [...all.slice(0, -40).filter(weight), ...all.slice(-40)] : [...all];
    const sorted = latest.sort((one, other) => weight(other) - weight(one) || other.id - one.id);
    const fan = all.length > FAN ? FAN - 1 : FAN;
    const some = sorted.slice(0, fan).sort((one, other) => one.id - other.id);
    const [from, to] = [places.get(all[0].from), places.get(all[0].to)];
    const line = (i) => connect(from, to, { bend: 16 + 30 * i, nodes, boxes, used, width, height });
    some.forEach((message, i) => {
      const mark = messageMark(message);
      const words = mark + (crowded ? short(message.message) : label(message.message));
      const spare = mark || '•';
      drawn.push({ message, weight: weight(message), curve: line(i), words, w: labelWidth(words), spare: { words: spare, w: labelWidth(spare) } });
    });
    if (all.length > some.length) {
      const count = all.length - some.length;
      const words = t('stage.more', { n: count });
      stacks.push({ pair, from: all[0].from, to: all[0].to, count, messages: all.filter((message) => !some.includes(message)), curve: line(some.length), words, w: labelWidth(words) });
    }
  }
  const labels = [...drawn, ...stacks].sort((one, other) => (other.weight ?? 0) - (one.weight ?? 0));
  settle(labels, { nodes, boxes, width, height });
  return { drawn, stacks };
}

const labelWidth = (words) => 12 + 6.65 * words.length;

const messageMark = (message) => (message.isDropping ? '✕ ' : '');
