// node-redis with its defaults, against the proxy at the port given.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const { createClient } = createRequire(`${process.env.CLIENT_LIBRARY}/`)('redis');
const url = `redis://127.0.0.1:${process.argv[2]}`;

for (const options of [{}, { RESP: 2 }, { RESP: 3 }, { name: 'me' }, { username: 'default', password: 'any' }]) {
  const client = await createClient({ url, ...options }).connect();
  assert.equal(await client.set('node', '1'), 'OK');
  assert.equal(await client.get('node'), '1');
  assert.equal(await client.get('node:none'), null);
  assert.equal(await client.incr('node'), 2);
  assert.deepEqual(await client.mGet(['node', 'node:none']), ['2', null]);
  assert.equal(await client.set('node', '3', { NX: true }), null);
  assert.equal(await client.exists(['node', 'node:none']), 1);
  assert.deepEqual({ ...(await client.configGet('save')) }, { save: '' });
  assert.match(await client.info('server'), /redis_version:7\./);
  assert.ok((await client.clientId()) > 0);
  for (let n = 0; n < 30; n += 1) await client.set(`node:${n}`, 'x');
  const found = [];
  for await (const keys of client.scanIterator({ MATCH: 'node:*', COUNT: 7 })) found.push(...keys);
  assert.equal(found.length, 30);

  // A transaction is refused as a whole.
  await assert.rejects(client.multi().set('node', 'transaction').incr('node:count').exec());
  assert.equal(await client.get('node'), '2');
  assert.equal(await client.get('node:count'), null);
  assert.equal(await client.del(['node', ...found]), 31);
  await client.close();
}
console.log('ok');
