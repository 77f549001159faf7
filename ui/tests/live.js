// The live page of a cluster that is made up: live.html?{"servers":5,"isolated":[2]}&lang=es. What
// stands in the address goes to `cluster` (cluster.js).

import { loadStrings } from '/ui/js/i18n.js';
import page from '/ui/js/live.js';
import { cluster } from './cluster.js';
import { present } from './present.js';

const asked = decodeURIComponent(location.search.slice(1).split('&')[0] || '{}');
const told = `event: message\ndata: ${JSON.stringify(cluster(JSON.parse(asked)))}\n\n`;
const real = window.fetch.bind(window);
window.fetch = (address, options) => {
  if (!String(address).startsWith('/v1/')) return real(address, options);
  // One state, and then nothing more.
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(told));
    },
  });
  return Promise.resolve(new Response(body, { headers: { 'content-type': 'text/event-stream' } }));
};
await loadStrings('shell', 'stage', 'live');
page(present(document.getElementById('page')), {
  app: { app: 'proxy', chaos: true, token: false, pages: ['live', 'tour'], home: 'live' },
  params: {},
  rest: [],
  navigate() {},
  shortcuts() {},
});
