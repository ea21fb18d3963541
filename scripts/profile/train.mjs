#!/usr/bin/env node
// The training run: what an addon that counts (gcc's -fprofile-generate) is made to do, so that the one that is shipped
// is built for it. kinds.mjs has the requests, nginx.conf the server; neither nginx nor redis nor the network is needed.
//   node scripts/profile/train.mjs [--rounds=1]     with the addon that lib/ finds: does everything still answer?
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { UserError, have, readIfThere } from '../deps/util.mjs';
import { Client } from './client.mjs';
import { embeddedKinds, serverKinds } from './kinds.mjs';
import { startPeers } from './peers.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.dirname(path.dirname(here));
const together = 12;

/**
 * Runs all kinds `rounds` times, less often where that would take most of `seconds`, with `node`, a command and its
 * arguments, and the addon. Answers how many requests there were; throws when one is not answered as it should be, when
 * time is over, or a process does not end well.
 */
export async function train({ node = [process.execPath], addon, rounds = 1, seconds = 60 }) {
  if (!have('openssl')) throw new UserError('missing: openssl; apt-get install openssl');
  const begun = Date.now();
  const after = (share) => begun + seconds * 1000 * share;
  const env = { ...process.env, ...(addon ? { MOONPHASE_ADDON: addon } : {}) };
  delete env.NODE_OPTIONS;
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'moonphase-training-'));
  const peers = await startPeers();
  try {
    const ports = { ...peers.ports, ...(await freePorts('http', 'tls', 'h2c')) };
    prepare(dir, ports);
    const command = [
      'dist/cli/nginx.cjs',
      'run',
      '-p',
      `${dir}/`,
      '-c',
      'nginx.conf',
      '-e',
      'error.log',
    ];
    const server = start([...node, path.join(root, command[0]), ...command.slice(1)], env);
    const log = () => readIfThere(path.join(dir, 'error.log'));
    let total = await within(server, after(1), log, async () => {
      await listens(ports.http, server);
      return drive(serverKinds, new Client(ports), rounds, after(0.5));
    });
    await server.end(() => server.child.kill('SIGQUIT'), log);

    const embedded = start([...node, path.join(here, 'embedded.mjs')], env);
    total += await within(embedded, after(1), undefined, async () =>
      drive(embeddedKinds, new Client({ http: await embedded.line() }), rounds, after(0.7)),
    );
    await embedded.end(() => embedded.child.stdin.end());
    return total;
  } finally {
    peers.close();
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

/** The server's directory. */
function prepare(dir, names) {
  fs.mkdirSync(path.join(dir, 'html'));
  fs.writeFileSync(path.join(dir, 'html/page.html'), '<p>some html</p>'.repeat(128));
  const text = fs.readFileSync(path.join(here, 'nginx.conf'), 'utf8');
  fs.writeFileSync(
    path.join(dir, 'nginx.conf'),
    text.replace(/@([a-z0-9]+)@/g, (all, name) => names[name] ?? all),
  );
  const certificate =
    'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=training.test';
  const files = ['-keyout', `${dir}/key.pem`, '-out', `${dir}/certificate.pem`];
  execFileSync('openssl', [...certificate.split(' '), ...files], { stdio: 'ignore' });
}

/** All kinds, evenly mixed, `together` at a time; once at least, and then no round begins later than `enough`. */
async function drive(kinds, client, rounds, enough) {
  let total = 0;
  try {
    for (let round = 0; !round || (round < rounds && Date.now() < enough); ++round) {
      const queue = mixed(kinds);
      total += queue.length;
      const next = async () => {
        for (let each = queue.shift(); each; each = queue.shift()) {
          const [name, number, request] = each;
          try {
            await request(client, number);
          } catch (error) {
            throw new UserError(`training: ${name}: ${error.message}`);
          }
        }
      };
      await Promise.all(Array.from({ length: together }, next));
    }
  } finally {
    client.close();
  }
  return total;
}

/** `[name, number, request]` in an order that is always the same, each kind spread over the whole of it. */
function mixed(kinds) {
  return Object.entries(kinds)
    .flatMap(([name, [count, request]]) =>
      Array.from({ length: count }, (_, i) => ({
        at: (i + 0.5) / count,
        each: [name, i, request],
      })),
    )
    .sort((a, b) => a.at - b.at)
    .map(({ each }) => each);
}

/** A process, what it prints, and how it ended. */
function start([program, ...args], env) {
  const child = spawn(program, args, { env, cwd: root, stdio: ['pipe', 'pipe', 'pipe'] });
  const process = { child, output: '', code: undefined };
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data) => (process.output += data));
  process.exited = new Promise((done) => {
    child.on('error', (error) => done(error.message));
    child.on('close', (code, signal) => done(code ?? signal));
  }).then((code) => (process.code = code));
  process.line = async () => {
    while (!process.output.includes('\n')) {
      if (process.code !== undefined) throw new UserError('training: it did not start');
      await sleep(50);
    }
    return Number.parseInt(process.output, 10);
  };
  /** Ends it: counts are written as a process exits. */
  process.end = async (ask, log) => {
    ask();
    const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
    const code = await process.exited;
    clearTimeout(timer);
    if (code !== 0) throw told(new UserError(`training: it ended with ${code}`), process, log);
  };
  return process;
}

/** `work`, cut short when its process ends or time is over; the process does not outlive a failure. */
async function within(process, until, log, work) {
  let timer;
  const over = new Promise((_, fail) => {
    const late = () => fail(new UserError('training takes too long'));
    timer = setTimeout(late, until - Date.now());
    process.exited.then((code) => fail(new UserError(`training: the process ended with ${code}`)));
  });
  over.catch(() => {});
  try {
    return await Promise.race([over, work()]);
  } catch (error) {
    process.child.kill('SIGKILL');
    throw told(error, process, log);
  } finally {
    clearTimeout(timer);
  }
}

function told(error, process, log = () => '') {
  error.message += `\n${process.output}${log().split('\n').slice(-20).join('\n')}`;
  return error;
}

async function listens(port, process) {
  while (process.code === undefined) {
    const open = await new Promise((done) => {
      const socket = net.connect(port, '127.0.0.1');
      socket.on('connect', () => done(true)).on('error', () => done(false));
      socket.on('connect', () => socket.destroy());
    });
    if (open) return;
    await sleep(50);
  }
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function freePorts(...names) {
  const servers = await Promise.all(
    names.map(
      () =>
        new Promise((done) => {
          const server = net.createServer().listen(0, '127.0.0.1', () => done(server));
        }),
    ),
  );
  const ports = servers.map((server) => server.address().port);
  for (const server of servers) server.close();
  return Object.fromEntries(names.map((name, i) => [name, ports[i]]));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const rounds = Number(/--rounds=(\d+)/.exec(process.argv.join(' '))?.[1] ?? 1);
  const started = Date.now();
  try {
    const total = await train({ rounds });
    console.log(`${total} requests answered (${((Date.now() - started) / 1000).toFixed(1)} s)`);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    console.error(`moonphase: ${error.message}`);
    process.exitCode = 1;
  }
}
