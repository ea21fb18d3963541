import t from 'tap';
import { compileText, confOf, errorOf, http, httpOf, location, locationConf } from './helper.js';

t.test('chunk names', async (t) => {
  const conf = locationConf(`content_by_lua_block {\n\n a() }\n rewrite_by_lua '\n b()';`);
  t.match(conf.content_by_lua, { inline: '\n\n a() ', chunk: '=content_by_lua(nginx.conf:8)' });
  t.match(
    conf.rewrite_by_lua,
    { inline: '\n b()', chunk: '=rewrite_by_lua(nginx.conf:12)' },
    'of a quoted text: the line of its semicolon',
  );
  const included = (name: string): string | undefined =>
    confOf(
      compileText(http(`server { include ${name}; }`), {
        [`conf/${name}`]: 'location /x { access_by_lua a; }',
      }),
      '/x',
    ).access_by_lua?.chunk;
  t.equal(
    included('d/b.conf'),
    '=access_by_lua(d/b.conf:1)',
    'under the directory of the main file',
  );
  t.equal(included('d/nginx.conf'), '=access_by_lua(nginx.conf:1)');
  const name = `${'a'.repeat(30)}/${'b'.repeat(30)}.conf`;
  const chunk = included(name) ?? '';
  t.equal(chunk.length, '=(:)'.length + 56);
  t.equal(chunk, `=access_by_lua(...${name.slice(-(56 - 'access_by_lua1'.length - 3))}:1)`);
});

t.test('files', async (t) => {
  t.match(locationConf('content_by_lua_file a/$uri.lua;').content_by_lua, {
    file: ['a/', { var: Number }, '.lua'],
    where: { line: 8 },
  });
  t.equal(errorOf(location('content_by_lua_file $x;')), 'unknown "x" variable in nginx.conf:6');
  t.match(httpOf(compileText(http('init_by_lua_file $x.lua;'))).lua.init_by_lua, {
    file: '$x.lua',
  });
});

t.test('set_by_lua', async (t) => {
  const { rewrite } = locationConf(`
    set_by_lua $a 'return 1' $host b; set_by_lua_block $b { return {} } set_by_lua_file $c x.lua $a;`);
  t.match(rewrite, [
    { op: 'set_by_lua', handler: { inline: 'return 1', args: [[{ var: Number }], 'b'] } },
    {
      op: 'set_by_lua',
      handler: { inline: ' return {} ', chunk: '=set_by_lua(nginx.conf:9)', args: [] },
    },
    { op: 'set_by_lua', handler: { file: 'x.lua', args: [[{ var: Number }]] } },
  ]);
});

t.test('http level', async (t) => {
  const { lua } = httpOf(
    compileText(
      http(`lua_package_path "/a/?.lua;$prefix/b;;"; lua_shared_dict a 12k; lua_shared_dict b 1m exact;
            init_worker_by_lua ""; init_by_lua_block { x = {} } exit_worker_by_lua_file e;
            lua_phase_capabilities strict; rewrite_by_lua_no_postpone on;`),
    ),
  );
  t.match(lua, {
    lua_package_path: '/a/?.lua;$prefix/b;;',
    shared_dicts: [
      { name: 'a', size: 12288, exact: false },
      { name: 'b', size: 1048576, exact: true },
    ],
    init_by_lua: { inline: ' x = {} ' },
    init_worker_by_lua: { inline: '' },
    exit_worker_by_lua: { file: 'e' },
    lua_phase_capabilities: 'strict',
    rewrite_by_lua_no_postpone: true,
  });
});

t.test('set-misc and echo', async (t) => {
  const conf = locationConf(`
    set_escape_uri $a $host; set_unescape_uri $a; set_if_empty $a x; set_hmac_sha1 $b k $a;
    echo_before_body -n $a; echo_location_async /x 'a=b';`);
  t.match(conf.rewrite, [
    { op: 'set_filter', fn: 'set_escape_uri', args: [[{ var: Number }]] },
    { op: 'set_filter', fn: 'set_unescape_uri', args: [[{ var: Number }]] },
    { op: 'set_filter', fn: 'set_if_empty', args: ['x'] },
    { op: 'set_filter', fn: 'set_hmac_sha1', args: ['k', [{ var: Number }]] },
  ]);
  t.match(conf, {
    echo_before_body: [{ op: 'echo_before_body', args: ['-n', [{ var: Number }]] }],
    echo_cmds: [{ op: 'echo_location_async', args: ['/x', 'a=b'] }],
  });
});

t.test('proxy_ssl_verify_by_lua needs https', async (t) => {
  t.match(
    errorOf(location('proxy_ssl_verify_by_lua_block { } proxy_pass http://127.0.0.1;')),
    /^proxy_ssl_verify_by_lua\* should be used with proxy_pass https url in/,
  );
});
