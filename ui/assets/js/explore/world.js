// The selection of a world: scope, bounds, a planted bug, and the step granularity.
//
//   worldOf(params, catalog) -> {name, bounds, mutant, steps}   from the address
//   paramsOf(world, catalog) -> parameters of the address: only deviations from the scope's defaults
//   asked(world) -> the parameters for the API
//   plantWorld(mutant) -> the world in which the checker finds it, from the catalog
//   drawWorld(button, catalog, world): the world as the words of a button
//   chooseWorld({catalog, world, onChosen}), choosePlant(..): dialogs

import { h, replace } from '../dom.js';
import { has, t } from '../i18n.js';
import { aboutProperty, propertyName } from '../properties.js';

/**
 * @typedef {{
 *   catalog: Catalog, world: World, onChosen: (world: World, isHunt: boolean) => void,
 * }} WorldChoice
 * @typedef {{predicate?: string, witness?: string}} Goal
 */

/**
 * The value of a bound from its text; null if the text is not one.
 * @param {string} text
 * @param {{may_be_any: boolean}} bound
 * @returns {number | 'any' | null}
 */
function boundOf(text, bound) {
  if (bound.may_be_any && text.trim() === 'any') return 'any';
  const number = Number.parseInt(text, 10);
  return Number.isInteger(number) ? number : null;
}

/**
 * @param {Params} params
 * @param {Catalog} catalog
 * @returns {World}
 */
export function worldOf(params, catalog) {
  const scope = catalog.scopes.find(({ name }) => name === params.scope);
  /** @type {Bounds} */
  const bounds = {};
  for (const bound of catalog.bounds) {
    const given = boundOf(params[bound.name] ?? '', bound);
    if (given !== null) bounds[bound.name] = given;
  }
  return {
    name: scope ? scope.name : params.scope,
    known: Boolean(scope),
    bounds: { ...(scope?.bounds ?? {}), ...bounds },
    mutant: params.mutant || null,
    steps: params.steps === 'split' ? 'split' : 'merged',
  };
}

/**
 * @param {World} world
 * @param {Catalog} catalog
 */
export function paramsOf(world, catalog) {
  const own = catalog.scopes.find(({ name }) => name === world.name)?.bounds ?? {};
  /** @type {Record<string, string | number>} */
  const params = { scope: world.name };
  for (const [name, value] of Object.entries(world.bounds))
    if (own[name] !== value) params[name] = value;
  if (world.mutant) params.mutant = world.mutant;
  if (world.steps === 'split') params.steps = 'split';
  return params;
}

/** @param {World} world */
export const asked = (world) => ({
  scope: { name: world.name, bounds: world.bounds },
  mutant: world.mutant,
  steps: world.steps,
});

/** @param {World} world */
export const worldKey = (world) =>
  JSON.stringify([world.name, Object.entries(world.bounds).sort(), world.mutant, world.steps]);

/**
 * @param {Mutant} mutant
 * @returns {World}
 */
export const plantWorld = (mutant) => ({
  name: mutant.scope,
  known: true,
  bounds: { ...mutant.bounds },
  mutant: mutant.name,
  steps: 'merged',
});

/**
 * The description of a catalog entry, in the language of the page if it has one.
 * @param {string} kind
 * @param {Named} item
 * @returns {string}
 */
export function aboutOf(kind, item) {
  const key = `explore.${kind}-${item.name}`;
  return has(key) ? t(key) : item.about;
}

/**
 * The method that finds a bug and, for a timed simulation, its scenario.
 * @param {Catalog} catalog
 * @param {string} method
 * @param {string | null} name
 */
export function methodWords(catalog, method, name) {
  const mutant = catalog.mutants.find((one) => one.name === name);
  /**
   * @param {string} kind
   * @param {Named[]} list
   * @param {string | null} wanted
   */
  const known = (kind, list, wanted) => {
    const item = list?.find((one) => one.name === wanted);
    return item ? aboutOf(kind, item) : '';
  };
  return [
    known('method', catalog.methods, method),
    mutant?.scenario ? known('scenario', catalog.scenarios, mutant.scenario) : '',
  ]
    .filter(Boolean)
    .join(' ');
}

/**
 * '3 servers, 4 terms, 1 crash'
 * @param {Bounds} bounds
 */
export function boundsWords(bounds) {
  return [
    'servers',
    'terms',
    'entries',
    'reads',
    'crashes',
    'snapshots',
    'client-crashes',
    'proxy-crashes',
    'transfers',
  ]
    .filter((name) => bounds[name] !== undefined && bounds[name] !== 0)
    .map((name) =>
      bounds[name] === 'any'
        ? t(`explore.any-${name}`)
        : t(`explore.n-${name}`, { n: bounds[name] }),
    )
    .join(', ');
}

/**
 * The world as the words of the button that opens the selection.
 * @param {HTMLElement} button
 * @param {Catalog} catalog
 * @param {World} world
 */
export function drawWorld(button, catalog, world) {
  const mutant = catalog.mutants.find(({ name }) => name === world.mutant);
  const about = mutant && aboutOf('mutant', mutant);
  const words = h(
    'span',
    { class: 'world-words' },
    h('b', {}, world.name),
    h('span', { class: 'dim' }, boundsWords(world.bounds)),
    mutant &&
      h(
        'span',
        { class: 'chip is-warn', title: about },
        `${t('explore.planted')}: ${about?.replace(/\.$/, '')}`,
      ),
    world.steps === 'split' && h('span', { class: 'chip' }, t('explore.split-short')),
  );
  replace(button, words, h('span', { 'aria-hidden': 'true' }, '▾'));
}

/**
 * A list of bugs to select from, with a search field. `onPick(mutant)`.
 * @param {{
 *   catalog: Catalog, picked: Mutant, onPick: (mutant: Mutant) => void,
 *   rows?: number, focus?: boolean,
 * }} options
 */
export function MutantList({ catalog, picked, onPick, rows = 8, focus = false }) {
  const search = h('input', {
    type: 'search',
    placeholder: t('explore.search-bugs'),
    'aria-label': t('explore.search-bugs'),
    autofocus: focus,
    oninput: draw,
  });
  const list = h('div', {
    class: 'bug-list',
    role: 'radiogroup',
    'aria-label': t('explore.bugs'),
    style: { 'max-height': `${rows * 30}px` },
  });
  let now = picked;
  function draw() {
    const words = search.value.toLowerCase().split(/\s+/);
    // The initially selected bug comes first in the list.
    const all = [picked, ...catalog.mutants.filter((mutant) => mutant !== picked)].filter(Boolean);
    const some = all.filter((mutant) =>
      words.every((word) =>
        `${aboutOf('mutant', mutant)} ${mutant.about} ${mutant.name} ${mutant.property} ${mutant.seen_in ?? ''}`
          .toLowerCase()
          .includes(word),
      ),
    );
    replace(
      list,
      some.map((mutant) =>
        h(
          'label',
          { class: `bug${mutant === now ? ' is-picked' : ''}` },
          h('input', {
            type: 'radio',
            name: 'bug',
            value: mutant.name,
            checked: mutant === now,
            onchange: (/** @type {Event} */ event) => {
              now = mutant;
              const checked = /** @type {Node} */ (event.target);
              for (const other of list.children)
                other.classList.toggle('is-picked', other.contains(checked));
              onPick(mutant);
            },
          }),
          h(
            'span',
            {},
            h('span', {}, aboutOf('mutant', mutant)),
            h(
              'span',
              { class: 'dim small' },
              ` ${t('explore.bug-violates', { property: propertyName(mutant.property) })} · ${t(`explore.by-${mutant.method}`)}${mutant.seen_in ? ` · ${t('explore.seen-in', { where: mutant.seen_in })}` : ''}`,
            ),
          ),
        ),
      ),
      some.length === 0 && h('p', { class: 'dim' }, t('explore.no-match')),
    );
  }
  draw();
  return h('div', { class: 'bugs' }, search, list);
}

/**
 * @param {string} title
 * @param {Content[]} content
 */
function dialog(title, ...content) {
  const element = h(
    'dialog',
    { class: 'ask', 'aria-label': title, onclose: () => element.remove() },
    h(
      'div',
      { class: 'row dialog-head' },
      h('h2', {}, title),
      h('span', { class: 'spacer' }),
      h(
        'button',
        {
          type: 'button',
          class: 'quiet',
          'aria-label': t('shell.close'),
          onclick: () => element.close(),
        },
        '×',
      ),
    ),
    content,
  );
  document.body.append(element);
  element.showModal();
  // The browser would focus the first button, which closes the dialog.
  /** @type {NodeListOf<HTMLInputElement>} */
  const found = element.querySelectorAll('input, select, textarea');
  const fields = [...found];
  (
    fields.find((field) => field.hasAttribute('autofocus')) ??
    fields.find((field) => field.checked) ??
    fields[0]
  )?.focus();
  return element;
}

/** @param {WorldChoice} choice */
export function choosePlant({ catalog, world, onChosen }) {
  let mutant = catalog.mutants.find(({ name }) => name === world?.mutant) ?? figure8(catalog);
  const where = h('p', { class: 'small dim' });
  const say = () =>
    replace(
      where,
      t('explore.plant-where', { scope: mutant.scope, bounds: boundsWords(mutant.bounds) }),
      ' ',
      meaningOf(catalog, mutant),
    );
  say();
  const box = dialog(
    t('explore.plant'),
    MutantList({
      catalog,
      picked: mutant,
      onPick: (next) => {
        mutant = next;
        say();
      },
      focus: true,
    }),
    where,
    h(
      'div',
      { class: 'row' },
      h(
        'button',
        {
          type: 'button',
          class: 'primary',
          onclick: () => {
            box.close();
            onChosen(plantWorld(mutant), true);
          },
        },
        t('explore.plant-find'),
      ),
      h(
        'button',
        {
          type: 'button',
          onclick: () => {
            box.close();
            onChosen(plantWorld(mutant), false);
          },
        },
        t('explore.plant-walk'),
      ),
      world &&
        h(
          'button',
          {
            type: 'button',
            onclick: () => {
              box.close();
              onChosen({ ...world, mutant: mutant.name }, false);
            },
          },
          t('explore.plant-here'),
        ),
    ),
  );
}

/**
 * The property that a bug violates and the method that finds it, as sentences.
 * @param {Catalog} catalog
 * @param {Mutant} mutant
 */
export function meaningOf(catalog, mutant) {
  const property = [...catalog.properties, ...catalog.liveness].find(
    ({ name }) => name === mutant.property,
  );
  return `${propertyName(mutant.property)}: ${property ? aboutProperty(property) : ''} ${methodWords(catalog, mutant.method, mutant.name)}`;
}

/** @param {Catalog} catalog */
export const figure8 = (catalog) =>
  catalog.mutants.find(({ name }) => name === 'commits-older-term-by-counting') ??
  catalog.mutants[0];

/** @param {WorldChoice} choice */
export function chooseWorld({ catalog, world, onChosen }) {
  const scope = h(
    'select',
    { autofocus: true, onchange: () => fill() },
    catalog.scopes.map(({ name }) =>
      h('option', { value: name, selected: name === world.name }, name),
    ),
  );
  const about = h('p', { class: 'small dim' });
  const inputs = new Map(
    catalog.bounds.map((bound) => [
      bound,
      bound.may_be_any
        ? h('input', { inputmode: 'numeric', pattern: ' *([0-9]+|any) *', required: true })
        : h('input', { type: 'number', min: bound.min, max: bound.max, step: 1, required: true }),
    ]),
  );
  const mutant = h(
    'select',
    {
      onchange: () => {
        const found = catalog.mutants.find(({ name }) => name === mutant.value);
        note(found);
      },
    },
    h('option', { value: '' }, t('explore.no-bug')),
    catalog.mutants.map((one) =>
      h('option', { value: one.name, selected: one.name === world.mutant }, aboutOf('mutant', one)),
    ),
  );
  const proposed = h('div', { class: 'small' });
  const split = h('input', { type: 'checkbox', checked: world.steps === 'split' });
  const form = h(
    'form',
    {
      class: 'world-form',
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        const bounds = Object.fromEntries(
          [...inputs].map(([bound, input]) => [bound.name, boundOf(input.value, bound) ?? 0]),
        );
        box.close();
        onChosen(
          {
            name: scope.value,
            known: true,
            bounds,
            mutant: mutant.value || null,
            steps: split.checked ? 'split' : 'merged',
          },
          false,
        );
      },
    },
    h('label', {}, t('explore.scope'), scope),
    about,
    h(
      'fieldset',
      {},
      h('legend', {}, t('explore.bounds')),
      [...inputs].map(([{ name }, input]) =>
        h(
          'label',
          {},
          t(`explore.bound-${name}`),
          input,
          h('span', { class: 'small dim' }, t(`explore.about-bound-${name}`)),
        ),
      ),
    ),
    h('label', {}, t('explore.bug'), mutant),
    proposed,
    h('label', { class: 'check' }, split, ' ', t('explore.split')),
    h('div', { class: 'row' }, h('button', { class: 'primary' }, t('explore.walk-here'))),
  );
  /** @param {Bounds} [bounds] */
  function fill(bounds) {
    const found = catalog.scopes.find(({ name }) => name === scope.value);
    replace(about, found ? aboutOf('scope', found) : '');
    for (const [{ name }, input] of inputs)
      input.value = String((bounds ?? found?.bounds ?? {})[name] ?? 0);
  }
  /** @param {Mutant | undefined} found */
  function note(found) {
    replace(
      proposed,
      found &&
        h(
          'button',
          {
            type: 'button',
            onclick: () => {
              scope.value = found.scope;
              fill(found.bounds);
            },
          },
          t('explore.take-bounds', { scope: found.scope, bounds: boundsWords(found.bounds) }),
        ),
    );
  }
  const box = dialog(t('explore.choose-world'), form);
  fill(world.bounds);
  note(catalog.mutants.find(({ name }) => name === world.mutant));
}

/**
 * "Find a state where ...": a menu of predicates and witnesses.
 * @param {{catalog: Catalog, onFind: (goal: Goal) => void}} options
 */
export function chooseFind({ catalog, onFind }) {
  /** @type {Goal} */
  let picked = { predicate: catalog.predicates[0]?.name };
  /**
   * @param {string} value
   * @param {string} words
   * @param {'predicate' | 'witness'} kind
   */
  const choice = (value, words, kind) =>
    h(
      'label',
      { class: 'bug' },
      h('input', {
        type: 'radio',
        name: 'find',
        checked: kind === 'predicate' && value === picked.predicate,
        onchange: () => {
          picked = { [kind]: value };
        },
      }),
      h('span', {}, words),
    );
  const box = dialog(
    t('explore.find'),
    h('p', { class: 'small dim' }, t('explore.find-about')),
    h(
      'div',
      {
        class: 'bug-list',
        role: 'radiogroup',
        'aria-label': t('explore.find'),
        style: { 'max-height': '46vh' },
      },
      catalog.predicates.map((one) => choice(one.name, aboutOf('predicate', one), 'predicate')),
    ),
    h(
      'div',
      { class: 'row' },
      h(
        'button',
        {
          type: 'button',
          class: 'primary',
          onclick: () => {
            box.close();
            onFind(picked);
          },
        },
        t('explore.find-go'),
      ),
    ),
  );
}
