import { closeSync, openSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { native, type SharedDict, type SharedValue } from '../binding.js';
import { namedZones } from '../gateway/zones.js';

const HELP = `Usage: moonphase shdict COMMAND [options]

The shared dictionaries of a running server:
  list                       all of them, and what is counted
  get NAME KEY               a value, as JSON
  set NAME KEY VALUE         VALUE is text; --json: a number, true, false, or where the dictionary takes them an object
  del NAME KEY
  dump NAME                  a line of JSON per entry: key, value, ttl

Options:
  -p, --prefix, -c, --config, -g, --globals   as of "moonphase reload": they say which server
  --pid PID                                   its process id instead
  --ttl SECONDS                               set: how long it lives (default: for ever)
  --json                                      set: VALUE is JSON
`;

const OPTIONS = {
  prefix: { type: 'string', short: 'p' },
  config: { type: 'string', short: 'c' },
  globals: { type: 'string', short: 'g' },
  pid: { type: 'string' },
  ttl: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

const ARGUMENTS: Readonly<Record<string, number>> = { list: 0, get: 2, set: 3, del: 2, dump: 1 };

/** Which server: the options that every command has. */
export interface ServerOptions {
  readonly prefix: string | undefined;
  readonly config: string | undefined;
  readonly globals: string | undefined;
}

interface Zone {
  readonly name: string;
  /** A path below /proc or /dev/shm. */
  readonly file: string;
}

/** `moonphase shdict`. `findPid` says which process has written the configuration's pid file. The result is the exit code. */
export function shdict(
  args: readonly string[],
  findPid: (server: ServerOptions) => number | undefined,
): number {
  let parsed;
  try {
    parsed = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    return complain((error as Error).message, 2);
  }
  const { values, positionals } = parsed;
  const [command = '', ...rest] = positionals;
  if (values.help === true || command === '') {
    process.stdout.write(HELP);
    return values.help === true ? 0 : 2;
  }
  const wanted = ARGUMENTS[command];
  if (wanted === undefined) return complain(`unknown command "shdict ${command}"`, 2);
  if (rest.length !== wanted) return complain(`"shdict ${command}" takes ${wanted} arguments`, 2);
  const ttl = Number(values.ttl ?? 0);
  if (!(ttl >= 0)) return complain('--ttl takes seconds', 2);
  if (values.pid !== undefined && !/^[1-9][0-9]*$/.test(values.pid)) {
    return complain('--pid takes a process id', 2);
  }
  const { prefix, config, globals } = values;
  const pid = values.pid === undefined ? findPid({ prefix, config, globals }) : Number(values.pid);
  if (pid === undefined) return 1;
  try {
    const zones = zonesOf(pid);
    if (command === 'list') return list(zones);
    const [name = '', key = '', value = ''] = rest;
    const zone = zones.find((z) => z.name === name);
    if (zone === undefined) {
      return complain(`process ${pid} has no shared dictionary "${name}"`, 1);
    }
    return run(open(zone), command, key, value, { ttl, json: values.json === true });
  } catch (error) {
    return complain(words(error, pid), 1);
  }
}

function complain(message: string, code: number): number {
  process.stderr.write(`moonphase: ${message}\n`);
  return code;
}

function words(error: unknown, pid: number): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'EACCES' || code === 'EPERM') {
    return `the memory of process ${pid} may be opened by root and by its own user only`;
  }
  return code === 'ENOENT' ? `there is no process ${pid}` : message;
}

/**
 * The primary (or the only process) holds a descriptor of each dictionary's memory, a memfd that carries its name. The
 * kernel lets open it who may trace that process.
 */
function zonesOf(pid: number): Zone[] {
  const dir = `/proc/${pid}/fd`;
  const zones = new Map<string, Zone>();
  for (const fd of readdirSync(dir)) {
    let target: string;
    try {
      target = readlinkSync(`${dir}/${fd}`);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue; // closed meanwhile
      throw error;
    }
    const name = /^\/memfd:moonphase:(.*) \(deleted\)$/s.exec(target)?.[1];
    // of two of the same name the later one is the configuration's, the other that of requests which end
    if (name !== undefined) zones.set(name, { name, file: `${dir}/${fd}` });
  }
  // those that were created while it runs, by it or its workers
  for (const { name, file } of namedZones(pid))
    if (!zones.has(name)) zones.set(name, { name, file });
  return [...zones.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function open({ name, file }: Zone): SharedDict {
  const fd = openSync(file, 'r+');
  try {
    return new (native().SharedDict)({ name, size: 0, exact: false, any: true, fd });
  } finally {
    closeSync(fd); // the dictionary has its own
  }
}

function list(zones: readonly Zone[]): number {
  const rows = zones.map((zone) => {
    const s = open(zone).stats();
    return [zone.name, s.capacity, s.bytes, s.entries, s.hits, s.misses, s.evictions].map(String);
  });
  rows.unshift(['name', 'capacity', 'bytes', 'entries', 'hits', 'misses', 'evictions']);
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0))) ?? [];
  for (const row of rows) {
    const cells = row.map((cell, i) =>
      i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0),
    );
    process.stdout.write(`${cells.join('  ')}\n`);
  }
  return 0;
}

function run(
  dict: SharedDict,
  command: string,
  key: string,
  value: string,
  options: { readonly ttl: number; readonly json: boolean },
): number {
  switch (command) {
    case 'get': {
      const found = dict.get(key);
      if (found === undefined) return complain(`there is no entry "${key}"`, 1);
      process.stdout.write(`${toJson(found)}\n`);
      return 0;
    }
    case 'set':
      dict.set(key, options.json ? (JSON.parse(value) as SharedValue) : value, options.ttl);
      return 0;
    case 'del':
      dict.delete(key);
      return 0;
    default:
      for (const name of dict.keys(0)) process.stdout.write(`${entry(dict, name)}\n`);
      return 0;
  }
}

function entry(dict: SharedDict, key: string | Buffer): string {
  const ttl = dict.ttl(key) ?? 0;
  try {
    return toJson({ key, value: dict.get(key), ttl });
  } catch (error) {
    return toJson({ key, error: (error as Error).message, ttl }); // a list
  }
}

/** Bytes that are no text become {"base64": …}, 64-bit numbers text. */
function toJson(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) => {
    if (typeof item === 'bigint') return String(item);
    const { type, data } = (item ?? {}) as { type?: unknown; data?: unknown };
    if (type !== 'Buffer' || !Array.isArray(data)) return item;
    return { base64: Buffer.from(data as number[]).toString('base64') };
  });
}

/** The process id in a file; undefined: there is none, and that was said. */
export function readPid(file: string): number | undefined {
  try {
    const text = readFileSync(Buffer.from(file, 'latin1'), 'latin1').trim();
    if (/^[0-9]+$/.test(text)) return Number(text);
    complain(`there is no process id in ${file}`, 1);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    complain(code === 'ENOENT' ? `no server runs here: ${file} does not exist` : message, 1);
  }
  return undefined;
}
