import t from 'tap';
import {
  compileText,
  confOf,
  errorOf,
  http,
  httpOf,
  location,
  locationConf,
  server,
} from './helper.js';
import { parseCidr, shortIPv6 } from '../../../lib/conf/inet.js';
import type { ListenPlan } from '../../../lib/conf/plan.js';

function listens(text: string): readonly ListenPlan[] {
  return httpOf(compileText(http(text))).listens;
}

t.test('listen', async (t) => {
  t.match(listens('server { listen 127.0.0.1:81 backlog=5 reuseport so_keepalive=30m::10; }'), [
    {
      name: '127.0.0.1:81',
      family: 'inet',
      host: '127.0.0.1',
      port: 81,
      wildcard: false,
      bind: true,
      backlog: 5,
      reuseport: true,
      so_keepalive: true,
      keepidle: 1800000,
      keepcnt: 10,
      servers: [0],
      defaultServer: 0,
    },
  ]);
  t.match(
    listens(
      'server { listen unix:/a/b.sock; listen [::]:82 ipv6only=off ssl; listen *:83; ssl_reject_handshake on; }',
    ),
    [
      { name: 'unix:/a/b.sock', family: 'unix', host: '/a/b.sock', wildcard: false, bind: true },
      { name: '[::]:82', family: 'inet6', host: '::', wildcard: true, ipv6only: false, ssl: true },
      { name: '0.0.0.0:83', wildcard: true, backlog: 511, rcvbuf: -1 },
    ],
  );
  t.same(
    listens('server { listen 8000-8002; }').map((l) => l.port),
    [8000, 8001, 8002],
  );
  const port = process.getuid?.() === 0 ? 80 : 8000;
  t.match(listens('server { }'), [{ name: `0.0.0.0:${port}` }]);
  t.match(listens('server { listen localhost:90; }')[0]?.port, 90);
});

t.test('servers of one address', async (t) => {
  const [first] = listens(`
    server { listen 80; } server { listen 80 default_server; } server { listen 0.0.0.0:80 proxy_protocol; }`);
  t.match(first, { servers: [0, 1, 2], defaultServer: 1, proxy_protocol: true });
  t.equal(
    errorOf(http('server { listen 80 default; }\nserver { listen 80 default_server; }')),
    'a duplicate default server for 0.0.0.0:80 in nginx.conf:4',
  );
  t.equal(
    errorOf(http('server { listen 80 backlog=1; }\nserver { listen 80 backlog=2; }')),
    'duplicate listen options for 0.0.0.0:80 in nginx.conf:4',
  );
});

t.test('a wildcard address takes the connections of others at its port', async (t) => {
  t.same(
    listens(
      'server { listen 1.2.3.4:80; listen 80; listen 1.2.3.5:80 bind; listen 1.2.3.4:81; }',
    ).map((l) => [l.name, l.bind]),
    [
      ['1.2.3.4:80', false],
      ['0.0.0.0:80', true],
      ['1.2.3.5:80', true],
      ['1.2.3.4:81', true],
    ],
  );
});

t.test('addresses', async (t) => {
  for (const [from, to] of [
    ['::1', '::1'],
    ['::', '::'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['fe80::1:2', 'fe80::1:2'],
    ['::ffff:1.2.3.4', '::ffff:1.2.3.4'],
  ] as const) {
    t.equal(shortIPv6(from), to, from);
  }
  t.match(parseCidr('10.1.2.3/8'), { text: '10.0.0.0/8', meaningless: true });
  t.match(parseCidr('2001:db8::1'), { text: '2001:db8::1/128', meaningless: false });
  t.equal(parseCidr('10.0.0.0/33'), undefined);
  t.equal(parseCidr('x'), undefined);
});

t.test('server names', async (t) => {
  const { servers } = httpOf(
    compileText(server('server_name A.com .b.com *.c.com d.* ~^E(?<x>.) "";')),
  );
  t.match(servers[0]?.names, [
    { name: 'a.com', kind: 'exact' },
    { name: 'b.com', kind: 'exact' },
    { name: '*.b.com', kind: 'head' },
    { name: '*.c.com', kind: 'head' },
    { name: 'd.*', kind: 'tail' },
    { name: '~^E(?<x>.)', kind: 'regex', regex: { pattern: '^E(?<x>.)', caseless: true } },
    { name: '', kind: 'exact' },
  ]);
});

t.test('locations', async (t) => {
  const compiled = compileText(
    server(`
      location / {} location = /a {} location ^~ /b {} location ~ \\.c$ {} location ~* D {} location @e {}
      location =/f {} location ~*g {} location /n { location /n/m {} location ~ o {} }`),
  );
  const tree = confOf(compiled, '', 'server').locations;
  t.match(tree?.static, [
    { name: '/', exact: false, noregex: false },
    { name: '/a', exact: true },
    { name: '/b', exact: false, noregex: true },
    { name: '/f', exact: true },
    { name: '/n', exact: false },
  ]);
  t.match(tree?.regex, [
    { regex: { pattern: '\\.c$', caseless: false } },
    { regex: { pattern: 'D', caseless: true } },
    { regex: { pattern: 'g', caseless: true } },
  ]);
  t.match(tree?.named, [{ name: '@e' }]);
  const inner = confOf(compiled, '/n').locations;
  t.match(inner, { static: [{ name: '/n/m' }], regex: [{ regex: { pattern: 'o' } }] });
  const { confs } = httpOf(compiled);
  for (const { name, conf } of tree?.static ?? []) t.equal(confs[conf]?.name, name);
});

t.test('error_page', async (t) => {
  t.strictSame(
    locationConf('error_page 404 500 /a; error_page 494 401 @b; error_page 403 = /c$uri;')
      .error_page,
    [
      { codes: [404, 500], overwrite: -1, target: '/a' },
      { codes: [494], overwrite: 400, target: '@b' },
      { codes: [401], overwrite: -1, target: '@b' },
      { codes: [403], overwrite: 0, target: ['/c', { var: 0 }] },
    ],
  );
});

t.test('log_format', async (t) => {
  const { formats } = httpOf(
    compileText(
      http(
        'log_format a escape=json "x" "$host-" $uri; log_format b y; server { access_log l A if=$http_x; }',
      ),
    ),
  );
  t.match(formats, [
    { name: 'combined', escape: 'default' },
    { name: 'a', escape: 'json', value: ['x', { var: Number }, '-', { var: Number }] },
    { name: 'b', value: 'y' },
  ]);
});

t.test('include', async (t) => {
  const files = {
    'conf/a.conf': 'send_timeout 1s;',
    'conf/d/2.conf': 'server { listen 2; }',
    'conf/d/1.conf': 'server { listen 1; }',
    'conf/d/.3.conf': 'foo;',
    'conf/types': 'types { a b; }',
    'conf/type-list': 'text/x x;',
  };
  const compiled = compileText(
    http(
      'include a.conf; include d/*.conf; include none/*.conf; include types; map $host $m { include map; }',
    ),
    { ...files, 'conf/map': 'x y;' },
  );
  const { listens, confs } = httpOf(compiled);
  t.same(
    listens.map((l) => l.port),
    [1, 2],
    'in order of their names',
  );
  t.equal(confs[0]?.send_timeout, 1000);
  t.same(
    [...compiled.files.keys()].map((f) => f.replace(/.*\/conf\//, '')),
    ['nginx.conf', 'a.conf', 'd/1.conf', 'd/2.conf', 'types', 'map'],
    'for -T',
  );
  t.match(compiled.files.get([...compiled.files.keys()][1] ?? ''), 'send_timeout');
  t.equal(
    errorOf(http('include b;'), { 'conf/b': '\nserver {' }),
    'unexpected end of file, expecting "}" in b:2',
  );
  t.equal(errorOf(http('include b;'), { 'conf/b': '}' }), 'unexpected "}" in b:1');
  t.match(
    errorOf(http('types { include t; }'), { 'conf/t': 'a b; c { }' }),
    'unexpected "{" in t:1',
  );
});

t.test('the rewrite module', async (t) => {
  const { rewrite } = locationConf(`
    set $a "x$host"; set $args b;
    if ($a = "y") { return 403; }
    if ($a !~* "^(?<cap>.)z") { break; }
    if (!-f $document_root/x) { rewrite ^/(.*)$ /y/$1 last; }
    if ($a) { set $cap 1; }
    rewrite a /b?c; rewrite a /b? permanent; rewrite a http://c; return 302 $a; return http://x;`);
  t.match(rewrite, [
    { op: 'set', value: ['x', { var: Number }] },
    { op: 'set', value: 'b' },
    {
      op: 'if',
      cond: { kind: 'equal', value: 'y', negate: false },
      then: [{ op: 'return', status: 403 }],
    },
    {
      op: 'if',
      cond: {
        kind: 'match',
        negate: true,
        regex: { pattern: '^(?<cap>.)z', caseless: true, captures: [{ name: 'cap' }] },
      },
      then: [{ op: 'break' }],
    },
    {
      op: 'if',
      cond: { kind: 'file', negate: true, path: [{ var: Number }, '/x'] },
      then: [{ op: 'rewrite', flag: 'last', replacement: ['/y/', { cap: 1 }] }],
    },
    { op: 'if', cond: { kind: 'var' }, conf: Number },
    { op: 'rewrite', replacement: '/b?c', add_args: true, absolute: false, flag: '' },
    { op: 'rewrite', replacement: '/b', add_args: false, flag: 'permanent' },
    { op: 'rewrite', replacement: 'http://c', absolute: true },
    { op: 'return', status: 302, text: [{ var: Number }] },
    { op: 'return', status: 302, text: 'http://x' },
  ]);
});

t.test('variables', async (t) => {
  const { plan } = compileText(
    http(`
      map $http_A $m { default 0; }
      server {
        listen 1984; location ~ (?<n>.) { set $s 1; set $http_b 2; return 200 "$m$n$S\${arg_x}$http_b$memc_key"; }
      }`),
  );
  const kinds = Object.fromEntries(plan.variables.map((v) => [v.name, v.kind]));
  t.match(kinds, {
    http_a: 'builtin',
    m: 'map',
    n: 'capture',
    s: 'set',
    arg_x: 'builtin',
    http_b: 'builtin',
    memc_key: 'builtin',
  });
  t.equal(new Set(plan.variables.map((v) => v.name)).size, plan.variables.length, 'each once');
  t.equal(errorOf(location('return 200 $nosuch;')), 'unknown "nosuch" variable in nginx.conf:6');
});

t.test('map, geo and split_clients', async (t) => {
  const { plan } = compileText(
    http(`
      map $host$uri $a { hostnames; volatile; default d; A x; .b y; c.* $uri; ~*^e f; \\~g h; }
      geo $b { default 0; 10.0.0.0/8 1; 2001:db8::/32 2; proxy 127.0.0.1; proxy_recursive; }
      geo $arg_x $c { ranges; 10.0.0.0-10.0.2.255 1; }
      split_clients $host $d { 0.5% a; 20% b; * c; }
      server { listen 1984; return 200 $a$b$c$d; }`),
  );
  const variable = (name: string): unknown => plan.variables.find((v) => v.name === name);
  t.match(variable('a'), {
    kind: 'map',
    map: {
      source: [{ var: Number }, { var: Number }],
      hostnames: true,
      volatile: true,
      exact: [
        ['a', 'x'],
        ['b', 'y'],
        ['~g', 'h'],
      ],
      masks: [
        ['*.b', 'y'],
        ['c.*', [{ var: Number }]],
      ],
      regex: [[{ pattern: '^e', caseless: true }, 'f']],
      default: 'd',
    },
  });
  t.match(variable('b'), {
    geo: {
      ranges: [
        { cidr: '10.0.0.0/8', value: '1' },
        { cidr: '2001:db8::/32', value: '2' },
      ],
      proxies: ['127.0.0.1/32'],
      proxy_recursive: true,
      default: '0',
    },
  });
  t.match(variable('c'), {
    geo: { ranges: [{ cidr: '10.0.0.0/23' }, { cidr: '10.0.2.0/24' }], default: '' },
  });
  t.match(variable('d'), { split: { parts: [{ upto: 50 }, { upto: 2050 }, { upto: 10000 }] } });
});

t.test('upstreams', async (t) => {
  const { upstreams } = httpOf(
    compileText(
      http(`upstream a { server b:81 weight=2 max_fails=0 fail_timeout=1m backup; server unix:/x down; keepalive 5; }
            upstream c { hash $host consistent; server d; }
            upstream e { balancer_by_lua_block { x() } }`),
    ),
  );
  t.match(upstreams, [
    {
      name: 'a',
      method: 'round_robin',
      keepalive: 5,
      servers: [
        {
          address: 'b:81',
          weight: 2,
          max_fails: 0,
          fail_timeout: 60000,
          backup: true,
          down: false,
        },
        { address: 'unix:/x', weight: 1, down: true },
      ],
    },
    { name: 'c', method: 'hash', hash_consistent: true, keepalive: 32, keepalive_local: true },
    { name: 'e', servers: [{ address: '0.0.0.1:80' }], balancer_by_lua: { inline: ' x() ' } },
  ]);
});
