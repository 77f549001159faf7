// The editor for one key: which resource it asks, and that a value comes back as it was read.

import { keyPath } from '/ui/js/live/key-value.js';
import { Keys } from '/ui/js/live/keys.js';
import { State } from '/ui/js/live/state.js';
import { cluster } from './cluster.js';
import { present } from './present.js';

const bytes = (/** @type {string} */ text) => new TextEncoder().encode(text);

/**
 * The editor before a server that has this item; `asked` are the requests it receives.
 * @param {Partial<KeyItem>} item
 */
function editor(item) {
  const host = document.createElement('div');
  document.body.append(host);
  const keys = Keys(host);
  /** @type {{url: unknown, method: string | undefined, body: number[] | null}[]} */
  const asked = [];
  const real = window.fetch;
  window.fetch = async (url, { method, body } = {}) => {
    const sent = typeof body === 'string' ? bytes(body) : /** @type {Uint8Array} */ (body);
    asked.push({ url, method, body: body === undefined ? null : [...sent] });
    return new Response(
      JSON.stringify(method === 'GET' ? { ...item, version: 4 } : { key: item.key, version: 5 }),
    );
  };
  /** @type {NodeListOf<HTMLButtonElement>} */
  const [get, put] = host.querySelectorAll('.keys-editor > .row > button');
  const settled = async () => {
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    await new Promise((done) => {
      setTimeout(done);
    });
  };
  return {
    host,
    keys,
    asked,
    input: /** @type {HTMLInputElement} */ (host.querySelector('#live-key')),
    press: async (/** @type {'get' | 'put'} */ name) => {
      ({ get, put })[name].click();
      await settled();
    },
    choose: async () => {
      /** @type {HTMLElement} */ (host.querySelector('tbody button')).click();
      await settled();
    },
    end: () => {
      window.fetch = real;
      host.remove();
    },
  };
}

/** @type {PageTests} */
export const tests = {
  async 'a key is named without anything that a browser normalizes'(equal) {
    equal(keyPath(bytes('.')), '/v1/key/Lg');
    equal(keyPath(bytes('..')), '/v1/key/Li4');
    equal(keyPath(new Uint8Array([0xfb, 0xff, 0xfe])), '/v1/key/-__-');
    for (const key of ['.', '..', 'a/../b', '%2e', ' ', 'ä']) {
      const path = keyPath(bytes(key));
      equal(new URL(path, 'http://localhost').pathname, path);
    }
  },

  async 'a value that is read and put back is the same'(equal) {
    for (const value of ['a\r\nb', 'a\rb', '\n', 'plain', 'ä\r\n€']) {
      const page = editor({ key: 'k', value });
      page.input.value = 'k';
      await page.press('get');
      await page.press('put');
      page.end();
      const put = present(page.asked.find((request) => request.method === 'PUT'));
      equal(put.body, [...bytes(value)]);
      equal(put.url, '/v1/key/aw');
    }
  },

  async 'a chosen key is asked for by its bytes'(equal) {
    for (const { url, ...item } of [
      { key: 'a\nb', url: '/v1/key/YQpi' },
      { key: '/w==', key_encoding: 'base64', url: '/v1/key/_w' },
      { key: '..', url: '/v1/key/Li4' },
    ]) {
      const shown = { ...item, value: 'v', version: 4 };
      const page = editor(shown);
      const state = new State();
      state.status = { ...cluster(), keys: { items: [shown], more: false, fresh: true } };
      page.keys.update(state);
      await page.choose();
      page.end();
      equal(page.asked[0].url, url);
    }
  },
};
