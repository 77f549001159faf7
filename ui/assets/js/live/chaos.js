// Fault injection: isolated, paused and killed servers; cut, lossy and slow links. Active faults are at
// the top, each with a button that ends it. A fault ends automatically after the selected time.

import { ApiError, messageOf, postJson } from '../api.js';
import { h, keyed, set, text } from '../dom.js';
import { has, t } from '../i18n.js';
import { toast } from '../toast.js';
import { end, harm } from './happened.js';

const TIMES = [10, 30, 60, 300, 0];
/** @type {Record<string, LinkFault>} */
const HARMS = {
  cut: { cut: true },
  lossy: { drop: 0.3 },
  slow: { delay_ms: [200, 400] },
  twice: { duplicate: 0.5 },
  reorder: { reorder: 0.5 },
  terrible: { drop: 0.2, duplicate: 0.2, reorder: 0.3, delay_ms: [20, 200] },
};

/** @param {HTMLElement} host */
export function ChaosPanel(host) {
  const time = h(
    'select',
    { id: 'live-time' },
    TIMES.map((seconds) =>
      h(
        'option',
        { value: seconds, selected: seconds === 30 },
        seconds ? t('live.ends-after', { seconds }) : t('live.ends-never'),
      ),
    ),
  );
  const heal = h(
    'button',
    { type: 'button', class: 'primary', disabled: true, onclick: () => act({ do: 'heal' }) },
    t('live.heal'),
  );
  const active = h('ul', { class: 'plain chaos-active', 'aria-label': t('live.active') });
  const none = h('p', { class: 'chip is-good' }, t('live.all-well'));
  const servers = h('div', { class: 'chaos-servers' });
  const from = h('select', { 'aria-label': t('live.from') });
  const to = h('select', { 'aria-label': t('live.to') });
  const kind = h(
    'select',
    { 'aria-label': t('live.what') },
    Object.entries(HARMS).map(([name, what]) =>
      h('option', { value: name }, t(`live.preset-${name}`) + (what.cut ? '' : `: ${harm(what)}`)),
    ),
  );
  const both = h('input', { type: 'checkbox', checked: true });
  const link = h(
    'form',
    {
      class: 'row chaos-link',
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        harmLink();
      },
    },
    from,
    h('span', { 'aria-hidden': 'true' }, '→'),
    to,
    kind,
    h('label', { class: 'row' }, both, t('live.both')),
    h('button', {}, t('live.break-link')),
  );
  const problem = h('p', { class: 'outcome is-bad', role: 'alert', hidden: true });
  host.append(
    h('p', { class: 'chaos-warn small' }, t('live.chaos-warn')),
    none,
    active,
    problem,
    h(
      'div',
      { class: 'row' },
      h('label', { class: 'small', for: 'live-time' }, t('live.ends')),
      time,
      h('span', { class: 'spacer' }),
      heal,
    ),
    h('h3', {}, t('live.servers')),
    servers,
    h('h3', {}, t('live.links')),
    link,
  );

  const seconds = () => (Number(time.value) ? { for_seconds: Number(time.value) } : {});

  function harmLink() {
    /** @param {string} held */
    const place = (held) => (/^\d+$/.test(held) ? Number(held) : held);
    act({
      do: 'link',
      from: place(from.value),
      to: place(to.value),
      both: both.checked,
      ...HARMS[kind.value],
      ...seconds(),
    });
  }

  /** @param {Record<string, any>} action */
  async function act(action) {
    problem.hidden = true;
    try {
      await postJson('/v1/chaos', action);
    } catch (error) {
      problem.hidden = false;
      text(problem, said(error));
      toast(said(error), 'bad');
    }
  }

  /** @param {import('./state.js').State} state */
  function drawServers(state) {
    const embedded = state.status?.chaos?.embedded ?? false;
    keyed(
      servers,
      state.status?.nodes ?? [],
      ({ id }) => id,
      ({ id }) => {
        const button = () => h('button', { type: 'button' });
        return h(
          'div',
          { class: 'row', role: 'group', 'aria-label': end(id) },
          h('b', { class: 'chaos-name' }, end(id)),
          button(),
          button(),
          button(),
        );
      },
      (row, { id }) => {
        const [, isolate, pause, kill] = row.children;
        const [cut, halted] = [state.isolated(id), state.halted(id)];
        /**
         * @param {HTMLElement} element
         * @param {string} name
         * @param {boolean} pressed
         * @param {any} [action]
         */
        const say = (element, name, pressed, action) => {
          set(element, {
            'aria-pressed': String(pressed),
            'aria-label': `${t(`live.do-${name}`)}: ${end(id)}`,
          });
          text(element, t(`live.do-${name}`));
          element.onclick = () =>
            act({
              do: name,
              node: id,
              ...(['isolate', 'pause', 'kill'].includes(name) ? seconds() : {}),
            });
        };
        say(isolate, cut ? 'rejoin' : 'isolate', cut);
        say(pause, halted === 'paused' ? 'resume' : 'pause', halted === 'paused');
        say(kill, halted === 'killed' ? 'start' : 'kill', halted === 'killed');
        kill.classList.toggle('danger', halted !== 'killed');
        set(pause, { disabled: !embedded || halted === 'killed' });
        set(kill, { disabled: !embedded });
      },
    );
  }

  /** @param {Chaos} chaos */
  function drawActive({ links, isolated, halted }) {
    /** @param {number | null} seconds */
    const left = (seconds) =>
      seconds === null ? t('live.until-healed') : t('live.left', { n: seconds });
    const all = [
      ...isolated.map((one) => ({
        key: `i${one.node}`,
        words: t('live.is-isolated', { who: end(one.node) }),
        left: left(one.seconds_left),
        undo: { do: 'rejoin', node: one.node },
      })),
      ...halted.map((one) => ({
        key: `h${one.node}`,
        words: t(`live.is-${one.how}`, { who: end(one.node) }),
        left: left(one.seconds_left),
        undo: { do: one.how === 'paused' ? 'resume' : 'start', node: one.node },
      })),
      ...links.map((one) => ({
        key: `l${one.from}-${one.to}`,
        words: `${end(one.from)} → ${end(one.to)}: ${harm(one.harm)}`,
        left: left(one.seconds_left),
        undo: { do: 'link', from: one.from, to: one.to },
      })),
    ];
    none.hidden = all.length > 0;
    heal.disabled = all.length === 0;
    keyed(
      active,
      all,
      ({ key }) => key,
      () =>
        h(
          'li',
          { class: 'row' },
          h('span', { 'aria-hidden': 'true' }, '⚡'),
          h('span', {}),
          h('span', { class: 'small' }),
          h('button', { type: 'button', class: 'quiet' }, t('live.end-it')),
        ),
      (row, one) => {
        const [, words, left, undo] = row.children;
        text(words, one.words);
        text(left, one.left);
        set(undo, { 'aria-label': `${t('live.end-it')}: ${one.words}` });
        undo.onclick = () => act(one.undo);
      },
    );
  }

  /** @param {import('./state.js').State} state */
  function drawEnds(state) {
    const embedded = state.status?.chaos?.embedded ?? false;
    const ids = (state.status?.nodes ?? []).map(({ id }) => id);
    const ends = [...ids, 'proxy', 'clients'].map(String);
    for (const [place, select] of [from, to].entries()) {
      if (select.options.length === ends.length) continue;
      select.replaceChildren(
        ...ends.map((name) =>
          h('option', { value: name }, end(/^\d+$/.test(name) ? Number(name) : name)),
        ),
      );
      select.value = embedded
        ? String(ids[Math.min(place, ids.length - 1)])
        : ['proxy', String(ids[0])][place];
    }
  }

  return {
    /** @param {import('./state.js').State} state */
    update(state) {
      if (!state.status?.chaos) return;
      drawActive(state.status.chaos);
      drawServers(state);
      drawEnds(state);
    },
  };
}

/**
 * An error of the proxy, in the language of the page if that has a text for its code.
 * @param {any} body
 */
export function saidBy(body) {
  const { code, message } = body?.error ?? {};
  const key = `live.code-${code}`;
  return has(key) ? t(key) : message;
}

/**
 * @param {unknown} error
 * @returns {string}
 */
export const said = (error) =>
  (error instanceof ApiError && saidBy(error.body)) || messageOf(error);
