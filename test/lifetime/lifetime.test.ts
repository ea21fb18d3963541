// Clients that go away while a request waits, reloads under load, workers that are ended: nothing crashes, nothing is
// left. `npm run soak` does the same for longer.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { Server, root, sleep } from '../helpers/server.js';
import { extendedHttp, extendedPlaces, get, http, leave, places } from './scenarios.mjs';

const variants = [
  { name: 'strict', http, places },
  { name: 'extended', http: extendedHttp, places: extendedPlaces },
];

/** Sockets that the process has: what is left when no client is there any more. */
function sockets(pid: number): number {
  return fs.readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return fs.readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:');
    } catch {
      return false;
    }
  }).length;
}

async function settled(t: Test, server: Server, before: number): Promise<void> {
  let now = Number.NaN;
  for (let i = 0; i < 100; ++i) {
    now = sockets(server.pid);
    if (now <= before) break;
    await sleep(50);
  }
  t.ok(now <= before, `no connection is left: ${now} sockets, ${before} before`);
  t.notMatch(server.errorLog(), /\[(alert|emerg|crit)\]/, 'nothing alarming is logged');
}

for (const { name, http, places } of variants) {
  t.test(`clients go away: ${name}`, async (t) => {
    const server = await Server.start({ http, errorLogLevel: 'info' });
    t.teardown(() => server.stop());
    await get(server.port, '/ok');
    const before = sockets(server.pid);
    for (const place of places) {
      const clients: Promise<void>[] = [];
      for (const ms of [0, 5, 30, 120])
        for (const reset of [false, true]) clients.push(leave(server.port, place, ms, reset));
      await Promise.all(clients);
      t.equal(await get(server.port, '/ok'), 'ok\n', place.name);
    }
    await sleep(500);
    await settled(t, server, before);
    t.ok(Number(await get(server.port, '/aborted')) >= 4, 'ngx.on_abort saw who went away');
  });

  t.test(`the Lua heap does not grow with clients that go away: ${name}`, async (t) => {
    const server = await Server.start({ http });
    t.teardown(() => server.stop());
    const round = async (): Promise<number> => {
      for (let i = 0; i < 4; ++i)
        await Promise.all(
          places.flatMap((place) =>
            [10, 20].map((ms) => leave(server.port, place, ms, i % 2 === 0)),
          ),
        );
      await sleep(600);
      return Number(await get(server.port, '/memory'));
    };
    await round();
    const first = await round();
    const second = await round();
    t.ok(second - first < 100, `${first} KB, then ${second} KB`);
  });
}

t.test('HUP under load loses nothing', async (t) => {
  for (const workers of [0, 1]) {
    const server = await Server.start({ http, workers, errorLogLevel: 'notice' });
    t.teardown(() => server.stop());
    let asked = 0;
    let lost = 0;
    let over = false;
    const clients = Array.from({ length: 8 }, async (_, i) => {
      while (!over) {
        const target = ['/ok', '/sleep', '/thread', '/subrequest'][i % 4] as string;
        ++asked;
        if (!(await get(server.port, target))) ++lost;
      }
    });
    for (let i = 0; i < 4; ++i) {
      await sleep(400);
      server.signal('SIGHUP');
    }
    await sleep(600);
    over = true;
    await Promise.all(clients);
    t.equal(lost, 0, `${asked} requests, ${workers ? 'with a primary' : 'in one process'}`);
    t.notMatch(server.errorLog(), /\[(alert|emerg|crit|error)\]/);
  }
});

for (const { name, http, places } of variants) {
  t.test(`ends at every place: ${name}`, async (t) => {
    for (const signal of ['SIGTERM', 'SIGQUIT'] as const) {
      const server = await Server.start({ http });
      const clients = places.map((place) => leave(server.port, place, 400, false));
      await sleep(150);
      t.equal(await server.stop(signal), 0, `${signal} with a request at each place`);
      await Promise.all(clients);
    }
  });
}

// A sanitizer keeps freed memory for a while: the process grows whatever it does.
const measured = process.env['MOONPHASE_SANITIZER'] === undefined;
t.test('reloads and a VM for each request leave no memory behind', { skip: !measured }, (t) => {
  const script = path.join(root, 'bench/reloads.mjs');
  const { status, stdout } = spawnSync(
    process.execPath,
    [script, '--reloads=40', '--requests=160', '--clients=2'],
    { encoding: 'utf8', timeout: 120_000 },
  );
  t.equal(status, 0, stdout);
  t.end();
});
