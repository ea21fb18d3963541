// Cosockets whose peers misbehave: every call says what is documented, within its timeout, and no descriptor is left.
// bench/faults.mjs does the same ten thousand times.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import t from 'tap';
import { Server } from '../helpers/server.js';
import { startPeers } from './faults/peers.mjs';
import { faultsHttp, holds, listCases, runCase, settled, stuck } from './faults/run.mjs';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mp-faults-'));
const peers = await startPeers(dir);
const server = await Server.start({ http: faultsHttp('$port', peers), errorLogLevel: 'warn' });
t.teardown(async () => {
  await server.stop('SIGTERM'); // one request sleeps for ever
  peers.stop();
  fs.rmSync(dir, { recursive: true, force: true });
});
await stuck(server.port);

// Timeouts are 60 ms; the rest is the machine's, or a sanitizer's.
const patience = process.env['MOONPHASE_SANITIZER'] ? 5000 : 2000;
for (const test of await listCases(server.port)) {
  void t.test(test.name, async (t) => {
    const before = await holds(server.port, server.pid);
    const clients = test.heavy ? 1 : 4;
    const { wrong, longest } = await runCase(server.port, peers, test, clients * 2, clients);
    t.same(wrong, [], 'nothing unexpected is answered');
    t.ok(test.heavy || longest < patience, `the longest round took ${longest} ms`);
    const after = await settled(server.port, server.pid, before.fds);
    t.ok(after.fds <= before.fds, `${after.fds} descriptors, ${before.fds} before`);
  });
}

void t.test('the log', async (t) => {
  t.notMatch(server.errorLog(), /\[(alert|emerg)\]/, 'nothing alarming is logged');
});
