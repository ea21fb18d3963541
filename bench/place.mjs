// Where a server of a bench or soak run lives.
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

/** A new directory with what nginx expects below its prefix. */
export function makePrefix(name) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `moonphase-${name}-`));
  for (const sub of ['conf', 'logs']) fs.mkdirSync(path.join(dir, sub));
  return dir;
}

/** A port of the loopback that nobody listens on. */
export function freePort() {
  return new Promise((done) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}
