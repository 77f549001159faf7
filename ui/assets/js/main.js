// The shell around every page. It requests the list of pages from `GET /api/app`, shows the page named
// by the fragment (`#/explore?scope=older-term`), and owns the theme, the language, the list of
// keyboard shortcuts and the notice that the server does not respond.
//
// A page is a module `js/NAME.js`:
//   export default function page(host, {params, rest, navigate, app, shortcuts}) -> {destroy(), go?}
// `params` is the query of the fragment, `rest` its path after the page's name (`['figure-8']`);
// `shortcuts([{keys: '?', what: 'text'}])` adds entries to the help. When the fragment changes and
// the page stays, the shell calls `go({params, rest})` if it exists, and otherwise recreates the page.
// `navigate(to, {replace})` opens `'#/..'` or `{page, rest, params}`. With `{quiet: true}` it only
// writes the fragment; `{quiet: true, push: true}` adds a history entry for it. The tab of another page
// leads back to the last fragment of that page.
//
// The texts of a page are in `lang/*/NAME.js`; the page itself loads its style sheet `css/NAME.css`
// with `style(NAME)`.

import { getJson, messageOf, onServer } from './api.js';
import { closest, h, replace, text } from './dom.js';
import { currentLanguage, languages, loadStrings, setLanguage, t } from './i18n.js';
import { addressLater, addressNow, format, parse } from './router.js';
import { toast } from './toast.js';

/**
 * @typedef {{go?: (place: {params: Params, rest: string[]}) => void, destroy: () => void}} Page
 * @typedef {{name: string, page: Page | null, shortcuts: Shortcut[], hash: string}} Shown
 */

const THEME = 'stateraft.theme';
const root = document.documentElement;

/** @type {App} */
let app;
/** @type {Shown | null} */
let shown = null;
let turn = 0;
/** @type {Record<string, any>} */
const frame = {};
/**
 * The last fragment of each page.
 * @type {Map<string, string>}
 */
const left = new Map();

start();

async function start() {
  theme(new URLSearchParams(location.search).get('theme') ?? stored() ?? 'auto', { keep: false });
  await loadStrings('shell', 'stage', 'diagnostic');
  draw();
  onServer((state) => {
    frame.gone.hidden = state !== 'gone';
    if (state === 'gone') waitForServer();
  });
  addEventListener('hashchange', show);
  addEventListener('pagehide', addressNow);
  addEventListener('keydown', keys);
  await connect();
}

async function connect() {
  try {
    app = await getJson('/api/app');
  } catch (error) {
    replace(
      frame.host,
      failure(messageOf(error), () => connect()),
    );
    return;
  }
  nav();
  await show();
}

/** Retries until the server responds. */
async function waitForServer() {
  for (let pause = 1000; !frame.gone.hidden; pause = Math.min(pause * 1.5, 10_000)) {
    await new Promise((done) => setTimeout(done, pause));
    try {
      const now = await getJson('/api/app');
      if (!app) {
        app = now;
        nav();
        await show();
      }
    } catch {
      /* Still no response: the notice stays. */
    }
  }
}

function draw() {
  frame.nav = h('nav', { class: 'tabs', 'aria-label': t('shell.pages') });
  frame.host = h('main', { id: 'page', tabindex: '-1' });
  frame.gone = h('div', { class: 'banner is-bad', role: 'alert', hidden: true }, t('shell.gone'));
  frame.theme = h('button', { type: 'button', class: 'quiet', onclick: nextTheme });
  frame.version = h('span', { class: 'version' });
  const language = h(
    'select',
    {
      class: 'quiet',
      'aria-label': t('shell.language'),
      onchange: (/** @type {{target: HTMLSelectElement}} */ event) =>
        changeLanguage(event.target.value),
    },
    languages().map((name) =>
      h(
        'option',
        { value: name, selected: name === currentLanguage(), title: t(`shell.language-${name}`) },
        name.toUpperCase(),
      ),
    ),
  );
  const bar = h(
    'header',
    { class: 'bar' },
    h(
      'a',
      { class: 'brand', href: '#/', 'aria-label': `Stateraft: ${t('shell.home')}` },
      h('img', { src: '/ui/icon.svg', alt: '', width: 22, height: 22 }),
      'Stateraft',
    ),
    frame.nav,
    h('span', { class: 'spacer' }),
    frame.version,
    language,
    frame.theme,
    h(
      'button',
      {
        type: 'button',
        class: 'quiet',
        'aria-label': t('shell.help'),
        title: t('shell.help'),
        onclick: help,
      },
      '?',
    ),
  );
  const root = /** @type {HTMLElement} */ (document.getElementById('app'));
  replace(
    root,
    h(
      'a',
      {
        class: 'skip',
        href: '#page',
        onclick: (/** @type {Event} */ event) => {
          event.preventDefault();
          frame.host.focus();
        },
      },
      t('shell.skip'),
    ),
    bar,
    frame.gone,
    frame.host,
  );
  themeButton();
}

function nav() {
  const here = parse(location.hash).page ?? app.home;
  replace(
    frame.nav,
    app.pages.map((page) =>
      h(
        'a',
        {
          href: page === here ? `#/${page}` : (left.get(page) ?? `#/${page}`),
          'aria-current': page === here ? 'page' : null,
        },
        t(`shell.page-${page}`),
      ),
    ),
  );
  text(frame.version, app.version ? `${app.app} ${app.version}` : '');
}

async function show() {
  const { page: named, rest, params } = parse(location.hash);
  const name = named ?? app.home;
  if (shown?.hash && shown.name !== name) left.set(shown.name, shown.hash);
  nav();
  if (shown?.name === name && shown.page?.go) {
    shown.hash = location.hash;
    shown.page.go({ params, rest });
    return;
  }
  const mine = ++turn;
  shown?.page?.destroy();
  shown = { name, page: null, shortcuts: [], hash: location.hash };
  if (!app.pages.includes(name)) {
    replace(frame.host, failure(t('shell.no-page', { page: name }), null));
    return;
  }
  replace(frame.host, h('p', { class: 'loading' }, t('shell.loading')));
  try {
    const [module] = await Promise.all([import(`./${name}.js`), loadStrings(name)]);
    if (mine !== turn) return;
    frame.host.replaceChildren();
    document.title = `${t(`shell.page-${name}`)} · Stateraft`;
    const listed = shown;
    shown.page = module.default(frame.host, {
      params,
      rest,
      app,
      navigate,
      shortcuts: (/** @type {Shortcut[]} */ list) => {
        listed.shortcuts = list;
      },
    });
  } catch (error) {
    if (mine !== turn) return;
    console.error(error);
    replace(
      frame.host,
      failure(t('shell.page-failed', { page: name, why: messageOf(error) }), () => {
        shown = null;
        show();
      }),
    );
  }
}

/**
 * @param {string | Place} to
 * @param {{replace?: boolean, quiet?: boolean, push?: boolean}} [options]
 */
function navigate(to, { replace: instead = false, quiet = false, push = false } = {}) {
  const hash = typeof to === 'string' ? to : format(to);
  if (quiet && shown) shown.hash = hash;
  if (quiet && push) {
    addressNow();
    if (hash !== location.hash) history.pushState(null, '', hash);
    return;
  }
  if (quiet) {
    addressLater(hash);
    return;
  }
  addressNow();
  if (hash === location.hash) {
    show();
    return;
  }
  // Neither call fires an event, which makes `quiet` possible.
  history[instead ? 'replaceState' : 'pushState'](null, '', hash);
  show();
}

/**
 * @param {string} words
 * @param {(() => void) | null} again
 */
function failure(words, again) {
  return h(
    'div',
    { class: 'notice is-bad', role: 'alert' },
    h('p', {}, words),
    again && h('button', { type: 'button', onclick: again }, t('shell.again')),
    ' ',
    h('a', { href: '#/' }, t('shell.home')),
  );
}

/* Theme and language. */

function stored() {
  try {
    return localStorage.getItem(THEME);
  } catch {
    return null;
  }
}

/** @param {string} name */
function theme(name, { keep = true } = {}) {
  if (name === 'light' || name === 'dark') root.dataset.theme = name;
  else delete root.dataset.theme;
  if (keep)
    try {
      localStorage.setItem(THEME, name);
    } catch {
      /* Without storage the theme is not kept. */
    }
}

function nextTheme() {
  const order = ['auto', 'light', 'dark'];
  theme(order[(order.indexOf(root.dataset.theme ?? 'auto') + 1) % order.length]);
  themeButton();
}

function themeButton() {
  const now = root.dataset.theme ?? 'auto';
  /** @type {Record<string, string>} */
  const signs = { auto: '◐', light: '☀', dark: '☾' };
  text(frame.theme, signs[now]);
  const words = t('shell.theme', { theme: t(`shell.theme-${now}`) });
  frame.theme.setAttribute('aria-label', words);
  frame.theme.title = words;
}

/** @param {string} name */
async function changeLanguage(name) {
  addressNow();
  await setLanguage(name);
  shown?.page?.destroy();
  shown = null;
  draw();
  if (app) {
    nav();
    show();
  } else connect();
}

/* Help. */

/** @param {KeyboardEvent} event */
function keys(event) {
  const field = closest(event, 'input, textarea, select, [contenteditable]');
  if (event.key === '?' && !field && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    help();
  }
}

function help() {
  if (document.querySelector('dialog.help')) return;
  const rows = [{ keys: '?', what: t('shell.help') }, ...(shown?.shortcuts ?? [])];
  const dialog = h(
    'dialog',
    { class: 'help', 'aria-labelledby': 'help-title', onclose: () => dialog.remove() },
    h('h2', { id: 'help-title' }, t('shell.shortcuts')),
    h(
      'dl',
      {},
      rows.map((row) => [
        h(
          'dt',
          {},
          row.keys.split(' ').map((key) => [h('kbd', {}, key), ' ']),
        ),
        h('dd', {}, row.what),
      ]),
    ),
    h('form', { method: 'dialog' }, h('button', { class: 'primary' }, t('shell.close'))),
  );
  document.body.append(dialog);
  dialog.showModal();
}

addEventListener('unhandledrejection', (event) => {
  if (event.reason?.name !== 'ApiError') return;
  event.preventDefault();
  toast(event.reason.message, 'bad');
});
