// The processes of the stage: a shape for each role, with its name, its term and its fact lines.
//
//   const items = itemsOf(names, at, width);           // for `arrange` of layout.js
//   const processes = Processes({onPick(name)});
//   processes.draw({names, at, selected, accused, places, width});
//
// Followers and leaders are circles, a leader with a second line and a crown; a candidate is a hexagon; a
// crashed server is dashed and crossed out; proxies and clients are boxes.

import { initial, role, text as words, the, transferWords, who } from '../describe.js';
import { keyed, set, svg, svgButton, text } from '../dom.js';
import { t } from '../i18n.js';
import { isDown, logOf, roleOf, splitName, termOf } from '../timeline.js';
import { factSpots } from './layout.js';

/** @typedef {ReturnType<typeof viewOf>} View */

/** @param {{onPick: (name: string) => void}} options */
export function Processes({ onPick }) {
  const group = svg('g', { class: 'nodes' });

  /**
   * @param {{
   *   names: string[], at: Picture, selected: Picked | null, accused: string[],
   *   places: Map<string, Spot>, width: number,
   * }} view
   */
  function draw({ names, at, selected, accused, places, width }) {
    keyed(
      group,
      names,
      (name) => name,
      makeProcess,
      (element, name) => {
        const view = viewOf(at, name);
        const spot = /** @type {Spot} */ (places.get(name));
        const isPicked = selected?.process === name;
        set(element, {
          class: classesOf(view, isPicked, accused.includes(name)),
          transform: `translate(${spot.x.toFixed(1)} ${spot.y.toFixed(1)})`,
          'aria-label': aboutOf(view),
          'aria-pressed': String(isPicked),
        });
        element.pick = () => onPick(name);
        drawShape(element, view, spot.r);
        drawWords(element.children[6], view, spot.r);
        drawFacts(element.children[7], view, spot, width);
      },
    );
  }

  return { group, draw };
}

/**
 * The processes in the form that the layout requires.
 * @param {string[]} names
 * @param {Picture} at
 * @param {number} width
 */
export function itemsOf(names, at, width) {
  return names.map((name) => {
    const snapshot = /** @type {Snapshot} */ (at.processes[name]);
    const { kind } = splitName(name);
    const lines = facts(snapshot, kind, width).map((fact) => fact.words);
    const crown = kind === 'server' && roleOf(snapshot) === 'leader';
    return { name, kind, facts: lines, crown };
  });
}

/**
 * @param {Picture} at
 * @param {string} name
 */
function viewOf(at, name) {
  const snapshot = /** @type {Snapshot} */ (at.processes[name]);
  const { kind } = splitName(name);
  return {
    name,
    snapshot,
    kind,
    role: kind === 'server' ? roleOf(snapshot) : kind,
    isChanged: at.changed.has(name),
    isActing: at.step?.process === name,
  };
}

function makeProcess() {
  return svgButton(
    svg('title', {}),
    svg('path', { class: 'halo' }),
    svg('circle', {}),
    svg('path', { class: 'body' }),
    svg('path', { class: 'inner' }),
    svg('path', { class: 'crown' }),
    svg('g', { class: 'words' }),
    svg('g', { class: 'facts' }),
  );
}

/**
 * @param {View} view
 * @param {boolean} isPicked
 * @param {boolean} isAccused
 */
function classesOf({ kind, role: name, snapshot, isChanged, isActing }, isPicked, isAccused) {
  const classes = [
    'process',
    `is-${kind}`,
    `is-${name}`,
    isChanged && 'is-changed',
    isActing && 'is-acting',
    isPicked && 'is-picked',
    isAccused && 'is-accused',
    kind === 'server' && `term-${termOf(snapshot) % 8}`,
  ];
  return classes.filter(Boolean).join(' ');
}

/**
 * @param {PageElement} element
 * @param {View} view
 * @param {number} r
 */
function drawShape(element, view, r) {
  const [title, halo, timer, body, inner, crown] = element.children;
  const { role: name, snapshot } = view;
  const isArmed = hasTimer(snapshot);
  text(title, aboutOf(view) + (isArmed ? `. ${t('stage.timer')}` : ''));
  set(halo, { d: shape(name, r + 9) });
  set(timer, { r: r + 4.5, class: `timer${isArmed ? ' is-armed' : ''}` });
  set(body, { d: shape(name, r) });
  const line = name === 'leader' ? shape(name, r - 4) : '';
  set(inner, { d: name === 'down' ? cross(r) : line });
  set(crown, { d: name === 'leader' ? crownAt(r) : '' });
}

/**
 * The distance between the shape of a role and the line inside it.
 * @type {Record<string, number>}
 */
const INSET = { leader: 5, candidate: 3, 'pre-candidate': 3 };

/**
 * @param {PageElement} element
 * @param {View} view
 * @param {number} r
 */
function drawWords(element, { name, kind, role: roleName, snapshot }, r) {
  const isSmall = r < 38;
  const lines =
    kind === 'server'
      ? [
          { words: initial(name), cls: 'name', dy: isSmall ? -11 : -13 },
          {
            words: role(roleName),
            cls: 'role',
            dy: isSmall ? 3 : 4,
            isTight: role(roleName).length > r / 4,
          },
          termLine(termOf(snapshot), r - (INSET[roleName] ?? 0), isSmall ? 16 : 19),
        ]
      : [{ words: who(name), cls: 'name plain', dy: 0 }];
  const make = () => svg('text', { 'text-anchor': 'middle' });
  keyed(
    element,
    lines,
    ({ cls }) => cls,
    make,
    (line, one) => {
      set(line, { class: `${one.cls}${one.isTight ? ' is-tight' : ''}`, y: one.dy, dy: '0.35em' });
      text(line, one.words);
    },
  );
}

/**
 * @param {PageElement} element
 * @param {View} view
 * @param {Spot} place
 * @param {number} width
 */
function drawFacts(element, { snapshot, kind }, place, width) {
  const lines = facts(snapshot, kind, width);
  const spots = factSpots(place, lines.length);
  const placed = lines.map((fact, i) => ({ ...fact, ...spots[i] }));
  keyed(
    element,
    placed,
    ({ key }) => key,
    () => svg('text', {}),
    (line, one) => {
      set(line, { x: one.x, y: one.y, 'text-anchor': one.anchor, class: 'fact' });
      text(line, one.words);
    },
  );
}

/** @param {Snapshot} snapshot */
const hasTimer = (snapshot) =>
  snapshot?.kind === 'server' &&
  !isDown(snapshot) &&
  // A leader arms it for the time of a leadership transfer.
  (roleOf(snapshot) !== 'leader' || Boolean(snapshot.running?.transfer));

/** @param {View} view */
function aboutOf(view) {
  const { name, snapshot, kind, isChanged } = view;
  return processAbout(name, snapshot, kind) + (isChanged ? `; ${t('stage.changed')}` : '');
}

/**
 * @param {string} name
 * @param {Snapshot} snapshot
 * @param {string} kind
 */
function processAbout(name, snapshot, kind) {
  if (kind !== 'server') {
    const all = facts(snapshot, kind, 999).map((fact) => fact.words);
    return t('stage.process-about', { who: who(name), facts: all.join(', ') });
  }
  const log = logOf(snapshot);
  if (isDown(snapshot)) {
    return t('stage.down-about', { who: the(name), term: termOf(snapshot), last: log.last });
  }
  const none = t('stage.none');
  /** @type {Partial<Running>} */
  const running = snapshot.running ?? {};
  const about = t('stage.server-about', {
    who: who(name),
    role: role(roleOf(snapshot)),
    term: termOf(snapshot),
    vote: running.voted_for ?? none,
    leader: running.leader ?? none,
    commit: log.commit,
    last: log.last,
  });
  const transfer = running.transfer && transferWords(running.transfer);
  return transfer ? `${about}, ${t('stage.transfer-about', { transfer })}` : about;
}

/* Fact lines: `{key, words}`. */

/** @param {number | null | undefined} held */
const id = (held) =>
  held === null || held === undefined ? '–' : t('stage.server-short', { id: held });

/**
 * @param {Snapshot} snapshot
 * @param {string} kind
 * @param {number} width
 */
function facts(snapshot, kind, width) {
  if (kind === 'proxy') return proxyFacts(snapshot);
  return kind === 'client' ? clientFacts(snapshot) : serverFacts(snapshot, width);
}

/** @param {Snapshot} snapshot */
function proxyFacts({ leader, in_flight: inFlight }) {
  return [
    { key: 'believes', words: t('stage.fact-believes', { leader: id(leader) }) },
    { key: 'flight', words: t('stage.fact-in-flight', { n: inFlight ?? 0 }) },
  ];
}

/** @param {Snapshot} snapshot */
function clientFacts({ idle, invoked, operation, session }) {
  const open = idle ? t('stage.idle') : t('stage.waiting');
  const found = [{ key: 'open', words: `${open} · ${t('stage.fact-done', { n: invoked ?? 0 })}` }];
  if (operation) found.push({ key: 'operation', words: words(operation) });
  else if (session) found.push({ key: 'session', words: t('stage.fact-session', { id: session }) });
  return found;
}

/**
 * @param {Snapshot} snapshot
 * @param {number} width
 */
function serverFacts(snapshot, width) {
  const { commit, last } = logOf(snapshot);
  if (isDown(snapshot)) {
    return [{ key: 'down', words: t('stage.fact-down', { term: termOf(snapshot), last }) }];
  }
  /** @type {Partial<Running>} */
  const running = snapshot.running ?? {};
  const isWide = width >= 520;
  const found = [];
  /**
   * @param {string} key
   * @param {Record<string, any>} params
   */
  const add = (key, params) => found.push({ key, words: t(`stage.fact-${key}`, params) });
  add('vote', { vote: id(running.voted_for) });
  if (isWide) {
    add('commit', { commit, last });
  } else {
    found.push({ key: 'commit', words: t('stage.fact-commit-alone', { commit }) });
    if (last !== commit) add('last', { last });
  }
  if (running.role?.endsWith('candidate')) {
    add('votes', { votes: (running.votes ?? []).map(id).join(' ') || '–' });
  } else if (running.role !== 'leader' && isWide) {
    add('leader', { leader: id(running.leader) });
  }
  if (running.transfer) {
    const { target, is_requested: isSent } = running.transfer;
    add(isSent ? 'transfer-sent' : 'transfer-waiting', { target: id(target) });
  }
  const unsynced = running.unsynced?.length;
  if (unsynced && width >= 500) add('unsynced', { n: unsynced });
  return found;
}

/**
 * 'term 17', in smaller letters or as 't17' where that does not fit in a circle of radius `r` at the
 * distance `dy` from its center. For a leader that is the circle inside its inner line, for a candidate
 * one inside its hexagon.
 * @param {number} term
 * @param {number} r
 * @param {number} dy
 */
function termLine(term, r, dy) {
  const long = t('stage.term', { term });
  const room = 2 * Math.sqrt(Math.max(0, r ** 2 - (dy + 4) ** 2)) - 3;
  const [wide, narrow] = [7.3, 6.1].map((letter) => letter * long.length);
  if (narrow > room) return { words: t('stage.term-short', { term }), cls: 'termline', dy };
  return { words: long, cls: 'termline', dy, isTight: wide > room };
}

/* Shapes. */

/**
 * @param {string} name
 * @param {number} r
 */
function shape(name, r) {
  if (name === 'candidate' || name === 'pre-candidate') {
    /** @param {number} i */
    const corner = (i) => {
      const [x, y] = [Math.cos((Math.PI / 3) * i), Math.sin((Math.PI / 3) * i)];
      return `${(r * 1.08 * x).toFixed(1)} ${(r * 1.08 * y).toFixed(1)}`;
    };
    return `M${[0, 1, 2, 3, 4, 5].map(corner).join('L')}z`;
  }
  if (name === 'client' || name === 'proxy') {
    const w = r + 4;
    const y = 16 + (r > 44 ? 6 : 0);
    const c = name === 'client' ? 14 : 4;
    const right = `H${w - c}q${c} 0 ${c} ${c}V${y - c}q0 ${c} ${-c} ${c}`;
    const left = `H${-w + c}q${-c} 0 ${-c} ${-c}V${-y + c}q0 ${-c} ${c} ${-c}`;
    return `M${-w + c} ${-y}${right}${left}z`;
  }
  return `M0 ${-r}A${r} ${r} 0 1 1 -0.01 ${-r}z`;
}

/** @param {number} r */
const crownAt = (r) => `M-13 ${-r - 3}l-3 -14 8.5 6 7.5 -10 7.5 10 8.5 -6 -3 14z`;

/** @param {number} r */
function cross(r) {
  const d = r * 0.62;
  return `M${-d} ${-d}L${d} ${d}M${-d} ${d}L${d} ${-d}`;
}
