// The verdicts on the current state: every property, the witnesses on the path, and the budget used.
//
//   const verdicts = Verdicts(host, {onGoto(step), onWitness(name)});
//   verdicts.update({here, catalog, claim: {property, why, cause, key} | null});
//
// `claim` is the violation that the counterexample shows. A property's meaning opens below its name.

import { h, replace } from '../dom.js';
import { t } from '../i18n.js';
import { aboutProperty, propertyName, witness } from '../properties.js';
import { why } from '../why.js';

/** @typedef {{property: string, why: string, cause: Diagnostic | null, key: string}} Claim */

/**
 * @param {HTMLElement} host
 * @param {{onGoto: (step: number) => void, onWitness: (name: string) => void}} options
 */
export function Verdicts(host, { onGoto, onWitness }) {
  const box = h('div', { class: 'verdicts' });
  host.append(box);
  /** @type {{here: Here, claim: string | undefined} | null} */
  let shown = null;
  return {
    /** @param {{here: Here | null, catalog: Catalog, claim?: Claim | null}} next */
    update({ here, catalog, claim = null }) {
      if (!here) {
        box.setAttribute('aria-busy', 'true');
        return;
      }
      box.removeAttribute('aria-busy');
      if (here === shown?.here && claim?.key === shown.claim) return;
      shown = { here, claim: claim?.key };
      const unfolded = box.querySelectorAll('.property-list details[open]');
      const open = new Set([...unfolded].map((one) => one.getAttribute('data-property')));
      const violated = here.properties.filter(({ holds }) => !holds);
      const liveness = claim && catalog.liveness.find(({ name }) => name === claim.property);
      replace(
        box,
        h('h3', {}, t('explore.properties')),
        summary(here.properties.length, violated.length, claim, liveness),
        propertyList(here, catalog, { claim, liveness, open, onGoto }),
        h('h3', {}, t('explore.budgets')),
        h('div', { class: 'budgets' }, here.budgets.map(budget)),
        h('h3', {}, t('explore.witnesses')),
        witnessList(here, onWitness),
      );
    },
    destroy() {
      box.remove();
    },
  };
}

/**
 * The violated properties, then the others.
 * @param {Here} here
 * @param {Catalog} catalog
 * @param {{
 *   claim: Claim | null, liveness: Named | null | undefined, open: Set<string | null>,
 *   onGoto: (step: number) => void,
 * }} options
 */
function propertyList({ properties }, catalog, { claim, liveness, open, onGoto }) {
  const about = new Map(catalog.properties.map((property) => [property.name, property]));
  /** @param {number} n */
  const link = (n) => {
    const props = { type: 'button', class: 'quiet step-link', onclick: () => onGoto(n) };
    return [' ', h('button', props, t('stage.insp-step', { n }))];
  };
  /**
   * @param {string} name
   * @param {boolean} holds
   * @param {Content} cause
   */
  const item = (name, holds, cause) =>
    h(
      'li',
      { class: holds ? 'is-holding' : 'is-violated' },
      h('span', { class: 'property-sign', 'aria-hidden': 'true' }, holds ? '✓' : '✗'),
      h(
        'div',
        {},
        meaning(name, about.get(name) ?? liveness, open.has(name)),
        h('span', { class: 'sr-only' }, ` ${t(holds ? 'explore.holds' : 'explore.violated')}`),
        cause && h('span', { class: 'property-why' }, cause),
      ),
    );
  const ordered = [
    ...properties.filter(({ holds }) => !holds),
    ...properties.filter(({ holds }) => holds),
  ];
  return h(
    'ul',
    { class: 'plain property-list' },
    liveness &&
      claim &&
      item(liveness.name, false, why(claim.why, { cause: claim.cause, end: '.' })),
    ordered.map(({ property, holds, why: reason, cause, step }) =>
      item(property, holds, reason && [why(reason, { cause, end: '.' }), step ? link(step) : null]),
    ),
  );
}

/**
 * The name of a property; its definition opens below it.
 * @param {string} name
 * @param {Named | null | undefined} known
 * @param {boolean} open
 */
function meaning(name, known, open) {
  const words = known ? aboutProperty(known) : '';
  if (!words) return propertyName(name);
  const title = h('summary', {}, propertyName(name));
  const props = { 'data-property': name, open };
  return h('details', props, title, h('p', { class: 'property-about' }, words));
}

/** @param {{name: string, used: number, of: number | 'any'}} budget */
function budget({ name, used, of }) {
  const label = t(`explore.bound-${name}`);
  if (of === 'any')
    return h(
      'div',
      { class: 'budget' },
      h('span', {}, label),
      h('span', { class: 'small dim' }, t('explore.budget-any')),
    );
  const meter = { min: 0, max: Math.max(of, 1), value: used, 'aria-label': label };
  return h(
    'div',
    { class: 'budget' },
    h('span', {}, label),
    h('meter', meter),
    h('span', { class: 'mono' }, `${used}/${of}`),
  );
}

/**
 * The witnesses that the scope must reach, then the others on the path.
 * @param {Here} here
 * @param {(name: string) => void} onWitness
 */
function witnessList({ witnesses }, onWitness) {
  const required = witnesses.filter((one) => one.required);
  const others = witnesses.filter((one) => !one.required && one.reached);
  /** @param {string} name */
  const button = (name) => {
    const about = t('explore.find-witness', { name: witness(name) });
    const onclick = () => onWitness(name);
    const props = { type: 'button', class: 'quiet step-link', onclick, 'aria-label': about };
    return h('button', props, t('explore.go-find'));
  };
  const items = [...required, ...others].map(({ name, reached }) =>
    h(
      'li',
      { class: reached ? 'is-reached' : '' },
      h('span', { 'aria-hidden': 'true' }, reached ? '●' : '○'),
      ' ',
      witness(name),
      h('span', { class: 'sr-only' }, ` ${t(reached ? 'explore.reached' : 'explore.unreached')}`),
      !reached && button(name),
    ),
  );
  return h('ul', { class: 'plain wit-list' }, items);
}

/**
 * The summary of all properties. Beside a counterexample no green line says that all hold.
 * @param {number} count
 * @param {number} violated
 * @param {{property: string} | null} claim
 * @param {Named | null | undefined} liveness
 */
function summary(count, violated, claim, liveness) {
  if (violated)
    return h(
      'p',
      { class: 'property-sum is-bad' },
      t('explore.properties-violated', { n: violated }),
    );
  if (liveness)
    return h(
      'p',
      { class: 'property-sum is-bad' },
      t('explore.properties-liveness', { property: propertyName(liveness.name), n: count }),
    );
  if (claim)
    return h(
      'p',
      { class: 'property-sum' },
      t('explore.properties-not-yet', { property: propertyName(claim.property) }),
    );
  return h('p', { class: 'property-sum is-good' }, t('explore.properties-hold', { n: count }));
}
