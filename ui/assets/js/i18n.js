// All texts of the page. `t('key', {n: 3})` returns the text in the current language. Texts are in
// `lang/en/NAME.js` and `lang/es/NAME.js`, one file for each page, each with one object as its
// default export: `{'explore.title': 'Explore {n} states'}`. From a value `{one: '..', other: '..'}`
// the number `n` selects the form. `shell` and `stage` are always loaded; `loadStrings('tour')` adds
// the texts of a page. Within a text, `{steps|paso|pasos}` selects a form by the number `steps`.
//
// A key without a text is displayed as the key, so that a missing text is noticed.

const LANGUAGES = ['en', 'es'];
const KEPT = 'stateraft.language';
/** @type {Set<string>} */
const loaded = new Set();
/** @type {Record<string, Record<string, string | Record<string, string>>>} */
const texts = {};
let language = chosen();
let plurals = new Intl.PluralRules(language);

function chosen() {
  const asked =
    new URLSearchParams(location.search).get('lang') ?? read() ?? navigator.language ?? 'en';
  const short = asked.slice(0, 2).toLowerCase();
  return LANGUAGES.includes(short) ? short : 'en';
}

function read() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

/** The current language: `en` or `es`. */
export const currentLanguage = () => language;
export const languages = () => LANGUAGES;

/**
 * Changes the language; the callers redraw the page.
 * @param {string} next
 */
export async function setLanguage(next) {
  language = next;
  plurals = new Intl.PluralRules(next);
  document.documentElement.lang = next;
  try {
    localStorage.setItem(KEPT, next);
  } catch {
    /* A private window stores nothing. */
  }
  const names = [...new Set([...loaded].map((place) => place.split('/')[1]))];
  await loadStrings(...names);
}

/**
 * Loads the texts of pages by name, in the current language.
 * @param {string[]} names
 */
export async function loadStrings(...names) {
  document.documentElement.lang = language;
  await Promise.all(
    names.map(async (name) => {
      const place = `${language}/${name}`;
      if (loaded.has(place)) return;
      const file = await import(`./lang/${place}.js`);
      Object.assign((texts[language] ??= {}), file.default);
      loaded.add(place);
    }),
  );
}

/**
 * The text of a key, with `{name}` replaced by `params.name`.
 * @param {string} key
 * @param {Record<string, any>} [params]
 * @returns {string}
 */
export function t(key, params) {
  let text = texts[language]?.[key];
  if (text === undefined) return key;
  if (typeof text === 'object') text = text[plurals.select(params?.n ?? 0)] ?? text.other;
  if (!params) return text;
  const chosen = text.replace(/\{(\w+)\|([^|}]+)\|([^}]+)\}/g, (_, name, one, other) =>
    plurals.select(Number(params[name])) === 'one' ? one : other,
  );
  const filled = chosen.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = params[name];
    if (value === undefined || value === null) return whole;
    return typeof value === 'number' ? number(value) : String(value);
  });
  return language === 'es' ? contracted(filled) : filled;
}

/**
 * Spanish contracts a preposition and a following article: 'de el servidor' is 'del servidor'.
 * @param {string} words
 */
const contracted = (words) =>
  words.replace(/(?<!\p{L})([Aa]|[Dd]e) el /gu, (_, before) => `${before}l `);

/**
 * Whether a key has a text.
 * @param {string} key
 */
export const has = (key) => texts[language]?.[key] !== undefined;

/** The cache by language and digits: creating a format takes longer than a thousand uses of it. */
/** @type {Map<string, Intl.NumberFormat>} */
const formats = new Map();

/**
 * A number in the format of the language.
 * @param {number} value
 */
export function number(value, digits = 2) {
  const name = `${language}${digits}`;
  let format = formats.get(name);
  if (!format) {
    format = new Intl.NumberFormat(language === 'es' ? 'es-ES' : 'en-GB', {
      maximumFractionDigits: digits,
      useGrouping: 'always',
    });
    formats.set(name, format);
  }
  return format.format(value);
}

/**
 * "a, b and c".
 * @param {unknown[]} words
 */
export function list(words) {
  return new Intl.ListFormat(language, { style: 'long', type: 'conjunction' }).format(
    words.map(String),
  );
}

/**
 * 1536 -> "1.5 KiB".
 * @param {number} value
 */
export function bytes(value) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let place = 0;
  while (value >= 1024 && place < units.length - 1) {
    value /= 1024;
    place += 1;
  }
  return `${number(value, value < 10 && place ? 1 : 0)} ${units[place]}`;
}

/**
 * 3.94 -> "3.9 s", 125 -> "2 min 5 s", 7320 -> "2 h 2 min".
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds >= 3600)
    return `${number(Math.floor(seconds / 3600))} h ${Math.floor((seconds % 3600) / 60)} min`;
  if (seconds < 60) return `${number(seconds, 1)} s`;
  return `${number(Math.floor(seconds / 60))} min ${Math.round(seconds % 60)} s`;
}
