// What the tests of libraries share. MOONPHASE_TEST_LIBS names a directory with checkouts of those that Debian does not
// package, side by side; BLOCKS_KIND=nginx runs the same Lua on Debian's nginx.
import fs from 'node:fs';
import { type Test } from 'tap';
import { parseBlocks } from '../helpers/blocks.js';
import { request } from '../helpers/http.js';
import { type Kind, Server } from '../helpers/server.js';

const checkouts = process.env['MOONPHASE_TEST_LIBS'] ?? '';
const kind = (process.env['BLOCKS_KIND'] ?? 'moonphase') as Kind;

/** For `skip`: what is missing of these checkouts, or false. */
export function lacks(...names: readonly string[]): string | false {
  const missing = names.filter((name) => !fs.existsSync(`${checkouts}/${name}`));
  return missing.length > 0 && `no checkout of ${missing.join(', ')}`;
}

/** A checkout's own file. */
export const checkoutFile = (name: string): string => `${checkouts}/${name}`;

/** Where `require` looks for these checkouts. */
export const luaPath = (...names: readonly string[]): string =>
  names
    .flatMap((name) =>
      [`lib/?.lua`, `lib/?/init.lua`, `?.lua`, `?/init.lua`].map(
        (end) => `${checkouts}/${name}/${end}`,
      ),
    )
    .join(';');

/** Certificates of test.com and other.com and a client's, of one authority, below tls/. */
export const tlsFiles: Readonly<Record<string, string>> = parseBlocks(
  fs.readFileSync(new URL('../lua/tls.blocks', import.meta.url), 'latin1'),
).files;
export const serverTls = {
  key: tlsFiles['tls/test.key'] ?? '',
  cert: tlsFiles['tls/test.crt'] ?? '',
};

export interface Answers {
  /** Runs as the content handler of /t. */
  readonly lua: string;
  readonly expected: readonly string[];
  /** lua_package_path, before the default one. */
  readonly path: string;
  readonly locations?: string;
  readonly http?: string;
  readonly files?: Readonly<Record<string, string>>;
  /** Several, to see what a second request finds in the pools (2). */
  readonly times?: number;
  readonly errors?: RegExp;
}

/** Starts a server and asks it; the lines that come back must be `expected`, each time. */
export async function answers(t: Test, options: Answers): Promise<Server> {
  const server = await Server.start({
    kind,
    files: { ...tlsFiles, ...options.files },
    http: `
      lua_package_path "${options.path};;";
      ${options.http ?? ''}
      server {
        listen 127.0.0.1:$port;
        location = /t { lua_socket_log_errors off; content_by_lua_block { ${options.lua} } }
        ${options.locations ?? ''}
      }`,
  });
  t.teardown(() => server.stop());
  for (let i = 0; i < (options.times ?? 2); ++i) {
    const answer = await request(server.port, '/t', { ms: 20_000 }).catch((error: Error) => {
      throw new Error(`${error.message}\n${server.errorLog()}`);
    });
    const same = t.same(answer.body.trim().split('\n'), options.expected, `request ${i + 1}`);
    if (!same) t.comment(server.errorLog());
  }
  t.notMatch(server.errorLog(), options.errors ?? /\[(error|alert|crit|emerg)\]/);
  return server;
}
