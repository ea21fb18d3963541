// The requests for request.conf: the phases, control, subrequests, bodies, headers, variables and proxy_pass.
import { type Case, one, raw } from './requests.js';

const form = (target: string, body: string, headers = ''): Case =>
  one(
    `POST ${target} ${JSON.stringify(body.slice(0, 20))}`,
    `POST ${target}`,
    `Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ${body.length}\r\n${headers}`,
    body,
  );

const basic = (user: string): string =>
  `Authorization: Basic ${Buffer.from(user).toString('base64')}\r\n`;

export function requestCases(): Case[] {
  const get = (targets: string): Case[] =>
    targets
      .trim()
      .split(/\s+/)
      .map((target) => one(`GET ${target}`, `GET ${target}`));
  const with_ = (target: string, headers: string, method = 'GET'): Case =>
    one(`${method} ${target} ${JSON.stringify(headers)}`, `${method} ${target}`, headers);
  return [
    ...get(`/vars /vars?x=1&X=2 /vars/a%20b?x=%20 /vars?stop=x /vars?server_if=1 /gone/x?y=2 /moved/a/b?c /temp/a?b=c
      /esc/a%20b?c=d /mapped /mapped?m=a /mapped?m=bcd /mapped?m=A&ip=10.0.0.1 /mapped?ip=10.1.2.3&s=1 /mapped?ip=2001:db8::1&s=2
      /mapped?ip=junk&s=3 /mapped?m=&s=4 /set /set?c=ab /set?c=x /set?c=axb /break/a.txt /break/none /cycle /files/a.txt /files/
      /files /files/alias/a.txt /files/alias/../a.txt /re/a.txt /re/none.txt /limit /index/ /index/?i=plain /index/x /try/a /try/none
      /try/dir /empty.gif /headers /headers?e=1 /headers?expires=1h /headers?expires=epoch /headers?expires=max /headers?expires=@15h
      /headers?expires=junk /expires/epoch /expires/max /expires/off /expires/daily /expires/modified`),
    ...get(`/return/301 /return/302 /return/303?x=a%0d%0ab /return/307 /return/308 /return/url /return/444 /return/499 /return/503
      /return/200 /return/999 /return/418 /return/500 /error_page/404 /error_page/403 /error_page/410 /error_page/500 /error_page/501
      /error_page/text /error_page/none /error_page/recursive`),
    with_('/set', 'Content-Length: 0\r\n', 'POST'),
    with_('/limit', '', 'DELETE'),
    with_('/empty.gif', 'If-Modified-Since: Mon, 28 Sep 1970 06:00:00 GMT\r\n'),
    ...[
      'a.example.org',
      'example.org',
      'x.wide.test',
      'wide.test',
      'www.any',
      'WWW.ANY:80',
      'x.www.any',
      '127.0.0.1',
    ].map((host): Case =>
      raw(`host ${host}`, `GET /mapped HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`),
    ),
    with_('/vars', 'Cookie: b=2; a=1; a=3\r\nX-A: v\r\nX-A: w\r\n'),
    form('/error_page/404', 'x=1'),
    form('/vars', 'v'.repeat(20_000)),
    // access
    ...get(`/auth/basic /auth/basic-file /auth/off /auth/deny /auth/allow /auth/any /auth/any-lua /auth/any-lua?ok=1 /auth/any-lua?401=1
      /auth/all-lua /auth/all-lua?no=1 /auth/request /auth/request?c=401 /auth/request?c=403 /auth/request?c=404 /auth/request?c=204 /auth/check`),
    ...[
      'plain:secret',
      'plain:wrong',
      'sha:secret',
      'apr:secret',
      'none:x',
      'plain',
      ':',
      'ssha:secret',
    ].flatMap((user) => [with_('/auth/basic-file', basic(user)), with_('/auth/any', basic(user))]),
    with_('/auth/basic-file', 'Authorization: Basic !!!\r\n'),
    with_('/auth/basic-file', 'Authorization: Bearer x\r\n'),
    form('/auth/request', 'x=1'),
    // Lua: control
    ...get(`/lua/phases?x=1 /lua/set /lua/error-header /lua/error-body /lua/error-rewrite /lua/error-access /lua/error-set /lua/nil-error
      /lua/exec?u=/lua/target&a=q%3D1 /lua/exec?u=/lua/target%3Fr%3D2 /lua/exec?u=/lua/target%3Fr%3D2&a=q%3D1 /lua/exec?u=@lua-named
      /lua/exec?u=@lua-named&a=x /lua/exec?u=@nowhere /lua/exec?u=nowhere /lua/exec?u=/../x /lua/exec?u=/lua%2520/x /lua/exec?u=
      /lua/uri?u=/lua/target /lua/uri?u=/lua/target&jump=1 /lua/uri?u=/a%20b /lua/uri?u= /lua/uri?u=/lua/cap/x/y&jump=1`),
    ...['rewrite', 'access', 'content'].flatMap((phase) =>
      get(
        [
          '200',
          '201',
          '204',
          '301',
          '302',
          '304',
          '400',
          '401',
          '403',
          '404',
          '405',
          '408',
          '413',
          '418',
          '429',
          '444',
          '499',
          '500',
          '502',
          '503',
          '504',
          '0',
          '-5',
          '-1',
        ]
          .map((code) => `/lua/exit-${phase}?c=${code}`)
          .concat(
            `/lua/exit-${phase}?c=200&say=1`,
            `/lua/exit-${phase}?c=404&say=1`,
            `/lua/exit-${phase}?c=0&say=1`,
          )
          .join(' '),
      ),
    ),
    ...get(`/lua/exit-content?c=0&s=503 /lua/exit-content?c=500&s=503 /lua/exit-content?c=200&s=201&say=1 /lua/exit-rewrite?c=0&s=404&say=1
      /lua/exit-header?c=200 /lua/exit-header?c=204 /lua/exit-header?c=403 /lua/exit-header?c=404 /lua/exit-header?c=500 /lua/exit-header?c=302 /lua/exit-header?c=444`),
    ...get(
      ['', '301', '302', '303', '307', '308', '200']
        .flatMap((code) => [`/lua/redirect?u=/x%3Fy%3D1&c=${code}`])
        .concat(
          '/lua/redirect?u=http://a.test/x&c=302',
          '/lua/redirect?u=rel&c=302',
          '/lua/redirect?u=/a%0d%0ab&c=302',
          '/lua/redirect?u=//a.test/x&c=302',
        )
        .join(' '),
    ),
    // Lua: request and response
    with_('/lua/headers-in', 'User-Agent: ua\r\nX-A: a\r\nX-B: 1\r\nX-B: 2\r\n'),
    ...['200', '201', '204', '206', '301', '304', '404', '500', '999'].map((s) =>
      one(`headers-out ${s}`, `GET /lua/headers-out?s=${s}`),
    ),
    ...['204', '304', '100', '199', '200', '299', '404', '600', '1000'].flatMap((s) =>
      get(`/lua/status?s=${s} /lua/status?s=${s}&say=1`),
    ),
    ...get(`/lua/length /lua/range /lua/print /lua/flush /lua/send-headers /lua/nothing /lua/args /lua/args?a&b=&c=1&d=2 /lua/args?a=1&a=2&a=3&a=4
      /lua/args?=x&&&y= /lua/args?a%3D=%26&+b=c+d /lua/time /lua/strings /lua/vars /lua/cap/a/b /lua/file?f=a /lua/file?f=none /lua/file?f=bad /lua/nofile
      /lua/type /lua/disabled /lua/http10 /lua/postpone /lua/ctx /lua/if /lua/if?a=1 /lua/filters /lua/filter-eof /lua/filter-file /lua/capture
      /lua/capture-vars`),
    ...[
      '/lua/length',
      '/lua/range',
      '/lua/flush',
      '/lua/filters',
      '/lua/print',
      '/lua/headers-out',
      '/lua/nothing',
      '/lua/gzip',
      '/lua/status?s=404',
    ].flatMap((target): Case[] => [
      with_(target, '', 'HEAD'),
      raw(`HTTP/1.0 ${target}`, `GET ${target} HTTP/1.0\r\n\r\n`),
      raw(`HTTP/1.0 HEAD ${target}`, `HEAD ${target} HTTP/1.0\r\n\r\n`, 'HEAD'),
    ]),
    raw('HTTP/1.0 /lua/http10', 'GET /lua/http10 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n'),
    raw(
      'HTTP/1.0 kept',
      'GET /lua/print HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /lua/print HTTP/1.0\r\n\r\n',
      'GET',
      'GET',
    ),
    ...[
      'bytes=0-2',
      'bytes=-2',
      'bytes=0-1,5-6',
      'bytes=20-',
      'bytes=5-1',
      'bytes=0-0,-1',
      'bytes=',
      'bytes=0-999',
    ].map((range) => with_('/lua/range', `Range: ${range}\r\n`)),
    ...[
      'If-None-Match: "tag"',
      'If-None-Match: W/"tag"',
      'If-Match: "tag"',
      'If-Match: "no"',
      'If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT',
      'If-Unmodified-Since: Thu, 01 Jan 2020 00:00:00 GMT',
      'Range: bytes=0-1\r\nIf-Range: "tag"',
      'Range: bytes=0-1\r\nIf-Range: "no"',
    ].map((h) => with_('/lua/range', `${h}\r\n`)),
    with_('/lua/gzip', 'Accept-Encoding: gzip\r\n', 'HEAD'),
    // bodies
    form('/lua/body', 'a=1&b=2&c=3'),
    form('/lua/body', ''),
    form('/lua/body-file', 'a=1'),
    form('/lua/body-file', 'a=1&b=2&c=3'),
    form('/lua/need-body', 'a=1'),
    form('/lua/unread', 'a=1'),
    form('/lua/discard', 'a=1'),
    form('/lua/sock', 'hello there'),
    form('/lua/sock', ''),
    form('/lua/body', 'x'.repeat(11_000)),
    form('/lua/unread', 'x'.repeat(11_000)),
    form('/lua/capture-body', 'main=1'),
    form('/lua/exit-access?c=403', 'a=1'),
    form('/lua/exit-rewrite?c=200', 'a=1'),
    raw(
      'a body that is not read, then a request',
      'POST /lua/unread HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabcGET /lua/print HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
      'POST',
      'GET',
    ),
    raw(
      'a body in pieces',
      'POST /lua/body HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na=\r\n1\r\n1\r\n0\r\n\r\n',
      'POST',
    ),
    raw(
      '100-continue',
      'POST /lua/body-file HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc',
      'POST',
    ),
    // proxy_pass
    ...get(`/proxy/plain /proxy/plain/a%20b?x=%20y /proxy/uri/ /proxy/uri/a%2fb?x=1 /proxy/uri/a%20b /proxy/nouri/x /proxy/nouri /proxy/var/a%20b?q=1 /proxy/regex/a%20b?c=d
      /proxy/rewritten/a?y=2 /proxy/group?x /proxy/dead?x /proxy/refused /proxy/method?b=1 /proxy/no-headers /proxy/http10 /proxy/hide /proxy/unbuffered /proxy/chunks
      /proxy/redirect /proxy/redirect?to=/there/x /proxy/redirect?to=http://other/ /proxy/redirect-own?to=/there/x /proxy/redirect-own?to=/re/x /proxy/redirect-own?to=/no
      /proxy/intercept /proxy/error /proxy/accel /proxy/files/a.txt /proxy/files /proxy/files/none /proxy/variables /proxy/lua?x=1`),
    ...[
      'none',
      'line',
      'noline',
      'short',
      'long',
      'chunk',
      'both',
      'old',
      'status',
      'nostatus',
      'early',
      'huge',
      'badheader',
      'twolengths',
    ].map((how) => one(`broken ${how}`, `GET /proxy/broken?how=${how}`)),
    ...[
      '/proxy/plain',
      '/proxy/method',
      '/proxy/no-headers',
      '/proxy/http10',
      '/proxy/lua',
      '/proxy/group',
    ].map((target) => form(target, 'a=1&b=2', 'X-A: 1\r\nX-A: 2\r\nX_B: 3\r\n')),
    raw(
      'chunks to an upstream',
      'POST /proxy/plain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
      'POST',
    ),
    with_(
      '/proxy/plain',
      'Connection: X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nKeep-Alive: 5\r\nUpgrade: x\r\nExpect: 100-continue\r\nProxy-Authorization: p\r\n',
    ),
    with_('/proxy/files/a.txt', 'Range: bytes=0-3\r\n'),
    with_('/proxy/files/a.txt', 'If-None-Match: *\r\n'),
    with_('/proxy/plain', '', 'HEAD'),
    with_('/proxy/chunks', '', 'HEAD'),
    with_('/proxy/files/a.txt', '', 'HEAD'),
    raw('HTTP/1.0 /proxy/chunks', 'GET /proxy/chunks HTTP/1.0\r\n\r\n'),
    raw('HTTP/1.0 /proxy/plain', 'GET /proxy/plain HTTP/1.0\r\nHost: localhost\r\n\r\n'),
  ];
}

/** For endings.conf: each of its locations in five ways. */
export function endingCases(conf: string): Case[] {
  const front = conf.split('server { listen 127.0.0.1:$port2')[0] as string;
  const named = [...front.matchAll(/location (?:= )?(\/\w[\w-]*)/g)].map((m) => m[1] as string);
  const more =
    '/dir/ /dir/f.txt /nowhere /setif?x=1 /iftwo?a=1 /iftwo?b=1 /iftwo?a=1&b=2 /ifproxy?a=1 /inherit/a /inherit/b /abc/named /capnest?n=12';
  const host = 'Host: localhost\r\n';
  return [...new Set([...named, ...more.split(' ')])].flatMap((uri) => [
    one(`GET ${uri}`, `GET ${uri}`, 'X_Under: 1\r\nX-Dash: 2\r\n'),
    one(`POST ${uri}`, `POST ${uri}`, 'Content-Length: 5\r\n', 'hello'),
    one(`HEAD ${uri}`, `HEAD ${uri}`),
    raw(`HTTP/1.0 ${uri}`, `GET ${uri} HTTP/1.0\r\n${host}\r\n`),
    raw(
      `${uri}, then another`,
      `GET ${uri} HTTP/1.1\r\n${host}\r\nGET /abc HTTP/1.1\r\n${host}Connection: close\r\n\r\n`,
      'GET',
      'GET',
    ),
  ]);
}
