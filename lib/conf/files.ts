import { readdirSync, readFileSync, statSync } from 'node:fs';
import { posix as path } from 'node:path';

/** Reads a file as bytes. */
export function readBytes(file: string): string {
  return readFileSync(Buffer.from(file, 'latin1'), 'latin1');
}

/** `(2: No such file or directory)`, as nginx ends the sentence about a failed call. */
export function errnoText(error: unknown): string {
  const { code, errno, message } = error as NodeJS.ErrnoException;
  const known: Record<string, string> = {
    ENOENT: 'No such file or directory',
    EACCES: 'Permission denied',
    EISDIR: 'Is a directory',
    ENOTDIR: 'Not a directory',
    ELOOP: 'Too many levels of symbolic links',
    EMFILE: 'Too many open files',
  };
  return `(${errno === undefined ? '?' : -errno}: ${known[code ?? ''] ?? message})`;
}

/** A path under a directory (which ends in a slash), unless it is absolute. */
export function under(directory: string, name: string): string {
  return name.startsWith('/') ? name : directory + name;
}

export function isGlob(name: string): boolean {
  return /[*?[]/.test(name);
}

/** Files that match an absolute pattern, in the order of their bytes, as glob(3) finds them. */
export function glob(pattern: string): string[] {
  let found = [''];
  for (const part of pattern.split('/').slice(1)) {
    const next: string[] = [];
    for (const dir of found) {
      if (!isGlob(part)) {
        next.push(`${dir}/${part}`);
        continue;
      }
      const matches = matcher(part);
      for (const name of names(dir === '' ? '/' : dir)) {
        if (matches.test(name) && (!name.startsWith('.') || part.startsWith('.')))
          next.push(`${dir}/${name}`);
      }
    }
    found = next;
  }
  const exists = found.filter((file) => {
    try {
      statSync(Buffer.from(file, 'latin1'));
      return true;
    } catch {
      return false;
    }
  });
  return exists.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

function names(dir: string): string[] {
  try {
    return readdirSync(Buffer.from(dir, 'latin1'), 'latin1');
  } catch {
    return [];
  }
}

function matcher(part: string): RegExp {
  let source = '';
  for (let i = 0; i < part.length; i++) {
    const ch = part.charAt(i);
    if (ch === '*') source += '[^/]*';
    else if (ch === '?') source += '[^/]';
    else if (ch === '\\') source += quote(part.charAt(++i));
    else if (ch === '[') {
      const end = part.indexOf(']', i + 2);
      if (end < 0) {
        source += '\\[';
        continue;
      }
      const set = part.slice(i + 1, end);
      source += `[${set.replace(/^[!^]/, '^').replaceAll('\\', '\\\\')}]`;
      i = end;
    } else source += quote(ch);
  }
  return new RegExp(`^${source}$`, 's');
}

function quote(ch: string): string {
  return ch.replace(/[\\^$.*+?()[\]{}|/]/, '\\$&');
}

/** The directory of a file, with a trailing slash. */
export function directoryOf(file: string): string {
  const dir = path.dirname(file);
  return dir.endsWith('/') ? dir : `${dir}/`;
}
