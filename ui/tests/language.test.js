// The texts of the page agree in all languages, with one term for each thing.

const FILES = [
  'shell',
  'stage',
  'diagnostic',
  'explore',
  'tour',
  'replay',
  'export',
  'filter',
  'live',
];
/** Texts that the server sends in English: only other languages have a translation. */
const SERVED =
  /^diagnostic\.|^(stage\.(property|witness|cause|invariant|operation)|explore\.(mutant|predicate|scope|method|scenario|about-property)|live\.code)-/;

/**
 * `[key, english, spanish]` of each text in both languages.
 * @returns {Promise<[string, string, string][]>}
 */
async function pairs() {
  /** @type {[string, string, string][]} */
  const all = [];
  for (const name of FILES) {
    const [en, es] = await Promise.all(
      ['en', 'es'].map((language) => import(`/ui/js/lang/${language}/${name}.js`)),
    );
    for (const [key, words] of Object.entries(es.default)) {
      const forms = (/** @type {any} */ held) =>
        typeof held === 'string' ? { other: held } : (held ?? {});
      for (const [form, text] of Object.entries(forms(words)))
        all.push([key, forms(en.default[key])[form] ?? '', text]);
    }
  }
  const names = await (await fetch('/ui/tours/index.json')).json();
  for (const name of names) {
    const tour = await (await fetch(`/ui/tours/${name}.json`)).json();
    const walk = (/** @type {any} */ held) => {
      if (held === null || typeof held !== 'object') return;
      if (typeof held.en === 'string' && typeof held.es === 'string')
        all.push([`tour ${name}`, held.en, held.es]);
      Object.values(held).forEach(walk);
    };
    walk(tour);
  }
  return all;
}

/** @type {PageTests} */
export const tests = {
  async every_text_is_there_in_both_languages(equal) {
    for (const name of FILES) {
      const [en, es] = await Promise.all(
        ['en', 'es'].map((language) => import(`/ui/js/lang/${language}/${name}.js`)),
      );
      const keys = (/** @type {{default: object}} */ file) =>
        Object.keys(file.default)
          .filter((key) => !SERVED.test(key))
          .sort();
      equal([name, keys(es)], [name, keys(en)]);
    }
  },
  async every_text_takes_the_same_values_in_both_languages(equal) {
    const values = (/** @type {string} */ text) =>
      [...text.matchAll(/\{(\w+)\}/g)]
        .map(([, value]) => value)
        .filter((value) => value !== 'done')
        .sort();
    const differ = (await pairs()).filter(
      ([, en, es]) => en && values(en).some((value) => !values(es).includes(value)),
    );
    equal(differ, []);
  },
  async committed_and_acknowledged_have_a_word_each_in_spanish(equal) {
    const all = await pairs();
    equal(all.length > 500, true);
    const mixed = all.filter(
      ([, en, es]) =>
        /commit(s|ted|ting|ment)?\b/i.test(en) &&
        !/acknowledg|confirm/i.test(en) &&
        /(?<!\p{L})confirm/iu.test(es),
    );
    equal(mixed, []);
    const swapped = all.filter(
      ([, en, es]) =>
        /acknowledg/i.test(en) && !/commit/i.test(en) && /(?<!\p{L})comprom/iu.test(es),
    );
    equal(swapped, []);
  },
  async reader_is_addressed_as_tu_everywhere(equal) {
    const polite =
      /(?<!\p{L})(usted|ustedes|plante|camine|decida|recórralo|copie|escriba|inténtelo|pregunte|pulse|pruebe|compruebe|seleccione|introduzca|haga clic|Elija|Haga|Dé|Abra|Vea|Mire|Lea|Vuelva|Deje|Suelte|Ponga)(?!\p{L})/u;
    equal(
      (await pairs()).filter(([, , es]) => polite.test(es)),
      [],
    );
  },
  async no_text_is_the_same_in_both_languages(equal) {
    const same = (await pairs()).filter(
      ([, en, es]) =>
        en === es &&
        en
          .replace(/\{\w+\}|[^\p{L} ]/gu, '')
          .split(/\s+/)
          .filter((word) => word.length > 3).length > 2,
    );
    equal(same, []);
  },
};
