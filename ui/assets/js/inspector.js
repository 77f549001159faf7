// All details of the selection: a process, with the changes of the last step marked, or a message.
//
//   const inspector = Inspector(host, {onGoto(step), onPickProcess(name)});
//   inspector.update({timeline, at: timeline.at(n), selected: {process} | {message} | null,
//                     actions: [{words, run, disabled, why, cls}]});
//
// `actions` are buttons for the selection. Without a selection the inspector shows the process of the
// current step.

import { entry, family, initial, label, role, sentence, text as words, who } from './describe.js';
import { h, replace } from './dom.js';
import { t } from './i18n.js';
import { diskBase, isDown, logOf, roleOf, splitName, termOf } from './timeline.js';

/**
 * @param {HTMLElement} host
 * @param {{onGoto?: (step: number) => void, onPickProcess?: (name: string) => void}} [options]
 */
export function Inspector(host, { onGoto = () => {}, onPickProcess = () => {} } = {}) {
  const box = h('div', { class: 'inspector' });
  host.append(box);

  /** @param {RunView} view */
  function draw({ timeline, at, selected, actions = [] }) {
    const message = selected?.message ? timeline.message(selected.message, at.n) : null;
    if (message) {
      replace(box, ofMessage(message, timeline, actions));
      return;
    }
    const name = selected?.process ?? at.step?.process ?? at.names[0];
    const snapshot = at.processes[name];
    if (!snapshot) {
      replace(box, h('p', { class: 'dim' }, t('stage.nothing')));
      return;
    }
    const before = at.step?.process === name ? at.before : null;
    replace(box, picker(at, name), ofProcess(name, snapshot, before), buttons(actions));
  }

  /**
   * @param {Picture} at
   * @param {string} name
   */
  function picker(at, name) {
    return h(
      'div',
      { class: 'row insp-picker', role: 'group', 'aria-label': t('stage.insp-which') },
      at.names.map((one) =>
        h(
          'button',
          {
            type: 'button',
            'aria-pressed': String(one === name),
            'aria-label': who(one),
            onclick: () => onPickProcess(one),
          },
          initial(one),
        ),
      ),
    );
  }

  /** @param {Offer[]} actions */
  const buttons = (actions) =>
    actions.length > 0 &&
    h(
      'div',
      { class: 'insp-actions' },
      actions.map((one) =>
        h(
          'button',
          {
            type: 'button',
            class: one.cls ?? '',
            disabled: one.disabled,
            title: one.why ?? null,
            onclick: one.run,
          },
          one.words,
          one.disabled && one.why && h('span', { class: 'small' }, one.why),
        ),
      ),
    );

  /**
   * @param {number} n
   * @param {{offset: number}} timeline
   */
  const stepLink = (n, { offset }) =>
    h(
      'button',
      { type: 'button', class: 'quiet step-link', onclick: () => onGoto(n) },
      n > offset
        ? t('stage.insp-step', { n })
        : offset > 0
          ? t('stage.insp-before', { n: offset + 1 })
          : t('stage.insp-start'),
    );

  /**
   * @param {SentAt} message
   * @param {Timeline} timeline
   * @param {Offer[]} actions
   */
  function ofMessage(message, timeline, actions) {
    /** @param {number[]} all */
    const steps = (all) => all.map((n) => stepLink(n, timeline));
    return [
      h('h3', { class: `insp-title is-${family(message.message)}` }, label(message.message)),
      h('p', {}, sentence(message.message)),
      buttons(actions),
      h(
        'dl',
        { class: 'facts-list' },
        row('stage.insp-number', message.id),
        row('stage.insp-from', who(message.from)),
        row('stage.insp-to', who(message.to)),
        row('stage.insp-sent', steps([message.sentAt, ...message.sentAgain])),
        row(
          'stage.insp-delivered',
          message.deliveredAt.length ? steps(message.deliveredAt) : t('stage.insp-not-yet'),
        ),
        message.droppedAt !== null && row('stage.insp-dropped', steps([message.droppedAt])),
      ),
      h(
        'details',
        {},
        h('summary', {}, t('stage.insp-fields')),
        h('pre', {}, JSON.stringify(message.message, null, 1)),
      ),
    ];
  }

  return {
    update: draw,
    destroy() {
      box.remove();
    },
  };
}

/**
 * @param {string} key
 * @param {any} value
 * @param {any} [was]
 * @param {Record<string, any>} [params]
 */
function row(key, value, was, params) {
  const changed = was !== undefined && String(was) !== String(value);
  return [
    h('dt', {}, t(key, params)),
    h(
      'dd',
      { class: changed ? 'is-changed' : null },
      value,
      changed && h('span', { class: 'was' }, ` ${t('stage.insp-was', { was })}`),
    ),
  ];
}

/** @param {any} held */
const id = (held) =>
  held === null || held === undefined ? t('stage.none') : t('stage.server-short', { id: held });
/** @param {any} held */
const ids = (held) => (held?.length ? held.map(id).join(', ') : t('stage.none'));

/**
 * @param {string} name
 * @param {Snapshot} snapshot
 * @param {Snapshot | null} before
 */
function ofProcess(name, snapshot, before) {
  const title = h('h3', {}, who(name));
  const kind = splitName(name).kind;
  /** @param {(process: Snapshot) => any} value */
  const old = (value) => (before ? value(before) : undefined);
  /**
   * @param {string} key
   * @param {(process: Snapshot) => any} value
   * @param {Record<string, any>} [params]
   */
  const field = (key, value, params) =>
    row(`stage.field-${key}`, value(snapshot), old(value), params);
  if (kind === 'proxy') {
    return [
      title,
      h(
        'dl',
        { class: 'facts-list' },
        field('believes', (p) => id(p.leader)),
        field('in-flight', (p) => p.in_flight),
      ),
    ];
  }
  if (kind === 'client') {
    return [
      title,
      h(
        'dl',
        { class: 'facts-list' },
        field('state', (p) => t(p.idle ? 'stage.idle' : 'stage.waiting')),
        field('session', (p) => p.session ?? t('stage.none')),
        field('invoked', (p) => p.invoked),
      ),
    ];
  }
  /**
   * @param {Snapshot | null | undefined} p
   * @returns {Partial<Running>}
   */
  const run = (p) => p?.running ?? {};
  /** @param {Snapshot} p */
  const log = (p) => {
    const held = logOf(p);
    return (
      held.log
        .slice(-12)
        .map(
          (one, place) => `${held.last - Math.min(12, held.log.length) + 1 + place}:${entry(one)}`,
        )
        .join(', ') || t('stage.empty')
    );
  };
  /** @param {Snapshot} p */
  const disk = (p) => {
    const held = p.disk ?? {};
    /** @type {Partial<HardState>} */
    const hard = held.hard_state ?? {};
    return t('stage.insp-disk', {
      term: hard.current_term ?? 0,
      vote: id(hard.voted_for),
      n: (held.log_start ?? diskBase(held) + 1) - 1 + (held.log?.length ?? 0),
    });
  };
  const rows = [field('role', (p) => role(roleOf(p))), field('term', termOf)];
  if (!isDown(snapshot)) {
    rows.push(
      field('vote', (p) => id(run(p).voted_for)),
      field('leader', (p) => id(run(p).leader)),
    );
    if (run(snapshot).votes?.length) rows.push(field('votes', (p) => ids(run(p).votes)));
    rows.push(
      field('commit', (p) => logOf(p).commit),
      field('durable', (p) => logOf(p).durable),
    );
    if (run(snapshot).unsynced?.length || run(before).unsynced?.length)
      rows.push(field('unsynced', (p) => run(p).unsynced?.length ?? 0));
    if (run(snapshot).reads?.length) rows.push(field('reads', (p) => run(p).reads?.length ?? 0));
  }
  rows.push(field('log', log));
  if (snapshot.disk) rows.push(row('stage.insp-on-disk', disk(snapshot), old(disk)));
  const followers = run(snapshot).followers ?? [];
  const store = run(snapshot).store ?? [];
  return [
    title,
    h('dl', { class: 'facts-list' }, rows),
    followers.length > 0 &&
      h(
        'table',
        { class: 'insp-table' },
        h('caption', {}, t('stage.insp-followers')),
        h(
          'thead',
          {},
          h(
            'tr',
            {},
            ['stage.insp-follower', 'stage.insp-match', 'stage.insp-next'].map((key) =>
              h('th', { scope: 'col' }, t(key)),
            ),
          ),
        ),
        h(
          'tbody',
          {},
          followers.map((held) => {
            const was = run(before).followers?.find((other) => other.id === held.id);
            /** @param {'match_index' | 'next_index'} key */
            const cell = (key) =>
              h(
                'td',
                { class: was && was[key] !== held[key] ? 'is-changed' : null },
                held[key],
                was &&
                  was[key] !== held[key] &&
                  h('span', { class: 'was' }, ` ${t('stage.insp-was', { was: was[key] })}`),
              );
            return h(
              'tr',
              {},
              h('th', { scope: 'row' }, id(held.id)),
              cell('match_index'),
              cell('next_index'),
            );
          }),
        ),
      ),
    store.length > 0 &&
      h(
        'table',
        { class: 'insp-table' },
        h('caption', {}, t('stage.insp-store')),
        h(
          'tbody',
          {},
          store
            .slice(0, 50)
            .map((pair) =>
              h(
                'tr',
                {},
                h('th', { scope: 'row' }, words(pair.key)),
                h('td', {}, words(pair.value)),
                h('td', { class: 'dim' }, `v${pair.version}`),
              ),
            ),
        ),
      ),
  ];
}
