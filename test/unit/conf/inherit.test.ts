import t from 'tap';
import { compileText, confOf, http, httpOf, location, locationConf } from './helper.js';

t.test("nginx's defaults", async (t) => {
  const conf = locationConf('');
  t.match(conf, {
    default_type: 'text/plain',
    types: { html: 'text/html', gif: 'image/gif', jpg: 'image/jpeg' },
    client_max_body_size: 1048576,
    client_body_buffer_size: 8192,
    client_body_timeout: 60000,
    client_body_in_file_only: 'off',
    send_timeout: 60000,
    keepalive_timeout: 75000,
    keepalive_header: 0,
    keepalive_requests: 1000,
    keepalive_time: 3600000,
    keepalive_disable: ['msie6'],
    lingering_close: 'on',
    tcp_nodelay: true,
    tcp_nopush: false,
    sendfile: false,
    postpone_output: 1460,
    limit_rate: '',
    chunked_transfer_encoding: true,
    etag: true,
    if_modified_since: 'exact',
    max_ranges: 2147483647,
    server_tokens: 'on',
    satisfy: 'all',
    error_page: [],
    log_not_found: true,
    log_subrequest: false,
    index: ['index.html'],
    alias: false,
    add_header: [],
    access: [],
    internal: false,
    resolver_timeout: 30000,
    lua_code_cache: true,
    lua_http10_buffering: true,
    lua_use_default_type: true,
    lua_check_client_abort: false,
    lua_socket_connect_timeout: 60000,
    lua_socket_keepalive_timeout: 60000,
    lua_socket_buffer_size: 4096,
    lua_socket_pool_size: 30,
    echo_status: 200,
    rewrite: [],
  });
  t.match(conf.root, /\/html$/);
  t.match(conf.access_log, [{ path: /\/logs\/access\.log$/, format: 0 }]);
  t.notOk('proxy' in conf || 'gzip' in conf || 'content' in conf || 'expires' in conf);
  const { lua, servers } = httpOf(compileText(location('')));
  t.match(lua, {
    lua_max_pending_timers: 1024,
    lua_max_running_timers: 256,
    lua_regex_cache_max_entries: 1024,
    lua_regex_match_limit: 0,
    lua_thread_cache_max_entries: 1024,
    lua_worker_thread_vm_pool_size: 10,
    lua_malloc_trim: 1000,
    lua_sa_restart: true,
    lua_phase_capabilities: 'strict',
    shared_dicts: [],
  });
  t.match(servers[0], {
    client_header_buffer_size: 1024,
    large_client_header_buffers: { number: 4, size: 8192 },
    client_header_timeout: 60000,
    ignore_invalid_headers: true,
    underscores_in_headers: false,
    merge_slashes: true,
    max_headers: 1000,
    names: [{ name: '', kind: 'exact' }],
  });
});

t.test('the innermost level that has a value wins', async (t) => {
  const compiled = compileText(
    http(`
      send_timeout 1s; client_max_body_size 1k; keepalive_timeout 5s 4s;
      server {
        send_timeout 2s;
        location /a { send_timeout 3s; location /a/b { client_max_body_size 2k; } if ($uri) { set $x 1; } }
      }`),
  );
  t.match(confOf(compiled, '/a'), {
    send_timeout: 3000,
    client_max_body_size: 1024,
    keepalive_timeout: 5000,
  });
  t.match(confOf(compiled, '/a/b'), {
    send_timeout: 3000,
    client_max_body_size: 2048,
    keepalive_header: 4000,
  });
  t.match(confOf(compiled, '/a', 'if'), { send_timeout: 3000, kind: 'if' });
  t.match(confOf(compiled, '', 'server'), { send_timeout: 2000 });
  t.match(confOf(compiled, '', 'http'), { send_timeout: 1000 });
  const { mainConf, confs } = httpOf(compiled);
  t.equal(confs[mainConf]?.kind, 'http');
});

t.test('lists replace those of outer levels', async (t) => {
  const outer = `add_header A 1; error_page 404 /a; index x y; allow all; keepalive_disable none;`;
  t.match(locationConf('', outer), {
    add_header: [{ name: 'A' }],
    error_page: [{ codes: [404] }],
    index: ['x', 'y'],
    access: [{ allow: true, cidr: 'all' }],
    keepalive_disable: ['none'],
  });
  const inner = locationConf(
    'add_header B 2; error_page 500 502 =200 /b; index z; deny 10.1.2.3/8;',
    outer,
  );
  t.strictSame(inner.add_header, [{ name: 'B', value: '2', always: false }]);
  t.strictSame(inner.error_page, [{ codes: [500, 502], overwrite: 200, target: '/b' }]);
  t.strictSame(inner.index, ['z']);
  t.strictSame(inner.access, [{ allow: false, cidr: '10.0.0.0/8' }]);
});

t.test('add_header_inherit', async (t) => {
  const names = (text: string): string[] =>
    locationConf(text, 'add_header A 1;').add_header.map((h) => h.name);
  t.strictSame(names('add_header_inherit merge; add_header B 2;'), ['B', 'A']);
  t.strictSame(names('add_header_inherit off;'), []);
});

t.test('more_* commands add up, outer levels first', async (t) => {
  const conf = locationConf(
    'more_clear_headers X-*;',
    'more_set_headers "A: 1";',
    'more_set_input_headers -r "B: $host";',
  );
  t.match(conf.more_headers, [
    { dir: 'set', target: 'out', headers: [{ name: 'A', value: '1' }] },
    { dir: 'set', target: 'in', replace: true, headers: [{ name: 'B' }] },
    { dir: 'clear', target: 'out', headers: [{ name: 'X-*', wildcard: true, value: '' }] },
  ]);
});

t.test('access_log off', async (t) => {
  t.strictSame(locationConf('access_log off;').access_log, []);
  t.strictSame(locationConf('', 'access_log off;').access_log, []);
  t.strictSame(
    locationConf('access_log off; access_log a;').access_log,
    [],
    'off beats others of its level',
  );
  t.equal(locationConf('access_log a; access_log b;', 'access_log off;').access_log.length, 2);
});

t.test('error_log of main is the one of locations without', async (t) => {
  const { plan } = compileText(
    `error_log logs/a.log warn;\n${location('error_log logs/b.log info;')}`,
  );
  t.match(plan.process.error_log, [{ log: 0, level: 'warn' }]);
  t.match(plan.http?.confs[0]?.error_log, [{ log: 0, level: 'warn' }]);
  t.match(plan.http?.confs[2]?.error_log, [{ log: 1, level: 'info' }]);
  t.match(plan.logs, [
    { kind: 'file', path: /\/logs\/a\.log$/ },
    { kind: 'file', path: /\/logs\/b\.log$/ },
  ]);
  t.match(compileText(location(''), {}, { errorLog: 'stderr' }).plan.logs, [{ kind: 'stderr' }]);
});

t.test('rewrite operations, try_files and content handlers stay at their level', async (t) => {
  const compiled = compileText(
    http(`server {
      set $a 1; try_files a b;
      location /a {
        set $b 2; try_files c =404; content_by_lua 'x';
        location /a/b { }
        if ($b) { set $c 3; }
        limit_except GET { deny all; }
      }
    }`),
  );
  const inner = confOf(compiled, '/a/b');
  t.strictSame(inner.rewrite, []);
  t.notOk('try_files' in inner || 'content' in inner || 'content_by_lua' in inner);
  const outer = confOf(compiled, '/a', 'prefix');
  t.match(outer.rewrite, [
    { op: 'set', value: '2' },
    { op: 'if', then: [{ op: 'set', value: '3' }] },
  ]);
  t.match(outer.content, { kind: 'lua' });
  t.strictSame(outer.try_files, { files: ['c'], code: 404 });
  const block = confOf(compiled, '/a', 'if');
  t.match(
    block,
    { content: { kind: 'lua' }, content_by_lua: { inline: 'x' } },
    'an if takes the handler over',
  );
  t.strictSame(block.rewrite, []);
  const limited = confOf(compiled, '/a', 'limit_except');
  t.notOk('content' in limited);
  t.match(outer.limit_except, { methods: ['GET', 'HEAD'] });
  t.equal(httpOf(compiled).confs[outer.limit_except?.conf ?? -1], limited);
  t.match(httpOf(compiled).servers[0]?.rewrite, [{ op: 'set', value: '1' }]);
});

t.test('handlers of other phases are inherited', async (t) => {
  const conf = locationConf(
    'access_by_lua in;',
    'rewrite_by_lua out; access_by_lua out;',
    'log_by_lua_file x;',
  );
  t.match(conf, {
    rewrite_by_lua: { inline: 'out' },
    access_by_lua: { inline: 'in' },
    log_by_lua: { file: 'x' },
  });
});

t.test('the last content handler counts', async (t) => {
  t.match(locationConf('echo a; content_by_lua b;').content, { kind: 'lua' });
  t.match(locationConf('content_by_lua b; echo a;').content, { kind: 'echo' });
  t.match(locationConf('content_by_lua b; proxy_pass http://127.0.0.1;').content, {
    kind: 'proxy',
  });
  const echo = locationConf('echo a; echo_sleep 1; echo b;').echo_cmds;
  t.match(echo, [{ op: 'echo', args: ['a'] }, { op: 'echo_sleep' }, { op: 'echo', args: ['b'] }]);
});

t.test('root and alias', async (t) => {
  t.match(locationConf('', 'root /a/b/;'), { root: '/a/b', alias: false });
  t.match(locationConf('alias /x/;', 'root /a;'), { root: '/x/', alias: true, alias_length: 2 });
  t.match(locationConf('root $host/x;').root, [{ var: 0 }, '/x']);
  const compiled = compileText(
    http('server { location ~ a { alias b; } location /c { alias d; location /c/e {} } }'),
  );
  t.match(confOf(compiled, 'a'), { alias: true, alias_length: -1 });
  t.match(
    confOf(compiled, '/c/e'),
    { alias: true, alias_length: 2 },
    "the length of the alias's own location",
  );
});

t.test('proxy_pass', async (t) => {
  const conf = locationConf(
    'proxy_pass http://127.0.0.1:81/x?y; if ($uri) { set $a 1; } limit_except GET { deny all; }',
    'proxy_set_header A $host; proxy_read_timeout 3s;',
  );
  t.match(conf.proxy, {
    proxy_pass: {
      host: '127.0.0.1',
      port: 81,
      portText: '81',
      uri: '/x?y',
      location: '/t',
      ssl: false,
      family: 'inet',
    },
    proxy_redirect: [{ pattern: 'http://127.0.0.1:81/x?y', replacement: '/t' }],
    proxy_set_header: [{ name: 'A' }],
    proxy_read_timeout: 3000,
    proxy_http_version: '1.1',
    proxy_next_upstream: ['error', 'timeout'],
  });
  const compiled = compileText(
    http(
      'server { location /a/ { proxy_pass http://unix:/s:/b; if ($uri) { set $x 1; } limit_except GET {} } }',
    ),
  );
  t.match(confOf(compiled, '/a/', 'prefix'), {
    auto_redirect: true,
    proxy: { proxy_pass: { family: 'unix', host: '/s', uri: '/b' } },
  });
  for (const kind of ['if', 'limit_except'] as const) {
    t.match(confOf(compiled, '/a/', kind), {
      content: { kind: 'proxy' },
      proxy: { proxy_pass: { host: '/s' } },
    });
  }
  t.match(locationConf('proxy_pass $scheme://$host;').proxy?.proxy_pass, {
    url: [{ var: 0 }, '://', { var: 1 }],
  });
});

t.test('an error_log to syslog does not replace the default file', async (t) => {
  const { plan } = compileText(`error_log syslog:server=127.0.0.1:514 info;\n${location('')}`);
  t.match(plan.process.error_log, [
    { log: 0, level: 'info' },
    { log: 1, level: 'error' },
  ]);
  t.match(plan.logs, [
    { kind: 'syslog', syslog: 0 },
    { kind: 'file', path: /logs\/error\.log$/ },
  ]);
  t.match(plan.syslogs, [{ facility: 23, severity: 6, tag: 'nginx' }]);
});
