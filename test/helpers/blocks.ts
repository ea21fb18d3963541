// Tests as data: a file of blocks, each a piece of configuration, a request, and what the answer and error.log must hold.
//
//   === name
//   --- config              directives of a server of its own (required)
//   --- http                directives of the http context: the block then runs in a process of its own
//   --- main                likewise, of the main context
//   --- file NAME           a file below the prefix, for the whole block file
//   --- request             METHOD URI [HTTP/x.y], headers, empty line, body; default GET /t
//   --- raw                 bytes to send as they are (\r \n \t \\ \xHH in lines joined without line ends)
//   --- status              404 (default 200; several for pipelined requests; `none`: closed without an answer)
//   --- body                the whole body       --- body_like      a regular expression for it
//   --- headers             Name: value          (`!Name` must be absent, `Name: ~regex`)
//   --- log                 lines that error.log must hold, `~regex` lines too
//   --- no_log              lines that it must not hold (default: [error], [alert], [crit], [emerg])
//   --- start_error         the server must not start, saying this
//   --- wait                milliseconds before the log is read
//   --- only                moonphase: what nginx (or Debian's old Lua module) does not have or does otherwise, and why
//
// BLOCKS_EXTENDED=1 runs them with `lua_phase_capabilities extended;`: what does not wait must be as without.
// BLOCKS_KIND=nginx runs the blocks against Debian's nginx: who is right, the block or Moonphase?
import fs from 'node:fs';
import type { Test } from 'tap';
import { exchange, parseAnswers, request, type Answer } from './http.js';
import { type Kind, Server, sleep } from './server.js';

interface Block {
  readonly name: string;
  readonly line: number;
  readonly sections: ReadonlyMap<string, string>;
}

const kSections = new Set([
  'config',
  'http',
  'main',
  'request',
  'raw',
  'status',
  'body',
  'body_like',
  'headers',
  'log',
  'no_log',
  'start_error',
  'wait',
  'only',
]);

const kind: Kind = process.env['BLOCKS_KIND'] === 'nginx' ? 'nginx' : 'moonphase';

const extended = process.env['BLOCKS_EXTENDED'] ? 'lua_phase_capabilities extended;' : '';

export function parseBlocks(text: string): { blocks: Block[]; files: Record<string, string> } {
  const blocks: Block[] = [];
  const files: Record<string, string> = {};
  let sections = new Map<string, string>();
  let current: { set(value: string): void; lines: string[] } | undefined;
  const close = () => current?.set(current.lines.join('\n').replace(/\n+$/, ''));
  text.split('\n').forEach((line, i) => {
    const title = /^=== (.*)/.exec(line);
    const section = /^--- (\w+)(?: (.*))?$/.exec(line);
    if (title) {
      close();
      current = undefined;
      sections = new Map();
      blocks.push({ name: title[1] as string, line: i + 1, sections });
    } else if (section) {
      close();
      const [, name, rest] = section as unknown as [string, string, string | undefined];
      const into = sections;
      if (name === 'file')
        current = { set: (value) => (files[rest as string] = `${value}\n`), lines: [] };
      else if (kSections.has(name))
        current = {
          set: (value) => into.set(name, value),
          lines: rest === undefined ? [] : [rest],
        };
      else throw new Error(`line ${i + 1}: unknown section "${name}"`);
    } else {
      current?.lines.push(line);
    }
  });
  close();
  return { blocks, files };
}

const unescape = (text: string): string =>
  text
    .split('\n')
    .join('')
    .replace(/\\(?:x([0-9a-fA-F]{2})|([rnt0\\]))/g, (_, hex?: string, letter?: string) =>
      hex
        ? String.fromCharCode(Number.parseInt(hex, 16))
        : ({ r: '\r', n: '\n', t: '\t', '0': '\0', '\\': '\\' }[letter as string] ?? ''),
    );

function parseRequest(text: string): {
  method: string;
  uri: string;
  version: string;
  headers: Record<string, string>;
  body?: string;
} {
  const [head, ...body] = text.split('\n\n');
  const [line, ...headerLines] = (head as string).split('\n');
  const [method, uri, version] = (line as string).trim().split(' ') as [
    string,
    string,
    string | undefined,
  ];
  const headers: Record<string, string> = {};
  for (const header of headerLines) {
    const colon = header.indexOf(':');
    headers[header.slice(0, colon)] = header.slice(colon + 1).trim();
  }
  return {
    method,
    uri,
    version: version?.replace('HTTP/', '') ?? '1.1',
    headers,
    ...(body.length ? { body: body.join('\n\n') } : {}),
  };
}

/** Runs a file of blocks: those that need nothing of the http or main context share one process. */
export async function runBlocks(t: Test, file: string): Promise<void> {
  const { blocks: all, files } = parseBlocks(fs.readFileSync(file, 'latin1'));
  const wanted = process.env['BLOCK'] ?? '';
  const blocks = all.filter(
    (block) => block.name.includes(wanted) && !(kind === 'nginx' && block.sections.has('only')),
  );
  const alone = (block: Block) =>
    ['http', 'main', 'start_error'].some((name) => block.sections.has(name));
  const shared = blocks.filter((block) => !alone(block));
  const ports = new Map<Block, number>();
  if (shared.length) {
    // Each has a server of its own, told apart by its name in error.log.
    const http = shared
      .map((block, i) => serverBlock(block, `127.0.0.1:$port`, `block-${i}`))
      .join('\n');
    const server = await Server.start({ kind, http: `${extended}\n${http}`, files });
    t.teardown(() => server.stop());
    for (const [i, block] of shared.entries()) {
      ports.set(block, server.port);
      await t.test(block.name, async (t) => check(t, block, server, `block-${i}`));
    }
  }
  for (const block of blocks.filter(alone)) {
    await t.test(block.name, async (t) => {
      const http = `${block.sections.get('http')?.includes('lua_phase_capabilities') ? '' : extended}${block.sections.get('http') ?? ''}\n${serverBlock(block, '127.0.0.1:$port', 'localhost')}`;
      const main = block.sections.get('main') ?? '';
      const wanted = block.sections.get('start_error');
      if (wanted !== undefined) {
        const error = await Server.start({ kind, http, main, files }).then(
          (server) => server.stop().then(() => undefined),
          (e: Error) => e.message,
        );
        t.ok(error !== undefined, 'the server refuses to start');
        for (const line of wanted.split('\n')) expectText(t, error ?? '', line);
        return;
      }
      const server = await Server.start({ kind, http, main, files });
      t.teardown(() => server.stop());
      await check(t, block, server, 'localhost');
    });
  }
}

const serverBlock = (block: Block, listen: string, name: string): string =>
  `server { listen ${listen}; server_name ${name};\n${block.sections.get('config') ?? ''}\n}`;

function expectText(t: Test, text: string, wanted: string): void {
  const ok = wanted.startsWith('~')
    ? new RegExp(wanted.slice(1), 's').test(text)
    : text.includes(wanted);
  t.ok(
    ok,
    `has ${JSON.stringify(wanted)}`,
    ok ? {} : { diagnostic: { text: text.slice(0, 4000) } },
  );
}

async function check(t: Test, block: Block, server: Server, host: string): Promise<void> {
  const get = (name: string) => block.sections.get(name);
  const logBefore = server.errorLog().length;
  let answers: Answer[] = [];
  const raw = get('raw');
  if (raw !== undefined) {
    const methods = [...unescape(raw).matchAll(/^([A-Z]+) \S+ HTTP/gm)].map((m) => m[1] as string);
    answers = parseAnswers(
      await exchange(server.port, unescape(raw.replaceAll('$host', host)), 3000),
      methods,
    );
  } else {
    const { method, uri, version, headers, body } = parseRequest(get('request') ?? 'GET /t');
    const options = {
      method,
      version,
      headers: { Host: host, ...headers },
      ...(body === undefined ? {} : { body }),
    };
    if (get('status')?.trim() === 'none')
      await t.rejects(request(server.port, uri, options), /no answer/);
    else answers.push(await request(server.port, uri, options));
  }
  const statuses = (get('status') ?? '200')
    .trim()
    .replace('none', '')
    .split(/\s+/)
    .filter(Boolean)
    .map(Number);
  t.same(
    answers.map((a) => a.status),
    statuses,
    'status',
  );
  const all = answers.map((a) => a.body).join('');
  const body = get('body');
  if (body !== undefined) t.equal(all.replace(/\n+$/, ''), body, 'body');
  const like = get('body_like');
  if (like !== undefined) t.match(all, new RegExp(like, 's'), 'body');
  for (const line of get('headers')?.split('\n') ?? []) {
    const answer = answers[0] as Answer;
    if (line.startsWith('!')) {
      t.equal(answer.header(line.slice(1)), undefined, `no ${line.slice(1)}`);
      continue;
    }
    const colon = line.indexOf(':');
    const name = line.slice(0, colon);
    const value = line.slice(colon + 1).trim();
    const got = answer.headers
      .filter(([key]) => key.toLowerCase() === name.toLowerCase())
      .map(([, v]) => v)
      .join(', ');
    if (value.startsWith('~')) t.match(got, new RegExp(value.slice(1)), name);
    else t.equal(got, value, name);
  }
  await sleep(Number(get('wait') ?? 0));
  const wanted = get('log')?.split('\n') ?? [];
  if (wanted.length)
    await server.logged(
      wanted[0]?.startsWith('~')
        ? new RegExp((wanted[0] as string).slice(1), 's')
        : (wanted[0] as string),
      1000,
    );
  // Lines of other blocks' servers are not ours.
  const log = server
    .errorLog()
    .slice(logBefore)
    .split(/\n(?=\d{4}\/\d\d\/\d\d )/)
    .filter((line) => !/, server: block-\d+,/.test(line) || line.includes(`, server: ${host},`))
    .join('\n');
  for (const line of wanted) expectText(t, log, line);
  const forbidden =
    get('no_log')?.split('\n') ??
    (wanted.length ? ['[alert]', '[emerg]'] : ['[error]', '[alert]', '[crit]', '[emerg]']);
  for (const line of forbidden) {
    const bad = line && log.includes(line);
    if (bad)
      t.fail(`error.log has ${JSON.stringify(line)}`, { diagnostic: { log: log.slice(0, 4000) } });
  }
}
