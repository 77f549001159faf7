// The stage: every process, and the messages in flight between them, at one step of a timeline.
//
//   const stage = Stage(host, {onPickMessage(id), onPickProcess(name)});
//   stage.update({at: timeline.at(n), selected: {message: 3} | {process: 'server 2'} | null,
//                 accused: {servers: ['server 1'], index: 2} | null, animate: true,
//                 actions: [{words, run, disabled, why, cls}]});   // offered beside a picked message
//
// Servers stand on a ring, clients and proxies below it. A server's shape and word say its role, its
// colour its term, always with the number. A message is an arrow with a label on it; between the same
// two they fan out, up to three, and the rest is a count that opens a list. Messages of the step
// shown are marked: new, delivered, lost. Everything that can be picked is a button to the keyboard.
//
// The drawing is in pixels of the host, so that letters have the same size at every width.

import { family, initial, label, role, sentence, short, text as words, who } from './describe.js';
import { drawing, h, keyed, replace, set, still, svg, text } from './dom.js';
import { t } from './i18n.js';
import { isDown, logOf, roleOf, splitName, termOf } from './timeline.js';

const FAN = 3;

export function Stage(host, { onPickMessage = () => {}, onPickProcess = () => {} } = {}) {
  const arrows = svg('g', { class: 'arrows' });
  const nodes = svg('g', { class: 'nodes' });
  const labels = svg('g', { class: 'labels' });
  const sparks = svg('g', { class: 'sparks', 'aria-hidden': 'true' });
  const defs = svg('defs', {}, ['vote', 'append', 'client'].map((name) => svg('marker', {
    id: `head-${name}`, viewBox: '0 0 10 10', refX: 8.5, refY: 5, markerWidth: 9, markerHeight: 9, markerUnits: 'userSpaceOnUse', orient: 'auto-start-reverse',
  }, svg('path', { d: 'M0 0 10 5 0 10 2.5 5z', class: `head is-${name}` }))));
  const picture = svg('svg', { class: 'stage-picture', role: 'group', 'aria-label': t('stage.title') }, defs, arrows, nodes, labels, sparks);
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
    const places = place(names, width, height, widestFact(names, at, width));
    const routes = route(at.inFlight, places, width, selected, factBoxes(names, places, at, width));
    drawArrows(routes, selected);
    drawNodes(names, places, at, selected, accused, width);
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
      (path, { message, curve }) => set(path, { class: state(message), d: curve.d, 'marker-end': `url(#head-${family(message.message)})` }));
    const all = [...drawn.map((one) => ({ ...one, key: `m${one.message.id}` })), ...stacks.map((one) => ({ ...one, key: `s${one.pair}` }))];
    keyed(labels, all, ({ key }) => key, makeLabel, (group, one) => {
      const about = one.message ? messageAbout(one.message) : t('stage.more-about', { n: one.count, from: who(one.from), to: who(one.to) });
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

  /** What can be done with the picked message, beside it. */
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
      const { x, y, r, side } = places.get(name);
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
        ? [{ words: initial(name), cls: 'name', dy: small ? -11 : -13 }, { words: role(roleName), cls: 'role', dy: small ? 3 : 4 },
          { words: t('stage.term', { term: termOf(snapshot) }), cls: 'termline', dy: small ? 16 : 20 }].map((line) => ({ ...line, isTight: line.words.length > r / 4 }))
        : [{ words: who(name), cls: 'name plain', dy: 0 }];
      keyed(words, lines, ({ cls }) => cls, () => svg('text', { 'text-anchor': 'middle' }), (line, one) => {
        set(line, { class: `${one.cls}${one.isTight ? ' is-tight' : ''}`, y: one.dy, dy: '0.35em' });
        text(line, one.words);
      });
      const told = facts(snapshot, kind, width);
      const spots = factSpots(side, kind === 'server' ? r : 15, told.length);
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

  /* What the step delivers travels once along its arrow. */
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
    /** The SVG element, for those who export it. */
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
  return [t('stage.message-about', { id: message.id, from: who(message.from), to: who(message.to), message: sentence(message.message) }), ...marks.filter(Boolean)].join('; ');
}

const hasTimer = (snapshot) => snapshot?.kind === 'server' && !isDown(snapshot) && roleOf(snapshot) !== 'leader';

function nodeAbout(name, snapshot) {
  const kind = splitName(name).kind;
  if (kind !== 'server') return t('stage.process-about', { who: who(name), facts: facts(snapshot, kind, 999).map((fact) => fact.words).join(', ') });
  const log = logOf(snapshot);
  if (isDown(snapshot)) return t('stage.down-about', { who: who(name), term: termOf(snapshot), n: log.log.length });
  const none = t('stage.none');
  const running = snapshot.running ?? {};
  return t('stage.server-about', {
    who: who(name), role: role(roleOf(snapshot)), term: termOf(snapshot), vote: running.voted_for ?? none, leader: running.leader ?? none,
    commit: log.commit, last: log.last,
  });
}

/** The small print beside a process. */
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
  if (isDown(snapshot)) return [{ key: 'down', words: t('stage.fact-down', { term: termOf(snapshot), n: log.log.length }) }];
  const running = snapshot.running ?? {};
  const told = [
    { key: 'vote', words: t('stage.fact-vote', { vote: id(running.voted_for) }) },
    { key: 'commit', words: t('stage.fact-commit', { commit: log.commit, last: log.last }) },
  ];
  if (running.role?.endsWith('candidate')) told.push({ key: 'votes', words: t('stage.fact-votes', { votes: (running.votes ?? []).map(id).join(' ') || '–' }) });
  else if (running.role !== 'leader' && width >= 520) told.push({ key: 'leader', words: t('stage.fact-leader', { leader: id(running.leader) }) });
  if (running.unsynced?.length && width >= 500) told.push({ key: 'unsynced', words: t('stage.fact-unsynced', { n: running.unsynced.length }) });
  return told;
}

/* Where everything stands. */

function place(names, width, height, widest) {
  const servers = names.filter((name) => splitName(name).kind === 'server');
  const clients = names.filter((name) => splitName(name).kind === 'client');
  const proxies = names.filter((name) => !servers.includes(name) && !clients.includes(name));
  const narrow = width < 520;
  const others = clients.length + proxies.length;
  // Clients and proxies stand in a column beside the ring where there is room, else in a row below.
  const column = others > 0 && width >= 600 && height < 560;
  const row = others > 0 && !column ? 78 : 0;
  const left = column ? 128 : 0;
  const r = narrow ? 33 : servers.length > 4 && height - row < 480 ? 37 : 42;
  const places = new Map();
  const above = narrow ? 36 : 34;
  const below = narrow || row ? 54 : 40;
  const ringHeight = height - row;
  const ry = Math.max(60, (ringHeight - above - below) / 2 - r);
  // Beside a server stands its small print, below it in a narrow picture: long numbers need room.
  const beside = narrow ? Math.max(14, widest / 2 - r + 4) : Math.max(column ? 84 : 104, widest + 20);
  const rx = Math.min((width - left) / 2 - r - beside, Math.max(ry * 1.9, 210));
  const cx = left + (width - left) / 2;
  // With an odd number the lowest stand a little above the ring's foot: use the room.
  const lowest = Math.max(...servers.map((_, i) => Math.sin(angle(i, servers.length))), 0);
  const stretch = servers.length > 1 ? 2 / (1 + lowest) : 1;
  const cy = servers.length > 1 ? above + r + ry * stretch : above + r + ry;
  servers.forEach((name, i) => {
    const a = angle(i, servers.length);
    const x = cx + rx * Math.cos(a);
    const y = cy + ry * stretch * Math.sin(a);
    const cos = Math.cos(a);
    let side = Math.sin(a) < -0.3 ? 'above' : 'below';
    if (!narrow && Math.abs(cos) > 0.4) side = cos > 0 ? 'right' : 'left';
    // No arrow comes to the topmost from beside: its small print stands there, and may push it.
    if (i === 0) side = 'top';
    const room = i === 0 ? width - (r + 12 + widest) : width;
    places.set(name, { x: Math.min(x, room), y, r, side, kind: 'server' });
  });
  const half = Math.ceil(clients.length / 2);
  const line = [...clients.slice(0, half), ...proxies, ...clients.slice(half)];
  const gap = (column ? height : width) / (line.length || 1);
  line.forEach((name, i) => {
    if (column) places.set(name, { x: 62, y: gap * (i + 0.5) - 12, r: 40, side: 'below', kind: 'box' });
    else places.set(name, { x: gap * (i + 0.5), y: height - 54, r: narrow ? 34 : 40, side: 'below', kind: 'box' });
  });
  return places;
}

const angle = (i, n) => -Math.PI / 2 + (2 * Math.PI * i) / n;

function factSpots(side, r, count) {
  const step = 14;
  const spots = [];
  for (let i = 0; i < count; i += 1) {
    if (side === 'top') spots.push({ x: r + 12, y: (i - count) * step + 8, anchor: 'start' });
    else if (side === 'above') spots.push({ x: 0, y: -r - 15 - (count - 1 - i) * step, anchor: 'middle' });
    else if (side === 'below') spots.push({ x: 0, y: r + 19 + i * step, anchor: 'middle' });
    else {
      const x = (r + 16) * (side === 'right' ? 1 : -1);
      spots.push({ x, y: (i - (count - 1) / 2) * step + 4, anchor: side === 'right' ? 'start' : 'end' });
    }
  }
  return spots;
}

let ruler = null;
/* How wide a line of small print is (.stage text in components.css). */
function wordsWidth(words) {
  if (!ruler) {
    ruler = document.createElement('canvas').getContext('2d');
    ruler.font = `12px ${getComputedStyle(document.documentElement).getPropertyValue('--font')}`;
  }
  return ruler.measureText(words).width;
}

function widestFact(names, at, width) {
  const all = names.filter((name) => splitName(name).kind === 'server').flatMap((name) => facts(at.processes[name], 'server', width));
  return Math.max(0, ...all.map((fact) => wordsWidth(fact.words)));
}

/* The room that the small print takes, so that labels leave it alone. */
function factBoxes(names, places, at, width) {
  return names.map((name) => {
    const { x, y, r, side, kind } = places.get(name);
    const told = facts(at.processes[name], splitName(name).kind, width);
    const spots = factSpots(side, kind === 'box' ? 15 : r, told.length);
    const w = Math.max(wordsWidth(' '), ...told.map((fact) => wordsWidth(fact.words)));
    const aside = { start: w / 2, end: -w / 2, middle: 0 }[spots[0]?.anchor ?? 'middle'];
    const ys = spots.map((spot) => spot.y);
    return { x: x + (spots[0]?.x ?? 0) + aside, y: y + (Math.min(...ys) + Math.max(...ys)) / 2 - 4, w, h: told.length * 14 };
  });
}

/* Shapes: a follower is round, a leader too, with a second line and a crown; a candidate has six
   corners; one that is down is broken off and crossed out; proxies and clients are boxes. */
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

/* Arrows between the same two fan out; their labels look for a free place along them. */
function route(messages, places, width, selected, boxes) {
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
  for (const [pair, all] of pairs) {
    // What matters most is drawn: the picked one, those of this step, then the latest.
    const weight = (message) => (message.id === selected?.message ? 4 : 0) + (message.isDelivering || message.isDropping ? 2 : 0) + (message.isNew ? 1 : 0);
    const latest = all.length > 40 ? [...all.slice(0, -40).filter(weight), ...all.slice(-40)] : [...all];
    const sorted = latest.sort((one, other) => weight(other) - weight(one) || other.id - one.id);
    const fan = all.length > FAN ? FAN - 1 : FAN;
    const some = sorted.slice(0, fan).sort((one, other) => one.id - other.id);
    const [from, to] = [places.get(all[0].from), places.get(all[0].to)];
    some.forEach((message, i) => {
      const words = crowded ? short(message.message) : label(message.message);
      drawn.push({ message, curve: curve(from, to, i), words: messageMark(message) + words, w: 12 + 6.65 * (words.length + messageMark(message).length) });
    });
    if (all.length > some.length) {
      const count = all.length - some.length;
      const words = t('stage.more', { n: count });
      stacks.push({ pair, from: all[0].from, to: all[0].to, count, messages: all.filter((message) => !some.includes(message)), curve: curve(from, to, some.length), words, w: 14 + 7 * words.length });
    }
  }
  spread([...drawn, ...stacks], places, width, boxes);
  return { drawn, stacks };
}

const messageMark = (message) => (message.isDropping ? '✕ ' : '');

function curve(from, to, i) {
  const dx = to.x - from.x;
  const dy = to.y - from.y;
  const far = Math.hypot(dx, dy) || 1;
  const bend = 16 + 30 * i;
  // To the left of the way, so that the two directions never lie on each other.
  const nx = dy / far;
  const ny = -dx / far;
  const c = { x: (from.x + to.x) / 2 + nx * bend * 2 * 0.9, y: (from.y + to.y) / 2 + ny * bend * 2 * 0.9 };
  const a = edge(from, c, i);
  const b = edge(to, c, i, 7);
  const point = (s) => ({
    x: (1 - s) ** 2 * a.x + 2 * s * (1 - s) * c.x + s * s * b.x,
    y: (1 - s) ** 2 * a.y + 2 * s * (1 - s) * c.y + s * s * b.y,
  });
  const f = (number) => number.toFixed(1);
  return { d: `M${f(a.x)} ${f(a.y)}Q${f(c.x)} ${f(c.y)} ${f(b.x)} ${f(b.y)}`, point };
}

function edge(node, towards, i, away = 2) {
  const dx = towards.x - node.x;
  const dy = towards.y - node.y;
  const far = Math.hypot(dx, dy) || 1;
  let reach = node.r + 7 + away;
  if (node.kind === 'box') reach = Math.min((node.r + 4) / Math.abs(dx / far || 1e-6), 16 / Math.abs(dy / far || 1e-6)) + 3 + away;
  return { x: node.x + (dx / far) * reach, y: node.y + (dy / far) * reach };
}

function spread(all, places, width, boxes) {
  const taken = [...places.values()].map(({ x, y, r, kind }) => (kind === 'box' ? { x, y, w: r * 2 + 8, h: 34 } : { x, y, w: r * 2, h: r * 2 }));
  taken.push(...boxes);
  const tries = [0.42, 0.5, 0.34, 0.58, 0.27, 0.66, 0.22, 0.74];
  for (const one of all) {
    let best = null;
    for (const s of tries) {
      const { x: px, y } = one.curve.point(s);
      const x = Math.max(one.w / 2 + 2, Math.min(width - one.w / 2 - 2, px));
      let cost = Math.abs(s - 0.42) * 40;
      for (const other of taken) {
        const across = (one.w + other.w) / 2 + 3 - Math.abs(x - other.x);
        const down = (20 + other.h) / 2 + 2 - Math.abs(y - other.y);
        if (across > 0 && down > 0) cost += across * down;
      }
      if (!best || cost < best.cost) best = { x, y, cost };
    }
    one.x = best.x;
    one.y = best.y;
    taken.push({ x: best.x, y: best.y, w: one.w, h: 20 });
  }
}
