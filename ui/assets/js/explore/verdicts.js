// What holds here: every law at the state shown, what was witnessed on the way, what of the bounds
// is used up.
//
//   const verdicts = Verdicts(host, {onGoto(step), onWitness(name)});
//   verdicts.update({here, catalogue});

import { h, replace } from '../dom.js';
import { t } from '../i18n.js';
import { lawName, witness } from '../story.js';
import { why } from '../why.js';

export function Verdicts(host, { onGoto, onWitness }) {
  const box = h('div', { class: 'verdicts' });
  host.append(box);
  let shown = null;
  return {
    update({ here, catalogue }) {
      if (!here) { box.setAttribute('aria-busy', 'true'); return; }
      box.removeAttribute('aria-busy');
      if (here === shown) return;
      shown = here;
      const broken = here.laws.filter((law) => !law.holds);
      const about = new Map((catalogue?.laws ?? []).map((law) => [law.name, law.about]));
      const required = here.witnesses.filter((one) => one.required);
      const others = here.witnesses.filter((one) => !one.required && one.reached);
      replace(box,
        h('h3', {}, t('explore.laws')),
        h('p', { class: broken.length ? 'law-sum is-bad' : 'law-sum is-good' }, broken.length ? t('explore.laws-broken', { n: broken.length }) : t('explore.laws-hold', { n: here.laws.length })),
        h('ul', { class: 'plain law-list' }, [...broken, ...here.laws.filter((law) => law.holds)].map((law) => h('li', { class: law.holds ? 'is-holding' : 'is-broken', title: about.get(law.law) ?? null },
          h('span', { class: 'law-sign', 'aria-hidden': 'true' }, law.holds ? '✓' : '✗'),
          h('span', {}, lawName(law.law), h('span', { class: 'sr-only' }, ` ${t(law.holds ? 'explore.holds' : 'explore.broken')}`),
            law.why && h('span', { class: 'law-why' }, why(law.why, { end: '.' }), law.step && [' ', h('button', { type: 'button', class: 'quiet step-link', onclick: () => onGoto(law.step) }, t('stage.insp-step', { n: law.step }))]))))),
        h('h3', {}, t('explore.budgets')),
        h('div', { class: 'budgets' }, here.budgets.map((one) => h('div', { class: 'budget' },
          h('span', {}, t(`explore.bound-${one.name}`)), h('meter', { min: 0, max: Math.max(one.of, 1), value: one.used, 'aria-label': t(`explore.bound-${one.name}`) }),
          h('span', { class: 'mono' }, `${one.used}/${one.of}`)))),
        h('h3', {}, t('explore.witnesses')),
        h('ul', { class: 'plain wit-list' }, [...required, ...others].map((one) => h('li', { class: one.reached ? 'is-reached' : '' },
          h('span', { 'aria-hidden': 'true' }, one.reached ? '●' : '○'), ' ', witness(one.name), h('span', { class: 'sr-only' }, ` ${t(one.reached ? 'explore.reached' : 'explore.unreached')}`),
          !one.reached && h('button', { type: 'button', class: 'quiet step-link', onclick: () => onWitness(one.name), 'aria-label': t('explore.find-witness', { name: witness(one.name) }) }, t('explore.go-find')))),
        ));
    },
    destroy() { box.remove(); },
  };
}
