// Small helpers of scripts/deps.mjs: running programs, hashing, locking, telling what is going on.
import { spawn, spawnSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

/** An error whose message is all that the user needs: it is printed without a stack. */
export class UserError extends Error {}

export const say = (text) => process.stderr.write(`moonphase deps: ${text}\n`);

export const have = (program) =>
  (process.env.PATH ?? '').split(path.delimiter).some((dir) => {
    try {
      fs.accessSync(path.join(dir, program), fs.constants.X_OK);
      return fs.statSync(path.join(dir, program)).isFile();
    } catch {
      return false;
    }
  });

/** Runs a program to its end; its output is shown only if it fails. */
export function run(program, args, { label, ...options } = {}) {
  const result = spawnSync(program, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    ...options,
    env: { ...process.env, LC_ALL: 'C', ...options.env },
  });
  if (result.error) throw new UserError(`cannot run ${program}: ${result.error.message}`);
  if (result.status !== 0) {
    const output = `${result.stdout ?? ''}${result.stderr ?? ''}`.trim().split('\n').slice(-40);
    throw new UserError(`${label ?? `${program} ${args.join(' ')}`} failed:\n${output.join('\n')}`);
  }
  return result.stdout;
}

/** Runs commands `[program, args]`, `jobs` at a time. */
export async function runAll(commands, jobs, options) {
  const queue = [...commands];
  const next = async () => {
    for (let command = queue.shift(); command; command = queue.shift()) {
      const [program, args] = command;
      await new Promise((resolve, reject) => {
        const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
        let output = '';
        child.stdout.on('data', (data) => (output += data));
        child.stderr.on('data', (data) => (output += data));
        child.on('error', reject);
        child.on('close', (code) =>
          code === 0
            ? resolve()
            : reject(new UserError(`${program} ${args.join(' ')} failed:\n${output.trim()}`)),
        );
      });
    }
  };
  await Promise.all(Array.from({ length: jobs }, next));
}

export const sha256 = (data) => crypto.createHash('sha256').update(data).digest('hex');

export function readJson(file) {
  return JSON.parse(fs.readFileSync(file, 'utf8'));
}

/** The content of `file`, or '' if there is none. */
export function readIfThere(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** A directory made anew. */
export function emptyDir(dir) {
  fs.rmSync(dir, { recursive: true, force: true });
  fs.mkdirSync(dir, { recursive: true });
  return dir;
}

/** Files below `dir`, as paths relative to it. */
export function filesBelow(dir) {
  return fs
    .readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.relative(dir, path.join(entry.parentPath ?? entry.path, entry.name)))
    .sort();
}

/** Holds `dir`/.lock while `work` runs; waits for another process that holds it. */
export async function withLock(dir, work) {
  const lock = path.join(dir, '.lock');
  fs.mkdirSync(dir, { recursive: true });
  for (let told = false; ;) {
    try {
      fs.writeFileSync(lock, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const holder = Number(readIfThere(lock));
    if (holder && !alive(holder)) {
      fs.rmSync(lock, { force: true });
      continue;
    }
    if (!told) say(`waiting for process ${holder}, which works in ${dir}`);
    told = true;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  try {
    return await work();
  } finally {
    fs.rmSync(lock, { force: true });
  }
}

function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
