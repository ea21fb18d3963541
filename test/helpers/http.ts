// A client that says exactly what is asked and keeps exactly what comes.
import net from 'node:net';

export interface Answer {
  readonly status: number;
  readonly statusLine: string;
  /** As sent, in order. */
  readonly headers: readonly (readonly [string, string])[];
  /** Decoded from chunks. */
  readonly body: string;
  readonly raw: string;
  header(name: string): string | undefined;
}

/** Bytes there and back, as latin1; ends when the server closes or `ms` have passed. */
export function exchange(port: number, bytes: string, ms = 5000): Promise<string> {
  return new Promise((done, fail) => {
    const parts: Buffer[] = [];
    const socket = net.connect(port, '127.0.0.1');
    const finish = () => {
      clearTimeout(timer);
      socket.destroy();
      done(Buffer.concat(parts).toString('latin1'));
    };
    const timer = setTimeout(finish, ms);
    socket.on('connect', () => socket.write(Buffer.from(bytes, 'latin1')));
    socket.on('data', (data) => parts.push(data));
    socket.on('end', finish);
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (parts.length || error.code === 'ECONNRESET') return finish();
      clearTimeout(timer);
      fail(error);
    });
  });
}

/** Parses one answer off the front; `rest` is what follows it. */
export function parseAnswer(
  text: string,
  head = false,
): { answer: Answer; rest: string } | undefined {
  const end = text.indexOf('\r\n\r\n');
  if (!text.startsWith('HTTP/'))
    return text ? { answer: makeAnswer('', [], text, text), rest: '' } : undefined;
  if (end < 0) return undefined;
  const lines = text.slice(0, end).split('\r\n');
  const statusLine = lines.shift() as string;
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  const find = (name: string) => headers.find(([key]) => key.toLowerCase() === name)?.[1];
  let rest = text.slice(end + 4);
  const status = Number(statusLine.split(' ')[1]);
  let body = '';
  if (head || status === 204 || status === 304 || (status >= 100 && status < 200)) {
    body = '';
  } else if (find('transfer-encoding')?.toLowerCase() === 'chunked') {
    for (;;) {
      const eol = rest.indexOf('\r\n');
      if (eol < 0) break;
      const size = Number.parseInt(rest.slice(0, eol), 16);
      body += rest.slice(eol + 2, eol + 2 + size);
      rest = rest.slice(eol + 2 + size + 2);
      if (size === 0 || Number.isNaN(size)) break;
    }
  } else if (find('content-length') !== undefined) {
    const length = Number(find('content-length'));
    body = rest.slice(0, length);
    rest = rest.slice(length);
  } else {
    body = rest;
    rest = '';
  }
  const raw = text.slice(0, text.length - rest.length);
  return { answer: makeAnswer(statusLine, headers, body, raw), rest };
}

function makeAnswer(
  statusLine: string,
  headers: readonly (readonly [string, string])[],
  body: string,
  raw: string,
): Answer {
  return {
    status: Number(statusLine.split(' ')[1] ?? 0),
    statusLine,
    headers,
    body,
    raw,
    header: (name) => headers.find(([key]) => key.toLowerCase() === name.toLowerCase())?.[1],
  };
}

/** Every answer in `text`, in order. */
export function parseAnswers(text: string, methods: readonly string[] = []): Answer[] {
  const answers: Answer[] = [];
  while (text) {
    const parsed = parseAnswer(text, methods[answers.length] === 'HEAD');
    if (!parsed) break;
    answers.push(parsed.answer);
    text = parsed.rest;
  }
  return answers;
}

export interface RequestOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly version?: string;
  readonly ms?: number;
}

/** One request on a connection of its own. */
export async function request(
  port: number,
  target: string,
  options: RequestOptions = {},
): Promise<Answer> {
  const method = options.method ?? 'GET';
  const headers = { Host: 'localhost', Connection: 'close', ...options.headers };
  const length = options.body === undefined ? '' : `Content-Length: ${options.body.length}\r\n`;
  const head = Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('');
  const text = await exchange(
    port,
    `${method} ${target} HTTP/${options.version ?? '1.1'}\r\n${head}${length}\r\n${options.body ?? ''}`,
    options.ms,
  );
  const parsed = parseAnswer(text, method === 'HEAD');
  if (!parsed)
    throw new Error(`no answer to ${method} ${target}: ${JSON.stringify(text.slice(0, 200))}`);
  return parsed.answer;
}
