// The first screen: a description of the page, and three ways to start.

import { h } from '../dom.js';
import { t } from '../i18n.js';
import { MutantList, aboutOf, boundsWords, figure8, meaningOf, plantWorld } from './world.js';

/**
 * @param {HTMLElement} host
 * @param {{catalog: Catalog, onWorld: (world: World, isHunt: boolean) => void, app: App}} options
 */
export function Welcome(host, { catalog, onWorld, app }) {
  let mutant = figure8(catalog);
  const scopes = catalog.scopes.filter(({ name }) => name !== 'timed');
  const scope = h(
    'select',
    {
      'aria-label': t('explore.scope'),
      onchange: () => {
        about.textContent = words();
      },
    },
    scopes.map(({ name }) => h('option', { value: name, selected: name === 'crashes' }, name)),
  );
  const words = () => {
    const found = scopes.find(({ name }) => name === scope.value);
    return found ? `${aboutOf('scope', found)} (${boundsWords(found.bounds)})` : '';
  };
  const about = h('p', { class: 'small dim' }, words());
  const meaning = h('p', { class: 'small dim', id: 'plant-meaning', role: 'status' });
  const say = () => {
    meaning.textContent = meaningOf(catalog, mutant);
  };
  say();
  const box = h(
    'div',
    { class: 'welcome' },
    h('h1', {}, t('explore.hero')),
    h('p', { class: 'lead' }, t('explore.lead')),
    h(
      'div',
      { class: 'cards' },
      h(
        'section',
        { class: 'card is-main', 'aria-labelledby': 'card-plant' },
        h('h2', { id: 'card-plant' }, t('explore.card-plant')),
        h('p', {}, t('explore.card-plant-about')),
        MutantList({
          catalog,
          picked: mutant,
          onPick: (next) => {
            mutant = next;
            say();
          },
          rows: 7,
        }),
        meaning,
        h(
          'button',
          {
            type: 'button',
            class: 'primary big',
            id: 'plant-find',
            onclick: () => onWorld(plantWorld(mutant), true),
          },
          t('explore.plant-find'),
        ),
      ),
      h(
        'div',
        { class: 'card-column' },
        h(
          'section',
          { class: 'card', 'aria-labelledby': 'card-walk' },
          h('h2', { id: 'card-walk' }, t('explore.card-walk')),
          h('p', {}, t('explore.card-walk-about')),
          h(
            'div',
            { class: 'row' },
            scope,
            h(
              'button',
              {
                type: 'button',
                class: 'primary',
                onclick: () => {
                  const found = scopes.find(({ name }) => name === scope.value);
                  if (found)
                    onWorld(
                      {
                        name: found.name,
                        known: true,
                        bounds: { ...found.bounds },
                        mutant: null,
                        steps: 'merged',
                      },
                      false,
                    );
                },
              },
              t('explore.card-walk-go'),
            ),
          ),
          about,
        ),
        app.pages.includes('tour') &&
          h(
            'section',
            { class: 'card', 'aria-labelledby': 'card-tour' },
            h('h2', { id: 'card-tour' }, t('explore.card-tour')),
            h('p', {}, t('explore.card-tour-about')),
            h('a', { class: 'button primary', href: '#/tour' }, t('explore.card-tour-go')),
          ),
      ),
    ),
  );
  host.append(box);
  return {
    destroy() {
      box.remove();
    },
  };
}
