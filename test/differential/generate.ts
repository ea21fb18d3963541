// Requests made by chance, the same each time: methods, versions, headers, bodies, mistakes, several on a connection. A
// last request that asks to close tells whether the connection was kept, without waiting.
export interface Generated {
  readonly name: string;
  readonly bytes: string;
  /** For reading the answers: those of HEAD have no body. */
  readonly methods: readonly string[];
}

/** What conditionals and ranges need to know of the files. */
export interface FileFacts {
  readonly lastModified: string;
  readonly etags: readonly string[];
}

/** Numbers from 0 to 1 (mulberry32). */
function randomFrom(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

class Chance {
  constructor(private readonly random: () => number) {}
  is(probability: number): boolean {
    return this.random() < probability;
  }
  int(from: number, to: number): number {
    return from + Math.floor(this.random() * (to - from + 1));
  }
  of<T>(list: readonly T[]): T {
    return list[Math.floor(this.random() * list.length)] as T;
  }
  /** `[weight, value]`. */
  weighted<T>(list: readonly (readonly [number, T])[]): T {
    let at = this.random() * list.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, value] of list) if ((at -= weight) < 0) return value;
    return (list[0] as readonly [number, T])[1];
  }
}

const kFiles = [
  '/files/a.txt',
  '/files/big.txt',
  '/files/page.html',
  '/files/empty',
  '/gzip/big.txt',
  '/gzip/page.html',
];
const kTargets: readonly (readonly [number, readonly string[]])[] = [
  [30, kFiles],
  [
    10,
    [
      '/files/',
      '/files',
      '/files/sub',
      '/files/sub/',
      '/files/none',
      '/files/a.txt/',
      '/files/x%20y.txt',
      '/files/%61.txt',
      '/files/a.txt%00',
      '/files//a.txt',
      '/files/./a.txt',
      '/files/sub/../a.txt',
      '/files/sub/../../../a.txt',
      '/files/a.txt?x=1',
      '/files/%2e%2e/x',
      '/files/a%2Etxt',
      '/files/A.TXT',
      '/files/..',
    ],
  ],
  [
    22,
    [
      '/lua/echo',
      '/lua/echo?a=1&b=%20x&a=2&c',
      '/lua/echo/more?%',
      '/lua/chunks',
      '/lua/length',
      '/lua/headers',
      '/lua/status?201',
      '/lua/status?204',
      '/lua/status?304',
      '/lua/status?404',
      '/lua/status?500',
      '/lua/status?599',
      '/lua/exit?200',
      '/lua/exit?403',
      '/lua/exit?404',
      '/lua/exit?503',
      '/lua/exit?444',
      '/lua/exit?204',
      '/lua/unread',
      '/lua/redirect?/x',
      '/lua/redirect?http://x/y',
      '/lua/error',
      '/lua/eof',
      '/lua/late-error',
      '/lua/exec',
      '/lua/capture?/files/a.txt',
      '/lua/capture?/lua/length',
      '/lua/capture?/nowhere',
      '/lua/capture?/return/301',
      '/lua/filters',
      '/lua/empty',
      '/lua/nothing',
      '/lua/access',
      '/lua/gzip',
      '/lua/etag',
    ],
  ],
  [
    10,
    [
      '/return/200',
      '/return/204',
      '/return/301',
      '/return/302',
      '/return/307',
      '/return/400',
      '/return/404',
      '/return/405',
      '/return/413',
      '/return/444',
      '/return/500',
      '/return/599',
      '/return/text',
      '/return/empty',
      '/return/vars?a=%41&b=+',
    ],
  ],
  [
    8,
    [
      '/old/one',
      '/old/two?x=1',
      '/loop',
      '/if?x=1',
      '/if?x=0',
      '/if',
      '/permanent/a',
      '/redirect/a?b=c',
      '/escape/a%20b%3F',
      '/escape/%E4%B8%AD?q=%26',
      '/break/files/a.txt',
    ],
  ],
  [
    8,
    [
      '/error/uri',
      '/error/named',
      '/error/redirect',
      '/error/code',
      '/error/lua',
      '/error/recursive',
      '/internal',
      '/only-get',
      '/auth',
      '/auth/files/a.txt',
      '/denied',
      '/tried/a.txt',
      '/tried/none',
      '/tried/named',
      '/small',
      '/type.xyz',
      '/alias/a.txt',
      '/expires/a.txt',
      '/headers',
      '/empty.gif',
      '/nowhere',
      '/',
    ],
  ],
  [
    16,
    [
      '/proxy/files/a.txt',
      '/proxy/files/big.txt',
      '/proxy/lua/echo?x=1',
      '/proxy/lua/chunks',
      '/proxy/lua/status?404',
      '/proxy/lua/status?204',
      '/proxy/lua/status?304',
      '/proxy/lua/headers',
      '/proxy/return/301',
      '/proxy/return/444',
      '/proxy/gzip/big.txt',
      '/proxy/nowhere',
      '/proxy/lua/late-error',
      '/proxy/lua/length',
      '/plain/files/big.txt',
      '/plain/lua/echo',
      '/plain/lua/chunks',
      '/intercept/lua/status?404',
      '/intercept/files/none',
      '/refused',
      '/rewritten/a%20b/%2F',
      '/accel',
      '/proxy11/lua/echo',
      '/proxy11/lua/chunks',
      '/proxy/lua/etag',
      '/proxy/lua/redirect?/x',
    ],
  ],
  [
    5,
    [
      '*',
      '//',
      '/%',
      '/%zz',
      '/%0a',
      '/..',
      '/../..',
      '/a/../..',
      'http://localhost/return/text',
      'http://other.test:81/return/vars?x',
      'HTTP://localhost/return/text',
      'http://',
      'http:/x',
      'https://localhost/return/text',
      '/return/text#f',
      '/a b',
      '/\x7f',
      '/é',
      '',
      '/return/text?' + 'q'.repeat(2000),
      '/return/text?' + 'q'.repeat(9000),
      'x',
      '/\\',
      '/;a=b',
      '/return/text?a b',
    ],
  ],
];

const kMethods: readonly (readonly [number, string])[] = [
  [60, 'GET'],
  [14, 'HEAD'],
  [16, 'POST'],
  [4, 'PUT'],
  [2, 'DELETE'],
  [2, 'OPTIONS'],
  [1, 'PATCH'],
  [1, 'PROPFIND'],
  [1, 'MKCOL'],
  [1, 'TRACE'],
  [1, 'BREW'],
  [1, 'get'],
  [1, 'GE T'],
  [0.5, 'G@T'],
  [0.5, 'GET-IT'],
  [0.5, 'GET_IT'],
  [0.5, ''],
];

const kVersions: readonly (readonly [number, string])[] = [
  [80, ' HTTP/1.1'],
  [14, ' HTTP/1.0'],
  [1, ' HTTP/1.2'],
  [0.5, ' HTTP/1.10'],
  [0.5, ' HTTP/0.9'],
  [0.5, ' HTTP/2.0'],
  [0.5, ' HTTP/1'],
  [0.5, ' HTTP/1.'],
  [0.5, ' http/1.1'],
  [0.5, ' HTTP/11.1'],
  [0.5, ' HTTP/1.1 '],
  [0.5, '  HTTP/1.1'],
  [0.5, ' HTTP/1.1x'],
  [0.5, ' HTTP'],
  [0.5, ' HTTP/01.1'],
  [0.5, ' HTTP/1.01'],
];

function range(c: Chance): string {
  const spec = (): string =>
    c.weighted([
      [4, `${c.int(0, 9)}-${c.int(0, 30)}`],
      [2, `${c.int(0, 20)}-`],
      [2, `-${c.int(0, 30)}`],
      [1, `${c.int(30, 50000)}-${c.int(30, 90000)}`],
      [1, `${c.int(90000, 99999)}-`],
      [0.5, '-'],
      [0.5, 'x-y'],
      [0.5, '0-99999999999999999999999'],
      [0.5, ' 1 - 3 '],
      [0.5, ''],
    ]);
  const list = Array.from(
    {
      length: c.weighted([
        [6, 1],
        [3, 2],
        [1, 3],
        [0.5, 7],
      ]),
    },
    spec,
  ).join(c.of([',', ', ', ' ,']));
  return `${c.weighted([
    [20, 'Range'],
    [1, 'range'],
    [1, 'RANGE'],
  ])}: ${c.weighted([
    [20, 'bytes='],
    [1, 'Bytes='],
    [1, 'bytes ='],
    [1, 'items='],
    [1, ''],
  ])}${list}`;
}

function conditional(c: Chance, facts: FileFacts): string {
  const date = (): string =>
    c.weighted([
      [4, facts.lastModified],
      [2, 'Thu, 01 Jan 1998 00:00:00 GMT'],
      [2, 'Fri, 01 Jan 2038 00:00:00 GMT'],
      [1, 'Thursday, 01-Jan-98 00:00:00 GMT'],
      [1, 'Thu Jan  1 00:00:00 1998'],
      [1, 'yesterday'],
      [1, ''],
      [1, `${facts.lastModified}; length=18`],
    ]);
  const etag = (): string => {
    const one = (): string =>
      c.weighted([
        [6, c.of(facts.etags)],
        [3, `W/${c.of(facts.etags)}`],
        [2, '"other"'],
        [1, 'W/"other"'],
        [1, '*'],
        [0.5, 'unquoted'],
        [0.5, '"open'],
        [0.5, ''],
        [0.5, '"lua-etag"'],
      ]);
    return Array.from(
      {
        length: c.weighted([
          [4, 1],
          [2, 2],
          [1, 4],
        ]),
      },
      one,
    ).join(c.of([', ', ',', ' , ']));
  };
  return c.weighted([
    [4, () => `If-Modified-Since: ${date()}`],
    [4, () => `If-None-Match: ${etag()}`],
    [2, () => `If-Unmodified-Since: ${date()}`],
    [2, () => `If-Match: ${etag()}`],
    [
      3,
      () =>
        `${range(c)}\r\nIf-Range: ${c.is(0.5) ? date() : c.of([...facts.etags, `W/${facts.etags[0]}`, '"x"', ''])}`,
    ],
  ])();
}

function header(c: Chance, facts: FileFacts): string {
  return c.weighted<() => string>([
    [10, () => range(c)],
    [12, () => conditional(c, facts)],
    [
      6,
      () =>
        `Accept-Encoding: ${c.of(['gzip', 'gzip, deflate, br', 'identity', 'gzip;q=0', 'gzip;q=0.5', '*', 'x-gzip', 'deflate', 'GZIP', 'gzip;q=1.0, *;q=0', ' gzip ', 'gzip;q=0.000', 'gzip ; q=0.1', 'agzip', ''])}`,
    ],
    [
      6,
      () =>
        `Connection: ${c.of(['keep-alive', 'Keep-Alive', 'close', 'Close', 'upgrade', 'keep-alive, close', 'x', '', 'TE', 'close-not'])}`,
    ],
    [2, () => `Cookie: a=1\r\nCookie: b=${c.int(1, 99)}`],
    [1, () => `X-Dup: 1\r\nx-dup: 2\r\nX-DUP: 3`],
    [1, () => 'X-Empty:'],
    [1, () => 'X-Spaces:   a  b   '],
    [1, () => `X-Tabs:\t\ta\tb\t`],
    [0.7, () => 'X-Fold: a\r\n b'],
    [0.7, () => 'No-Colon'],
    [0.7, () => ': none'],
    [0.7, () => 'X Space: 1'],
    [0.7, () => 'X-Before : 1'],
    [0.7, () => 'X_Under: 1'],
    [0.5, () => 'X-Zero: a\0b'],
    [0.5, () => 'X-Cr: a\rb'],
    [0.5, () => 'X-High: \xe9\xff'],
    [0.5, () => 'X-Control: a\x01b'],
    [0.5, () => '\x01: a'],
    [1, () => `X-Long: ${'l'.repeat(c.of([900, 1100, 5000, 8100, 8200, 20000]))}`],
    [
      0.5,
      () =>
        Array.from(
          { length: c.of([20, 120]) },
          (_, i) => `X-Many-${i}: ${'m'.repeat(c.of([1, 300]))}`,
        ).join('\r\n'),
    ],
    [
      1,
      () =>
        `Host: ${c.of(['other', 'localhost', '', 'a..b', 'localhost:', '[::1]', 'a/b', 'LOCALHOST.', 'a_b', 'a:b:c'])}`,
    ],
    [1, () => `Expect: ${c.of(['100-continue', '100-Continue', 'other', ''])}`],
    [1, () => `Referer: http://x/${c.int(1, 9)}"q`],
    [
      1,
      () =>
        `User-Agent: ${c.of(['Mozilla/4.0 (compatible; MSIE 6.0; Windows)', 'Mozilla/5.0 Chrome/99', 'curl\\x', 'é'])}`,
    ],
    [
      2,
      () =>
        `Authorization: ${c.of(['Basic dXNlcjpwYXNz', 'Basic dXNlcjp3cm9uZw==', 'Basic !!', 'Basic', 'Bearer x', 'basic dXNlcjpwYXNz', ''])}`,
    ],
    [1, () => `X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8`],
    [1, () => `Content-Type: ${c.of(['application/x-www-form-urlencoded', 'text/plain', ''])}`],
    [0.5, () => 'Upgrade: websocket'],
    [0.5, () => 'TE: trailers'],
    [0.5, () => 'Via: 1.1 proxy'],
    [0.5, () => 'Keep-Alive: timeout=5'],
  ])();
}

/** Header lines and what follows them. */
function body(c: Chance): [string, string] {
  const text = c.of(['', 'a=1&b=2', 'hello', 'x'.repeat(60), 'y'.repeat(3000), 'z'.repeat(20000)]);
  return c.weighted<() => [string, string]>([
    [12, () => [`Content-Length: ${text.length}`, text]],
    [
      8,
      () => {
        let out = '';
        for (let at = 0; at < text.length;) {
          const n = Math.min(
            text.length - at,
            c.of([1, 7, 100, 4096]) * (text.length > 2000 ? 10 : 1),
          );
          const ext = c.is(0.1) ? ';a="b"' : '';
          out += `${c.is(0.2) ? '0' : ''}${c.is(0.5) ? n.toString(16) : n.toString(16).toUpperCase()}${ext}\r\n${text.slice(at, at + n)}\r\n`;
          at += n;
        }
        return [
          'Transfer-Encoding: chunked',
          `${out}0\r\n${c.is(0.2) ? 'X-Trailer: 1\r\n' : ''}\r\n`,
        ];
      },
    ],
    [
      1,
      () => [
        `Transfer-Encoding: ${c.of(['Chunked', 'gzip', 'gzip, chunked', 'identity', '', 'chunked, chunked'])}`,
        '0\r\n\r\n',
      ],
    ],
    [
      1,
      () => [
        'Transfer-Encoding: chunked',
        c.of([
          'g\r\n',
          '5hello\r\n',
          '5\r\nhelloX',
          '\r\n',
          '-1\r\n',
          'fffffffffffffffff\r\n',
          '5\nhello\r\n0\r\n\r\n',
          '5 \r\nhello\r\n0\r\n\r\n',
          '3\r\nabc\r\n0\r\nbad\r\n\r\n',
        ]),
      ],
    ],
    [
      1,
      () => [
        `Content-Length: ${c.of(['-1', '+5', '5x', '5 5', '', ' 5 ', '0x5', '9'.repeat(30), '99999999', '5,5'])}`,
        'hello',
      ],
    ],
    [0.7, () => ['Content-Length: 5\r\nContent-Length: 5', 'hello']],
    [0.7, () => ['Content-Length: 5\r\nContent-Length: 6', 'hello']],
    [0.7, () => ['Content-Length: 5\r\nTransfer-Encoding: chunked', '5\r\nhello\r\n0\r\n\r\n']],
    [0.7, () => ['Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked', '0\r\n\r\n']],
  ])();
}

function requestText(c: Chance, facts: FileFacts): [bytes: string, method: string] {
  const method = c.weighted(kMethods);
  const target = c.of(c.weighted(kTargets));
  const version = c.weighted(kVersions);
  const lines = [`${method} ${target}${version}`];
  if (c.is(0.95)) lines.push('Host: localhost');
  if (c.is(0.3)) lines.push('User-Agent: test/1');
  for (
    let n = c.weighted([
      [3, 0],
      [5, 1],
      [3, 2],
      [1, 4],
    ]);
    n > 0;
    --n
  )
    lines.push(header(c, facts));
  // A second one is for old nginx as if it were not there.
  const agent = lines.findIndex((line) => /^User-Agent:/.test(line));
  if (agent >= 0)
    for (let i = lines.length - 1; i > agent; --i)
      if (/^User-Agent:/.test(lines[i] as string)) lines.splice(i, 1);
  let text = '';
  if (c.is(/^(POST|PUT|PATCH)$/.test(method) ? 0.9 : 0.04)) {
    const [head, content] = body(c);
    lines.push(head);
    text = content;
  }
  const eol = c.is(0.03) ? '\n' : '\r\n';
  const front = c.is(0.02) ? '\r\n' : '';
  return [`${front}${lines.join('\r\n').replaceAll('\r\n', eol)}${eol}${eol}${text}`, method];
}

const kLast = 'GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';

export function generate(count: number, seed: number, facts: FileFacts): Generated[] {
  return Array.from({ length: count }, (_, i) => {
    // Each by itself: a change of the generator's tables moves as few as possible.
    const c = new Chance(randomFrom(seed + i * 7919));
    const parts = Array.from(
      {
        length: c.weighted([
          [12, 1],
          [2, 2],
          [1, 4],
        ]),
      },
      () => requestText(c, facts),
    );
    return {
      name: `#${i} ${JSON.stringify(parts.map(([text]) => text.slice(0, 300)).join(''))}`,
      bytes: `${parts.map(([text]) => text).join('')}${kLast}`,
      methods: [...parts.map(([, method]) => method), 'GET'],
    };
  });
}
