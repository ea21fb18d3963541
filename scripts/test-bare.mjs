#!/usr/bin/env node
// npm run test:bare: installs the packed file on a bare Debian 11, without a compiler and without a network, serves
// examples/hello there by `npx moonphase serve` and asks it. Node and npm come from the npm registry.
//   node scripts/test-bare.mjs [x64|arm64]    arm64 runs under qemu-user
// Needs root (chroot) and debootstrap; arm64 also qemu-user-static, and binfmt_misc, which it sets up if it has to.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { configuredMirrors } from './deps/fetch.mjs';
import { UserError, emptyDir, have, run } from './deps/util.mjs';
import { fetchNode } from './prebuild/nodes.mjs';
import { installInto, pack } from './prebuild/pack.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const cache = path.resolve(process.env.MOONPHASE_DEPS_CACHE ?? path.join(root, 'build/deps'));
const arch = process.argv[2] ?? process.arch;
const debian = { x64: 'amd64', arm64: 'arm64' }[arch];
const npmVersion = '10.9.2';

try {
  await main();
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error(`moonphase: ${error.message}`);
  process.exitCode = 1;
}

async function main() {
  if (process.getuid() !== 0) throw new UserError('needs root, for chroot');
  const foreign = arch !== process.arch;
  const wanted = ['debootstrap', ...(foreign ? ['qemu-aarch64-static'] : [])];
  const missing = wanted.filter((name) => !have(name));
  if (missing.length) {
    throw new UserError(
      `missing: ${missing.join(', ')}; apt-get install debootstrap qemu-user-static`,
    );
  }
  if (foreign) registerEmulator();
  const system = bareSystem(foreign);
  const work = emptyDir(path.join(cache, `bare-work-${arch}`));
  try {
    const packed = pack(root, work);
    const node = fetchNode(root, cache, arch, '20');
    fs.copyFileSync(path.join(node, 'bin/node'), path.join(system, 'usr/local/bin/node'));
    // What npm asks the registry for is taken from a cache that is filled here.
    installInto(path.join(work, 'fill'), packed.file, path.join(work, 'npm-cache'));
    const home = emptyDir(path.join(system, 'home/bare'));
    installNpm(work, path.join(system, 'usr/local/lib/npm'));
    fs.cpSync(path.join(work, 'npm-cache'), path.join(home, 'npm-cache'), { recursive: true });
    fs.copyFileSync(packed.file, path.join(home, packed.filename));
    fs.cpSync(path.join(root, 'examples/hello'), path.join(home, 'hello'), { recursive: true });
    fs.writeFileSync(path.join(home, 'package.json'), '{ "private": true }\n');
    await use(system, packed);
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
}

async function use(system, packed) {
  const npm = 'cd /home/bare && exec node /usr/local/lib/npm/package/bin';
  const inside = (command, options) => ['chroot', [system, '/bin/sh', '-c', command], options];
  const told = (command) => {
    const started = Date.now();
    const [program, args] = inside(command);
    const output = run(program, args, {
      env: { HOME: '/home/bare', PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin' },
    });
    return { output: output.trim(), seconds: ((Date.now() - started) / 1000).toFixed(1) };
  };
  const about = told(
    '. /etc/os-release; echo "$PRETTY_NAME, $(node -v) $(node -p process.arch), $(command -v gcc g++ cc make python3 | wc -l) build tools"',
  );
  console.log(about.output);
  if (!about.output.includes(', 0 build tools')) throw new UserError('the system is not bare');
  const installed = told(
    `${npm}/npm-cli.js install --offline --ignore-scripts --no-audit --no-fund --cache=/home/bare/npm-cache ./${packed.filename}`,
  );
  console.log(
    `npm install, offline, without scripts: ${installed.seconds} s (${(packed.size / 1e6).toFixed(2)} MB packed)`,
  );

  const port = await freePort();
  const conf = path.join(system, 'home/bare/hello/conf/nginx.conf');
  fs.writeFileSync(
    conf,
    fs.readFileSync(conf, 'utf8').replace('listen 8080', `listen 127.0.0.1:${port}`),
  );
  const started = Date.now();
  const [program, args] = inside(`${npm}/npx-cli.js --offline moonphase serve -p hello`);
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { HOME: '/home/bare', PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin' },
  });
  let said = '';
  child.stdout.on('data', (data) => (said += data));
  child.stderr.on('data', (data) => (said += data));
  try {
    const answer = await ask(port, Date.now() + 120_000, () => child.exitCode);
    console.log(
      `first answer after ${((Date.now() - started) / 1000).toFixed(1)} s: ${JSON.stringify(answer)}`,
    );
    if (answer !== 'Hello from Lua in Node.js!\n') throw new UserError(`unexpected:\n${said}`);
    console.log('1 passed, 0 failed, 0 skipped');
  } catch (error) {
    throw new UserError(`${error.message}\n${said}`);
  } finally {
    if (child.exitCode === null) process.kill(-child.pid, 'SIGTERM');
  }
}

function ask(port, until, exitCode) {
  return new Promise((resolve, reject) => {
    const again = (error) => {
      if (Date.now() > until || exitCode() !== null) return reject(error);
      setTimeout(attempt, 20);
    };
    const attempt = () =>
      http
        .get({ host: '127.0.0.1', port, path: '/hello' }, (response) => {
          let text = '';
          response.on('data', (data) => (text += data));
          response.on('end', () => resolve(text));
        })
        .on('error', again);
    attempt();
  });
}

function freePort() {
  return new Promise((resolve) => {
    const probe = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/** Debian 11 with nothing but what it cannot be without; made once. */
function bareSystem(foreign) {
  const dir = path.join(cache, `bare-debian11-${arch}`);
  const mark = path.join(dir, 'etc/moonphase-complete');
  if (fs.existsSync(mark)) return dir;
  emptyDir(dir);
  console.error('moonphase: debootstrap of Debian 11');
  const [mirror] = configuredMirrors();
  if (!mirror) throw new UserError('no Debian mirror is configured on this machine');
  const options = ['--variant=minbase', `--arch=${debian}`, '--include=libstdc++6'];
  // What it mounts goes with it, should it be cut off: the next run empties the directory.
  const debootstrap = ['--mount', 'debootstrap', ...options, ...(foreign ? ['--foreign'] : [])];
  run('unshare', [...debootstrap, 'bullseye', dir, mirror]);
  if (foreign) run('chroot', [dir, '/debootstrap/debootstrap', '--second-stage']);
  fs.writeFileSync(mark, '');
  return dir;
}

function installNpm(work, dir) {
  emptyDir(dir);
  run('npm', ['pack', '--silent', '--pack-destination', work, `npm@${npmVersion}`]);
  run('tar', ['-xzf', path.join(work, `npm-${npmVersion}.tgz`), '-C', dir]);
}

/** The kernel starts arm64 programs by qemu, in the chroot too (flag F). */
function registerEmulator() {
  const place = '/proc/sys/fs/binfmt_misc';
  if (!fs.existsSync(`${place}/register`)) run('mount', ['-t', 'binfmt_misc', 'none', place]);
  if (fs.existsSync(`${place}/qemu-aarch64`)) return;
  const magic = '\\x7f\\x45\\x4c\\x46\\x02\\x01\\x01' + '\\x00'.repeat(9) + '\\x02\\x00\\xb7\\x00';
  const mask = '\\xff'.repeat(7) + '\\x00' + '\\xff'.repeat(8) + '\\xfe\\xff\\xff\\xff';
  const line = `:qemu-aarch64:M::${magic}:${mask}:/usr/bin/qemu-aarch64-static:F`;
  const { status } = spawnSync('sh', ['-c', `printf %s '${line}' > ${place}/register`]);
  if (status !== 0) throw new UserError(`cannot register qemu-aarch64-static in ${place}`);
}
