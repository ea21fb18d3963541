import t from 'tap';
import { compileOptions, type GatewayPlanOptions } from '../../../lib/conf/options.js';

const pending = new Set<string>();
const compile = (options: GatewayPlanOptions) =>
  compileOptions({ prefix: '/srv/app', ...options }, { pending });

t.test("DESIGN's example", async (t) => {
  const report = async (): Promise<void> => undefined;
  const { plan, functions } = compile({
    luaPackagePath: './lua/?.lua;;',
    sharedDicts: { limits: '10m', exact: { size: 16384, exact: true } },
    initByLua: { file: 'lua/init.lua' },
    locations: [
      { path: '/api/', accessByLua: { file: 'lua/auth.lua' }, proxyPass: 'http://127.0.0.1:9000' },
      { path: '= /hello', contentByLua: `ngx.say("Hello from Lua")` },
      { path: '/report', access: { file: 'lua/auth.lua' }, content: report },
    ],
  });
  t.match(plan, {
    prefix: '/srv/app/',
    process: { daemon: false, master_process: false },
    http: {
      lua: {
        lua_package_path: './lua/?.lua;;',
        shared_dicts: [
          { name: 'limits', size: 10485760 },
          { name: 'exact', size: 16384, exact: true },
        ],
        init_by_lua: { file: 'lua/init.lua' },
      },
      listens: [],
      servers: [{ names: [{ name: '' }] }],
    },
  });
  const confs = plan.http?.confs ?? [];
  t.match(confs.slice(2), [
    {
      name: '/api/',
      kind: 'prefix',
      access_by_lua: { file: 'lua/auth.lua' },
      content: { kind: 'proxy' },
    },
    {
      name: '/hello',
      kind: 'exact',
      content_by_lua: {
        inline: 'ngx.say("Hello from Lua")',
        chunk: '=content_by_lua(locations[1])',
      },
      access_log: [],
    },
    {
      name: '/report',
      access_by_lua: { file: 'lua/auth.lua' },
      content: { kind: 'lua' },
      content_by_lua: { js: 0 },
    },
  ]);
  t.same(functions, [report]);
  t.match(plan.logs, [{ kind: 'stderr' }]);
});

t.test('any directive is an option', async (t) => {
  const { plan } = compile({
    clientMaxBodySize: '2m',
    resolver: ['127.0.0.1', 'valid=5s'],
    servers: [
      {
        listen: [8080, '[::1]:81 reuseport'],
        serverName: ['a.com', 'b.com'],
        locations: [
          {
            path: '~* \\.x$',
            internal: true,
            luaNeedRequestBody: true,
            addHeader: [
              ['A', 'h\u00e9'],
              ['B', '$host', 'always'],
            ],
            rewrite: ['^/a', '/b', 'last'],
            return: [403, 'no'],
            locations: [{ path: '~ y', log: 'x()' }],
          },
        ],
      },
    ],
  });
  t.match(plan.http?.listens, [{ port: 8080 }, { name: '[::1]:81', reuseport: true }]);
  t.match(plan.http?.servers[0]?.names, [{ name: 'a.com' }, { name: 'b.com' }]);
  const [, , location, inner] = plan.http?.confs ?? [];
  t.match(location, {
    kind: 'regex',
    internal: true,
    lua_need_request_body: true,
    client_max_body_size: 2097152,
    resolver: { servers: [{ address: '127.0.0.1', port: 53 }], valid: 5000 },
    add_header: [
      { name: 'A', value: 'h\u00c3\u00a9' },
      { name: 'B', always: true },
    ],
    rewrite: [
      { op: 'rewrite', flag: 'last' },
      { op: 'return', status: 403, text: 'no' },
    ],
  });
  t.match(inner, {
    log_by_lua: { inline: 'x()', chunk: '=log_by_lua(servers[0].locations[0].locations[0])' },
  });
});

t.test('wrong options say which', async (t) => {
  const cases: [unknown, string][] = [
    [{ foo: 1 }, 'createGateway: unknown option "foo"'],
    [{ locations: {} }, 'createGateway: "locations" must be an array'],
    [{ locations: [{}] }, 'createGateway: "locations[0].path" must be a string'],
    [
      { locations: [{ path: '/', fooBar: 1 }] },
      'createGateway: unknown option "locations[0].fooBar"',
    ],
    [
      { locations: [{ path: '/', contentByLua: 1 }] },
      'createGateway: "locations[0].contentByLua" must be an object',
    ],
    [
      { locations: [{ path: '/', contentByLua: () => 1 }] },
      'createGateway: "locations[0].contentByLua" must be Lua code',
    ],
    [{ servers: [], listen: 80 }, 'createGateway: "listen" belongs into one of "servers"'],
    [
      { clientMaxBodySize: {} },
      /"clientMaxBodySize" must be a string, a number, a boolean or a list of them/,
    ],
  ] as [unknown, string][];
  for (const [options, message] of cases) {
    t.throws(() => compile(options as GatewayPlanOptions), {
      code: 'ERR_MOONPHASE_OPTION',
      message,
    });
  }
  t.throws(() => compile({ locations: [{ path: '/', proxyPass: 'x' }] }), {
    code: 'ERR_MOONPHASE_CONFIG',
    message: 'invalid URL prefix in locations[0].proxyPass',
  });
  t.throws(() => compile({ locations: [{ path: '/' }, { path: '/' }] }), {
    message: /^duplicate location "\/"/,
  });
  t.throws(
    () => compileOptions({ locations: [{ path: '/', echo: 'x' }] }, { pending: new Set(['echo']) }),
    {
      code: 'ERR_MOONPHASE_CONFIG_UNSUPPORTED',
      message: '"echo" directive is not supported yet in locations[0].echo',
    },
  );
});
