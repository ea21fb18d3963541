// The requests that both servers are asked: bytes as they go over the wire, one connection each.
export interface Case {
  readonly name: string;
  readonly bytes: string;
  readonly methods: readonly string[];
}

const kHost = 'Host: localhost\r\n';
const kClose = 'Connection: close\r\n';

export function one(name: string, line: string, headers = '', body = ''): Case {
  const method = line.split(' ')[0] as string;
  return {
    name,
    bytes: `${line} HTTP/1.1\r\n${kHost}${kClose}${headers}\r\n${body}`,
    methods: [method],
  };
}

export function raw(name: string, bytes: string, ...methods: string[]): Case {
  return { name, bytes, methods: methods.length ? methods : ['GET'] };
}

/** For any server: methods, targets, header shapes, versions, bodies, bad input. `uri` answers GET with 200. */
export function common(uri: string): Case[] {
  const targets = [
    uri,
    `${uri}?a=1&b=2`,
    `${uri}?`,
    `${uri}?a=%20&b=+`,
    `${uri}%20x`,
    `//${uri.slice(1)}`,
    `/./${uri.slice(1)}`,
    `/x/..${uri}`,
    `${uri}#fragment`,
    `http://localhost${uri}`,
    `http://other.example:81${uri}?x`,
    '/nowhere',
    '/',
    '/%',
    '/%zz',
    '/%00',
    '/..',
    '/../..',
    '*',
    'nothing',
    '/a b',
    `${uri}/../nowhere`,
    '/\x01',
    '/é',
  ];
  const methods = [
    'HEAD',
    'POST',
    'PUT',
    'DELETE',
    'OPTIONS',
    'PATCH',
    'PROPFIND',
    'TRACE',
    'CONNECT',
    'BREW',
    'get',
    'G@T',
    '',
  ];
  const headers: Record<string, string> = {
    'an empty value': 'X-Empty:\r\n',
    'spaces around a value': 'X-Spaces:   a b   \r\n',
    'a tab before a value': 'X-Tab:\ta\r\n',
    'no colon': 'X-No-Colon\r\n',
    'a space in a name': 'X Space: a\r\n',
    'a space before the colon': 'X-Space : a\r\n',
    'no name': ': a\r\n',
    'an underscore': 'X_Under: a\r\n',
    'a folded line': 'X-Folded: a\r\n b\r\n',
    'a zero byte': 'X-Zero: a\0b\r\n',
    'bytes above 127': 'X-High: \xe9\xff\r\n',
    'two hosts': 'Host: other\r\n',
    'a bare line feed': 'X-Bare: a\nX-More: b\r\n',
    'many headers': Array.from({ length: 90 }, (_, i) => `X-Many-${i}: ${i}\r\n`).join(''),
    'a long header': `X-Long: ${'a'.repeat(7000)}\r\n`,
    'a header beyond the buffer': `X-Long: ${'a'.repeat(9000)}\r\n`,
    'an unmet expectation': 'Expect: something\r\n',
    'a range of what has none': 'Range: bytes=0-1\r\n',
    'conditionals of what has no date':
      'If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT\r\nIf-None-Match: "x"\r\n',
    'an upgrade': 'Upgrade: h2c\r\n',
    'accepted encodings': 'Accept-Encoding: gzip, br\r\n',
  };
  return [
    ...targets.map((target) => one(`target ${JSON.stringify(target)}`, `GET ${target}`)),
    ...methods.map((method) => one(`method "${method}"`, `${method} ${uri}`)),
    ...Object.entries(headers).map(([name, text]) => one(name, `GET ${uri}`, text)),
    one('a body by length', `POST ${uri}`, 'Content-Length: 5\r\n', 'hello'),
    one(
      'a body in chunks',
      `POST ${uri}`,
      'Transfer-Encoding: chunked\r\n',
      '5\r\nhello\r\n0\r\n\r\n',
    ),
    one(
      'chunks with extension and trailer',
      `POST ${uri}`,
      'Transfer-Encoding: chunked\r\n',
      '5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n',
    ),
    one('a body of GET', `GET ${uri}`, 'Content-Length: 5\r\n', 'hello'),
    one('an empty body', `POST ${uri}`, 'Content-Length: 0\r\n'),
    one('POST without a length', `POST ${uri}`),
    one(
      'a form',
      `POST ${uri}`,
      'Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n',
      'a=1&b=2',
    ),
    one('too large a body', `POST ${uri}`, 'Content-Length: 99999999\r\n'),
    one('a negative length', `POST ${uri}`, 'Content-Length: -1\r\n'),
    one('a length with a sign', `POST ${uri}`, 'Content-Length: +5\r\n', 'hello'),
    one('a length that is no number', `POST ${uri}`, 'Content-Length: 5x\r\n', 'hello'),
    one('an enormous length', `POST ${uri}`, `Content-Length: ${'9'.repeat(40)}\r\n`),
    one('two lengths', `POST ${uri}`, 'Content-Length: 5\r\nContent-Length: 5\r\n', 'hello'),
    one(
      'two different lengths',
      `POST ${uri}`,
      'Content-Length: 5\r\nContent-Length: 6\r\n',
      'hello',
    ),
    one(
      'length and chunks',
      `POST ${uri}`,
      'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n',
      '0\r\n\r\n',
    ),
    one('another coding', `POST ${uri}`, 'Transfer-Encoding: gzip\r\n', 'hello'),
    one('two codings', `POST ${uri}`, 'Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'),
    one('identity', `POST ${uri}`, 'Transfer-Encoding: identity\r\n'),
    raw('no host', `GET ${uri} HTTP/1.1\r\n\r\n`),
    raw('an empty host', `GET ${uri} HTTP/1.1\r\nHost:\r\n${kClose}\r\n`),
    raw('a bad host', `GET ${uri} HTTP/1.1\r\nHost: a/b\r\n${kClose}\r\n`),
    raw('a host with a port', `GET ${uri} HTTP/1.1\r\nHost: localhost:99\r\n${kClose}\r\n`),
    raw('HTTP/1.0', `GET ${uri} HTTP/1.0\r\n\r\n`),
    raw(
      'HTTP/1.0 with keep-alive',
      `GET ${uri} HTTP/1.0\r\n${kHost}Connection: keep-alive\r\n\r\nGET ${uri} HTTP/1.0\r\n\r\n`,
      'GET',
      'GET',
    ),
    raw('HTTP/0.9', `GET ${uri}\r\n`),
    raw('HTTP/1.2', `GET ${uri} HTTP/1.2\r\n${kHost}${kClose}\r\n`),
    raw('HTTP/2.0', `GET ${uri} HTTP/2.0\r\n${kHost}${kClose}\r\n`),
    raw('HTTP/x', `GET ${uri} HTTP/x\r\n${kHost}\r\n`),
    raw('lower case http', `GET ${uri} http/1.1\r\n${kHost}\r\n`),
    raw('line feeds only', `GET ${uri} HTTP/1.1\nHost: localhost\nConnection: close\n\n`),
    raw('empty lines in front', `\r\n\r\nGET ${uri} HTTP/1.1\r\n${kHost}${kClose}\r\n`),
    raw('not HTTP', 'hello there\r\n\r\n'),
    raw('TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'),
    raw('a long line', `GET ${uri}?${'a'.repeat(9000)} HTTP/1.1\r\n${kHost}${kClose}\r\n`),
    raw(
      'three pipelined',
      `GET ${uri}?1 HTTP/1.1\r\n${kHost}\r\nHEAD ${uri}?2 HTTP/1.1\r\n${kHost}\r\nGET /nowhere HTTP/1.1\r\n${kHost}${kClose}\r\n`,
      'GET',
      'HEAD',
      'GET',
    ),
    raw(
      'a body, then another request',
      `POST ${uri} HTTP/1.1\r\n${kHost}Content-Length: 3\r\n\r\nabcGET ${uri} HTTP/1.1\r\n${kHost}${kClose}\r\n`,
      'POST',
      'GET',
    ),
  ];
}

/** For generic.conf's static files. */
export function files(lastModified: string): Case[] {
  const at = (name: string, headers: string, target = '/files/a.txt') =>
    one(name, `GET ${target}`, headers);
  return [
    at('a file', ''),
    at('no extension', '', '/files/plain'),
    at('an index', '', '/files/'),
    at('a directory without its slash', '', '/files'),
    at('a directory without an index', '', '/files/sub/'),
    at('a missing file', '', '/files/none.txt'),
    at('a file as a directory', '', '/files/a.txt/'),
    one('POST to a file', 'POST /files/a.txt', 'Content-Length: 0\r\n'),
    one('HEAD of a file', 'HEAD /files/a.txt'),
    at('the first bytes', 'Range: bytes=0-3\r\n'),
    at('the last bytes', 'Range: bytes=-3\r\n'),
    at('from a byte on', 'Range: bytes=5-\r\n'),
    at('two ranges overlap', 'Range: bytes=0-5,3-8\r\n'),
    at('beyond the end', 'Range: bytes=1000-\r\n'),
    at('a bad range', 'Range: bytes=x-y\r\n'),
    at('another unit', 'Range: lines=0-1\r\n'),
    at('If-Range that holds', `Range: bytes=0-3\r\nIf-Range: ${lastModified}\r\n`),
    at('If-Range that does not', 'Range: bytes=0-3\r\nIf-Range: "other"\r\n'),
    at('not modified since', `If-Modified-Since: ${lastModified}\r\n`),
    at('a later If-Modified-Since', 'If-Modified-Since: Fri, 01 Jan 2038 00:00:00 GMT\r\n'),
    at('a bad If-Modified-Since', 'If-Modified-Since: yesterday\r\n'),
    at('If-None-Match: *', 'If-None-Match: *\r\n'),
    at('another If-None-Match', 'If-None-Match: "a", W/"b"\r\n'),
    at('If-Unmodified-Since of old', 'If-Unmodified-Since: Thu, 01 Jan 1998 00:00:00 GMT\r\n'),
    at('If-Match that fails', 'If-Match: "other"\r\n'),
    ...[
      '/return',
      '/redirect',
      '/return-text',
      '/old/page?x=1',
      '/if?a=1',
      '/if',
      '/tried/a.txt',
      '/tried/none',
      '/error',
      '/named',
      '/internal',
      '/vars/one?x=%41&y',
      '/lua/headers',
      '/lua/echo?a=1&b&a=2',
      '/lua/exit',
      '/lua/redirect',
      '/lua/status',
      '/lua/exec',
      '/lua/capture',
      '/lua/error',
      '/lua/filters',
      '/regex.PHP',
      '/x.php',
      '/prefix/deep',
      '/prefix/nore.php',
    ].map((target) => one(`GET ${target}`, `GET ${target}`)),
    one(
      'POST /lua/echo',
      'POST /lua/echo',
      'Content-Length: 11\r\nX-A: 1\r\nX-A: 2\r\n',
      'k=v&k=w&z=1',
    ),
    one(
      'POST /lua/echo in chunks',
      'POST /lua/echo',
      'Transfer-Encoding: chunked\r\n',
      '3\r\nk=v\r\n0\r\n\r\n',
    ),
    one('HEAD /lua/echo', 'HEAD /lua/echo'),
    raw('HTTP/1.0 /lua/echo', 'GET /lua/echo HTTP/1.0\r\n\r\n'),
  ];
}
