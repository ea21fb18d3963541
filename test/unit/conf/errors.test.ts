import t from 'tap';
import { compile } from '../../../lib/conf/compile.js';
import { NATIVE_PENDING, PENDING_PARTS } from '../../../lib/conf/support.js';
import { TABLE } from '../../../lib/conf/table.js';
import { ConfigError, MoonphaseError, errorTable } from '../../../lib/errors.js';
import { compileText, errorOf, http, location, server } from './helper.js';

t.test('a ConfigError has words, place and code', async (t) => {
  try {
    compileText('events {}\nfoo bar;');
    t.fail('compiled');
  } catch (error) {
    t.ok(error instanceof ConfigError && error instanceof MoonphaseError);
    t.match(error, {
      name: 'ConfigError',
      code: 'ERR_MOONPHASE_CONFIG',
      words: 'unknown directive "foo"',
      line: 2,
      directive: 'foo',
      file: /conf\/nginx\.conf$/,
    });
    t.ok('ERR_MOONPHASE_CONFIG' in errorTable);
  }
});

const TOO_SMALL = 'is equal to or greater than';

t.test("nginx's words", async (t) => {
  const main: [string, string][] = [
    ['foo;', 'unknown directive "foo" in nginx.conf:1'],
    ['listen 80;', '"listen" directive is not allowed here in nginx.conf:1'],
    ['events;', 'directive "events" has no opening "{" in nginx.conf:1'],
    ['daemon on {}', 'directive "daemon" is not terminated by ";" in nginx.conf:1'],
    ['daemon on off;', 'invalid number of arguments in "daemon" directive in nginx.conf:1'],
    ['daemon on; daemon on;', '"daemon" directive is duplicate in nginx.conf:1'],
    [
      'daemon x;',
      'invalid value "x" in "daemon" directive, it must be "on" or "off" in nginx.conf:1',
    ],
    ['worker_processes x;', '"worker_processes" directive invalid value in nginx.conf:1'],
    ['events { use x; }', 'invalid event type "x" in nginx.conf:1'],
    ['events { use kqueue; }', 'invalid event type "kqueue" in nginx.conf:1'],
    [
      'events { worker_connections 1; } http { server { listen 127.0.0.1:1234; } }',
      '1 worker_connections are not enough for 1 listening sockets',
    ],
    ...(process.geteuid?.() === 0
      ? ([
          ['user nosuchuser;', 'getpwnam("nosuchuser") failed in nginx.conf:1'],
          ['user root nosuchgroup;', 'getgrnam("nosuchgroup") failed in nginx.conf:1'],
        ] as [string, string][])
      : []),
    ['events { worker_connections x; }', 'invalid number "x" in nginx.conf:1'],
    ['error_log a x;', 'invalid log level "x" in nginx.conf:1'],
    ['error_log a info info;', 'duplicate log level "info" in nginx.conf:1'],
    ['http {}', 'no "events" section in configuration'],
    ['events {} events {}', '"events" directive is duplicate in nginx.conf:1'],
    ['stream {}', '"stream" directive is not supported yet in nginx.conf:1'],
    ['worker_cpu_affinity 012;', 'invalid character "2" in "worker_cpu_affinity" in nginx.conf:1'],
    ['include no.conf;', 'open() "no.conf" failed (2: No such file or directory) in nginx.conf:1'],
  ];
  for (const [text, message] of main) t.equal(errorOf(text), message, text);
  const inHttp: [string, string][] = [
    ['log_format a $b;', 'unknown "b" variable in nginx.conf:3'],
    ['log_format a "${b";', 'the closing bracket in "b" variable is missing in nginx.conf:3'],
    ['log_format a b; log_format a c;', 'duplicate "log_format" name "a" in nginx.conf:3'],
    ['log_format a escape=x b;', 'unknown log format escaping "x" in nginx.conf:3'],
    ['map $host $x { a b c; }', 'invalid number of the map parameters in nginx.conf:3'],
    ['map $host $x { a b; a c; }', 'conflicting parameter "a" in nginx.conf:3'],
    ['map $host $x { default b; default c; }', 'duplicate default map parameter in nginx.conf:3'],
    ['map $host $x { hostnames; a*b c; }', 'invalid hostname or wildcard "a*b" in nginx.conf:3'],
    ['map $host $x { hostnames; *.a 1; .a 2; }', 'conflicting parameter ".a" in nginx.conf:3'],
    ['map $host x {}', 'invalid variable name "x" in nginx.conf:3'],
    ['map $host $uri {}', 'the duplicate "uri" variable in nginx.conf:3'],
    ['geo $x { a b; }', 'invalid network "a" in nginx.conf:3'],
    ['split_clients $host $x { 0% a; }', 'invalid percent value "0%" in nginx.conf:3'],
    [
      'split_clients $host $x { 60% a; 41% b; }',
      'percent total is greater than 100% in nginx.conf:3',
    ],
    ['upstream a {}', 'no servers are inside upstream in nginx.conf:3'],
    ['upstream a { server b weight=0; }', 'invalid parameter "weight=0" in nginx.conf:3'],
    ['lua_shared_dict a 1k;', 'invalid lua shared dict size "1k" in nginx.conf:3'],
    [
      'lua_shared_dict a 1m; lua_shared_dict a 1m;',
      'lua_shared_dict "a" is already defined as "a" in nginx.conf:3',
    ],
    ['init_by_lua "";', 'invalid location config: no runnable Lua code in nginx.conf:3'],
    [
      'server { content_by_lua x; }',
      '"content_by_lua" directive is not allowed here in nginx.conf:3',
    ],
    [
      'lua_capture_error_log 3k;',
      'invalid capture error log size "3k", minimum size is 4096 in nginx.conf:3',
    ],
  ];
  for (const [text, message] of inHttp) t.equal(errorOf(http(text)), message, text);
  const inServer: [string, string][] = [
    ['location !~ a {}', 'invalid location modifier "!~" in nginx.conf:5'],
    ['location / {} location / {}', 'duplicate location "/" in nginx.conf:5'],
    ['location = /a {} location = /a {}', 'duplicate location "/a" in nginx.conf:5'],
    ['location / {} location = / {} location ^~ /a {} location ~ / {} location ~ / {}', 'no error'],
    ['location /a { location /b {} }', 'location "/b" is outside location "/a" in nginx.conf:5'],
    [
      'location = /a { location /a/b {} }',
      'location "/a/b" cannot be inside the exact location "/a" in nginx.conf:5',
    ],
    [
      'location @a { location /b {} }',
      'location "/b" cannot be inside the named location "@a" in nginx.conf:5',
    ],
    [
      'location /a { location @b {} }',
      'named location "@b" can be on the server level only in nginx.conf:5',
    ],
    ['server_name *;', 'server name "*" is invalid in nginx.conf:5'],
    ['listen 1984;', 'a duplicate listen 0.0.0.0:1984 in nginx.conf:5'],
    ['listen a:b;', 'invalid port in "a:b" of the "listen" directive in nginx.conf:5'],
    ['listen 80 foo;', 'invalid parameter "foo" in nginx.conf:5'],
    ['listen [::1;', 'invalid host in "[::1" of the "listen" directive in nginx.conf:5'],
    [
      'location @a { alias x; }',
      'the "alias" directive cannot be used inside the named location in nginx.conf:5',
    ],
    ['if ($host = a) { root b; }', '"root" directive is not allowed here in nginx.conf:5'],
  ];
  for (const [text, message] of inServer) t.equal(errorOf(server(text)), message, text);
  const inLocation: [string, string][] = [
    ['root a; root b;', '"root" directive is duplicate in nginx.conf:6'],
    [
      'root a; alias b;',
      '"alias" directive is duplicate, "root" directive was specified earlier in nginx.conf:6',
    ],
    [
      'root $document_root;',
      'the $document_root variable cannot be used in the "root" directive in nginx.conf:6',
    ],
    ['client_max_body_size x;', '"client_max_body_size" directive invalid value in nginx.conf:6'],
    ['max_ranges x;', '"max_ranges" directive invalid number in nginx.conf:6'],
    ['satisfy x;', 'invalid value "x" in nginx.conf:6'],
    ['error_page 200 /a;', 'value "200" must be between 300 and 599 in nginx.conf:6'],
    ['error_page 404 =x /a;', 'invalid value "=x" in nginx.conf:6'],
    ['error_page =404 /a;', 'invalid value "=404" in nginx.conf:6'],
    ['try_files a =1000;', 'invalid code "=1000" in nginx.conf:6'],
    ['limit_except GETT {}', 'invalid method "GETT" in nginx.conf:6'],
    ['limit_except GET { root a; }', '"root" directive is not allowed here in nginx.conf:6'],
    ['set a b;', 'invalid variable name "a" in nginx.conf:6'],
    ['set $host b;', 'the duplicate "host" variable in nginx.conf:6'],
    ['set $a $b;', 'unknown "b" variable in nginx.conf:6'],
    ['set $a "b$";', 'invalid variable name in nginx.conf:6'],
    ['if $a {}', 'invalid condition "$a" in nginx.conf:6'],
    ['if ($host == a) {}', 'unexpected "==" in condition in nginx.conf:6'],
    ['if ($host = a b) {}', 'invalid condition "$host" in nginx.conf:6'],
    ['if (-z a) {}', 'invalid condition "-z" in nginx.conf:6'],
    ['if (a) {}', 'invalid condition "a" in nginx.conf:6'],
    ['if () {}', 'invalid condition ")" in nginx.conf:6'],
    ['return x;', 'invalid return code "x" in nginx.conf:6'],
    ['return 1000;', 'invalid return code "1000" in nginx.conf:6'],
    ['rewrite a "";', 'empty replacement in nginx.conf:6'],
    ['rewrite a b c;', 'invalid parameter "c" in nginx.conf:6'],
    ['access_log off x;', 'invalid parameter "x" in nginx.conf:6'],
    ['access_log a x;', 'unknown log format "x" in nginx.conf:6'],
    ['access_log a combined flush=1s;', 'no buffer is defined for access_log "a" in nginx.conf:6'],
    ['add_header a b c;', 'invalid parameter "c" in nginx.conf:6'],
    ['expires x;', '"expires" directive invalid value in nginx.conf:6'],
    ['allow x;', 'invalid parameter "x" in nginx.conf:6'],
    ['resolver x.invalid;', 'host not found in resolver "x.invalid" in nginx.conf:6'],
    ['proxy_pass x;', 'invalid URL prefix in nginx.conf:6'],
    ['grpc_pass grpc://;', 'no host in upstream "" in nginx.conf:6'],
    ['grpc_pass grpc://a/x;', 'invalid host in upstream "a/x" in nginx.conf:6'],
    ['grpc_pass a:1; grpc_pass b:1;', '"grpc_pass" directive is duplicate in nginx.conf:6'],
    ['grpc_next_upstream updating;', 'invalid value "updating" in nginx.conf:6'],
    ['proxy_buffers 1 4k;', 'there must be at least 2 "proxy_buffers" in nginx.conf:5'],
    ['set_by_lua a b;', 'invalid variable name "a" in nginx.conf:6'],
    ['content_by_js "#x";', 'no module in "#x" in nginx.conf:6'],
    ['content_by_js a.mjs#;', 'no name of an export in "a.mjs#" in nginx.conf:6'],
    ['more_set_headers -x a;', 'more_set_headers: invalid option name: "-x" in nginx.conf:6'],
    [
      'more_set_headers -a "Server: x";',
      'more_set_headers: can not append builtin headers "Server" in nginx.conf:6',
    ],
  ];
  for (const [text, message] of inLocation) t.equal(errorOf(location(text)), message, text);
  t.notMatch(errorOf(location('proxy_busy_buffers_size 1k;')), TOO_SMALL);
});

t.test('what the native side does not do yet is refused by name', async (t) => {
  for (const name of [...NATIVE_PENDING, ...PENDING_PARTS]) {
    t.ok(TABLE.has(name.split(' ')[0] ?? ''), `${name} is a directive`);
  }
  for (const name of ['uwsgi', 'scgi', 'memcached'])
    t.throws(() => compileText(location(`${name}_pass 127.0.0.1:1;`)), {
      words: `"${name}_pass" directive is not supported yet`,
    });
  t.throws(() => compileText(location('fastcgi_pass 127.0.0.1:1;')), {
    code: 'ERR_MOONPHASE_CONFIG_UNSUPPORTED',
    words: '"fastcgi_pass" directive is not supported yet',
    line: 6,
  });
  t.throws(() => compileText(location('echo hi;'), {}, { pending: new Set(['echo']) }), {
    code: 'ERR_MOONPHASE_CONFIG_UNSUPPORTED',
    words: '"echo" directive is not supported yet',
  });
});

t.test('so are parts of directives', async (t) => {
  t.throws(
    () =>
      compileText(location('proxy_bind 127.0.0.1 transparent;'), {}, { pending: PENDING_PARTS }),
    {
      code: 'ERR_MOONPHASE_CONFIG_UNSUPPORTED',
      words: '"transparent" of the "proxy_bind" directive is not supported yet',
    },
  );
});

t.test('certificates', async (t) => {
  t.equal(
    errorOf(server('listen 443 ssl;')),
    'no "ssl_certificate" is defined for the "listen ... ssl" directive in nginx.conf:3',
  );
  t.match(
    errorOf(server('listen 443 ssl; ssl_certificate a.crt;')),
    /^no "ssl_certificate_key" is defined for certificate "a.crt" in nginx.conf:3/,
  );
  t.equal(errorOf(server('listen 443 ssl; ssl_certificate a; ssl_certificate_key b;')), 'no error');
  t.equal(errorOf(server('listen 443 ssl; ssl_reject_handshake on;')), 'no error');
});

t.test('directives without meaning here are checked and ignored, with a reason', async (t) => {
  t.equal(errorOf(http('types_hash_max_size 1;')), 'no error');
  t.equal(
    errorOf(http('types_hash_max_size;')),
    'invalid number of arguments in "types_hash_max_size" directive in nginx.conf:3',
  );
  for (const rows of TABLE.values()) {
    for (const row of rows) {
      if (row.ignored !== undefined) t.ok(row.ignored.length > 10, row.name);
    }
  }
});

t.test('warnings do not stop the reading', async (t) => {
  const { notices } = compileText(
    http(
      'lua_code_cache off; types { a b; c b; }\nserver { server_name x; }\nserver { server_name x; }',
    ),
  );
  t.match(notices, [
    {
      level: 'alert',
      message: /^lua_code_cache is off; this will hurt performance in \S+nginx\.conf:3$/,
    },
    {
      level: 'warn',
      message: /^duplicate extension "b", content type: "c", previous content type: "a" in/,
    },
    { level: 'warn', message: /^conflicting server name "x" on 0\.0\.0\.0:\d+, ignored$/ },
  ]);
});

t.test('a missing main file', async (t) => {
  t.throws(() => compile({ prefix: '/nowhere', confFile: 'nginx.conf' }), {
    message: 'open() "/nowhere/nginx.conf" failed (2: No such file or directory)',
  });
});

t.test('the -g option', async (t) => {
  const globals = 'daemon off; worker_processes 3;';
  t.match(compileText('events {}', {}, { globals }).plan.process, {
    daemon: false,
    worker_processes: 3,
  });
  for (const [text, message] of [
    ['daemon off', 'unexpected end of parameter, expecting ";" in command line'],
    ['events {}', 'block directives are not supported in -g option in command line'],
    ['foo;', 'unknown directive "foo" in command line'],
  ] as const) {
    t.throws(() => compileText('events {}', {}, { globals: text }), { message });
  }
});
