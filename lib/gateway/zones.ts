import cluster from 'node:cluster';
import { readFileSync, readdirSync, readlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { MoonphaseError } from '../errors.js';

const MEMORY = '/dev/shm';

/**
 * What the names of shared memory begin with that the processes of one server share: the process that the others were
 * started by, and when it started, since numbers come back. Names that servers of before have left are removed.
 */
export function zoneSpace(pid: number): string | undefined {
  const space = spaceOf(pid);
  if (space !== undefined) sweep();
  return space;
}

/** The dictionaries that have such names, of the server that a process has started. */
export function namedZones(pid: number): { name: string; file: string }[] {
  const space = spaceOf(pid);
  if (space === undefined) return [];
  return namesInMemory()
    .filter((file) => file.startsWith(space))
    .map((file) => ({ name: decodeName(file.slice(space.length)), file: join(MEMORY, file) }));
}

/** Of a process that a user's own program runs in: in a `node:cluster` all workers share, also what is configured. */
export function embeddedZones(): { zoneSpace: string | undefined; zonesByName: boolean } {
  const space = zoneSpace(cluster.isWorker ? process.ppid : process.pid);
  return { zoneSpace: space, zonesByName: cluster.isWorker && space !== undefined };
}

/** The names of this process's own, where it may end without giving its dictionaries back. */
export function forgetZones(): void {
  for (const { file } of namedZones(process.pid)) unlinkSync(file);
}

/** A size in bytes, or as nginx writes it: `10m`. */
export function zoneSize(size: unknown): number {
  const text = /^(\d+)([kmg]?)$/i.exec(String(size));
  const unit = 'kmg'.indexOf(text?.[2]?.toLowerCase() || '-') + 1;
  const bytes = text === null ? NaN : Number(text[1]) * 1024 ** unit;
  if ((typeof size === 'number' || typeof size === 'string') && bytes >= 8192 && bytes < 2 ** 53)
    return bytes;
  throw new MoonphaseError(
    'ERR_MOONPHASE_OPTION',
    'size is a number of bytes, at least 8192, or text such as "10m"',
  );
}

/** In which the numbers of processes are what they are here. */
function namespaceHere(): string {
  try {
    return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
  } catch {
    return '0'; // a chroot without /proc
  }
}

function spaceOf(pid: number): string | undefined {
  const started = startOf(pid);
  return started === undefined ? undefined : `moonphase-${namespaceHere()}-${pid}-${started}-`;
}

/** As native/shm/zone.cc encodes it: other bytes than these are `_` and two hex digits. */
function decodeName(text: string): string {
  const bytes = text.replace(/_([0-9a-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, 'latin1').toString();
}

/** In ticks since the boot; undefined: there is no such process. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

function namesInMemory(): string[] {
  try {
    return readdirSync(MEMORY);
  } catch {
    return []; // no such place: nothing is left there
  }
}

function sweep(): void {
  const here = namespaceHere();
  for (const name of namesInMemory()) {
    const [, namespace, pid, start] = /^moonphase-(\d+)-(\d+)-(\d+)-/.exec(name) ?? [];
    if (namespace !== here || startOf(Number(pid)) === start) continue;
    try {
      unlinkSync(join(MEMORY, name));
    } catch {
      // another user's, or gone meanwhile
    }
  }
}
