// Fetching with the machine's own package client. apt gets a source list and a state directory of
// our own, made from the mirror that is configured; the system's lists stay as they are. What comes
// back is used only if its SHA-256 is the pinned one, so nothing hangs on the index being signed.
import fs from 'node:fs';
import path from 'node:path';
import { UserError, have, readIfThere, run, say, sha256 } from './util.mjs';

const debianArch = { x64: 'amd64', arm64: 'arm64' };
const debianSuites =
  /^(buster|bullseye|bookworm|trixie|forky|duke|sid|oldstable|stable|testing|unstable)$/;
const helper = '/usr/lib/apt/apt-helper';

/** Puts the pinned file into `downloads` if it is not there yet; returns its path. */
export function fetchPinned(dep, { file, sha256: sum }, cache, arch) {
  const target = path.join(cache, 'downloads', file);
  if (fs.existsSync(target) && sha256(fs.readFileSync(target)) === sum) return target;
  fs.mkdirSync(path.dirname(target), { recursive: true });
  const partial = `${target}.part`;
  fs.rmSync(partial, { force: true });
  try {
    const apt = aptFor(cache, arch, dep.source.suite);
    const { uri, size } = apt.locate(dep, file);
    say(`fetching ${file}${size ? ` (${(size / 1e6).toFixed(1)} MB)` : ''}`);
    run(helper, [...apt.options, 'download-file', uri, partial], { label: `downloading ${uri}` });
    const got = sha256(fs.readFileSync(partial));
    if (got !== sum) {
      throw new UserError(`${uri} has SHA-256\n  ${got}, expected\n  ${sum}; it is not used`);
    }
    fs.renameSync(partial, target);
    return target;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(
      `could not fetch ${dep.title} ${dep.version} (${file}):\n${error.message}\n` +
        `To use a local copy instead, set ${dep.env} to ` +
        (dep.source.kind === 'debian-binary'
          ? `a directory that holds ${dep.name}.h and lib${dep.name}.a (for ${arch}).`
          : `its unpacked source directory; or put ${file} into ${path.dirname(target)}.`),
    );
  } finally {
    fs.rmSync(partial, { force: true });
  }
}

/** Unpacks a Debian package into `dir`, which may hold other packages already. */
export function unpackDeb(archive, dir, ar = 'ar') {
  const data = run(ar, ['t', archive])
    .split('\n')
    .find((member) => member.startsWith('data.tar'));
  run(ar, ['x', archive, data], { cwd: dir });
  run('tar', ['-xf', data], { cwd: dir });
  fs.rmSync(path.join(dir, data));
}

const clients = new Map();

function aptFor(cache, arch, suite) {
  const key = `${arch} ${suite}`;
  if (!clients.has(key)) clients.set(key, new Apt(cache, arch, suite));
  return clients.get(key);
}

class Apt {
  constructor(cache, arch, suite) {
    if (!have('apt-get') || !fs.existsSync(helper)) {
      throw new UserError('there is no apt-get on this machine');
    }
    const dir = path.join(cache, 'apt', `${suite}-${arch}`);
    for (const sub of ['lists/partial', 'cache/archives/partial']) {
      fs.mkdirSync(path.join(dir, sub), { recursive: true });
    }
    this.options = [
      ['APT::Architecture', debianArch[arch]],
      ['APT::Architectures', debianArch[arch]],
      ['APT::Sandbox::User', process.getuid() === 0 ? 'root' : ''],
      ['Acquire::Languages', 'none'],
      ['Acquire::Retries', '2'],
      ['APT::Update::Post-Invoke-Success', ''],
      ['Dir::Etc::sourcelist', path.join(dir, 'sources.list')],
      ['Dir::Etc::sourceparts', '-'],
      ['Dir::State::lists', path.join(dir, 'lists')],
      ['Dir::State::status', '/dev/null'],
      ['Dir::Cache', path.join(dir, 'cache')],
    ].flatMap(([name, value]) => ['-o', `${name}=${value}`]);
    this.update(dir, suite);
  }

  /** Reads the suite's index from the first configured mirror that has it. */
  update(dir, suite) {
    const failures = [];
    for (const mirror of configuredMirrors()) {
      // Fresh enough for us: a pinned version does not move within a suite's life.
      const list = `deb [trusted=yes] ${mirror} ${suite} main\ndeb-src [trusted=yes] ${mirror} ${suite} main\n`;
      const stamp = path.join(dir, 'updated');
      if (readIfThere(stamp) === list) {
        this.mirror = mirror;
        return;
      }
      fs.writeFileSync(path.join(dir, 'sources.list'), list);
      say(`reading the package index of Debian ${suite}`);
      try {
        run('apt-get', [...this.options, '-o', 'APT::Update::Error-Mode=any', '-q', 'update'], {
          label: `apt-get update (Debian ${suite} from ${mirror})`,
        });
        fs.writeFileSync(stamp, list);
        this.mirror = mirror;
        return;
      } catch (error) {
        failures.push(error.message);
      }
    }
    throw new UserError(
      failures.join('\n') ||
        'no Debian mirror is configured on this machine; MOONPHASE_DEBIAN_MIRROR=URI names one',
    );
  }

  /** The address of a pinned file as the index gives it, or beside what the index has instead. */
  locate(dep, file) {
    const args =
      dep.source.kind === 'debian-source'
        ? ['--print-uris', '--download-only', 'source', dep.source.package]
        : ['--print-uris', 'download', dep.source.package];
    const output = run('apt-get', [...this.options, '-q', ...args], {
      label: `apt-get ${args.join(' ')}`,
    });
    const found = [...output.matchAll(/^'([^']+)' (\S+) (\d+)/gm)];
    const exact = found.find(([, , name]) => name === file);
    if (exact) return { uri: exact[1], size: Number(exact[3]) };
    if (!found.length) throw new UserError(`the index has no ${dep.source.package}`);
    const pool = found[0][1].slice(0, found[0][1].lastIndexOf('/') + 1);
    say(`${dep.source.package} in the index is another version (${found[0][2]})`);
    return { uri: pool + encodeURIComponent(file), size: 0 };
  }
}

/** The Debian mirrors that this machine's apt is set up with, or the one that the user names. */
export function configuredMirrors() {
  if (process.env.MOONPHASE_DEBIAN_MIRROR) return [process.env.MOONPHASE_DEBIAN_MIRROR];
  const mirrors = new Set();
  const output = run('apt-get', ['--print-uris', 'update']);
  for (const [, base, suite] of output.matchAll(/^'([^']+)\/dists\/([^/']+)\/InRelease'/gm)) {
    if (debianSuites.test(suite)) mirrors.add(base);
  }
  return mirrors;
}
