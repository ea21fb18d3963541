// pgmoon against a real PostgreSQL: each way to log in, queries, errors, notifications, TLS, keep-alive.
import t from 'tap';
import { postgresPrograms, startPostgres } from '../helpers/services.js';
import { answers, lacks, luaPath, serverTls } from './library.js';

const names = ['pgmoon', 'lua-resty-openssl', 'lua-resty-string'];
const path = luaPath(...names);
const skip = lacks(...names) || (!postgresPrograms() && "Debian's postgresql is not installed");

// What a wrong password gets.
const refused: Record<string, string> = {
  trust: 'trusted',
  'scram-sha-256': 'authentication exchange unsuccessful',
};

for (const auth of ['trust', 'password', 'md5', 'scram-sha-256'])
  t.test(`connect: ${auth}`, { skip }, async (t) => {
    const postgres = await startPostgres({ auth, password: 'moon' });
    t.teardown(() => postgres.stop());
    await answers(t, {
      path,
      lua: `
      local pgmoon = require "pgmoon"
      local function connect(password, options)
        local config = { host = "127.0.0.1", port = ${postgres.port}, user = "postgres", password = password,
                         database = "postgres" }
        for k, v in pairs(options or {}) do config[k] = v end
        local pg = pgmoon.new(config)
        local ok, err = pg:connect()
        return ok and pg, err
      end
      local pg = assert(connect "moon")
      local first = ngx.shared.d:add("first", true)
      ngx.say((pg.sock:getreusedtimes() > 0) == not first)
      ngx.say(pg:query("select 1 + 1 as sum")[1].sum)
      local big = string.rep("x", 5000000)
      ngx.say(#pg:query("select repeat('y', 3000000) as y, length($1) as n", big)[1].y)
      ngx.say((select(2, pg:query("select no_such_column"))))
      ngx.say(pg:query("select $1::int as a, $2::text as b, $3::bool as c", 7, "it's", true)[1].b)
      -- a query that takes longer than the timeout leaves a connection that is of no use any more
      pg:settimeout(50)
      ngx.say(select(2, pg:query("select pg_sleep(1)")))
      pg:disconnect()
      local again = assert(connect("moon", { socket_path = "${postgres.dir}/.s.PGSQL.${postgres.port}", pool_name = "unix" }))
      ngx.say(again:query("select 'by a path' as p")[1].p)
      ngx.say(again:keepalive())
      local third = assert(connect "moon")
      ngx.say(third:keepalive())
      local wrong, err = connect("wrong", { pool_name = "wrong" })
      ngx.say(wrong and "trusted" or err)`,
      http: 'lua_shared_dict d 100k;',
      expected: [
        'true',
        '2',
        '3000000',
        'ERROR: column "no_such_column" does not exist (8)',
        "it's",
        'receive_message: failed to get type: timeout',
        'by a path',
        '1',
        '1',
        refused[auth] ?? 'FATAL: password authentication failed for user "postgres"',
      ],
    });
  });

t.test('TLS: channel binding, certificates', { skip }, async (t) => {
  const postgres = await startPostgres({ auth: 'scram-sha-256', password: 'moon', tls: serverTls });
  t.teardown(() => postgres.stop());
  await answers(t, {
    path,
    http: 'lua_ssl_trusted_certificate $prefix/tls/ca.crt;',
    lua: `
    local pgmoon = require "pgmoon"
    local function connect(options)
      local config = { host = "127.0.0.1", port = ${postgres.port}, user = "postgres", password = "moon",
                       database = "postgres", ssl = true, ssl_required = true }
      for k, v in pairs(options) do config[k] = v end
      local pg = pgmoon.new(config)
      local ok, err = pg:connect()
      return ok and pg, err
    end
    local pg = assert(connect { ssl_verify = true })
    ngx.say(pg:query("select ssl, version from pg_stat_ssl where pid = pg_backend_pid()")[1].version)
    ngx.say(#pg:query("select repeat('z', 2000000) as z")[1].z)
    ngx.say(pg:keepalive())
    ngx.say(select(2, connect { password = "wrong", pool_name = "wrong" }))`,
    expected: ['TLSv1.3', '2000000', '1', 'authentication exchange unsuccessful'],
  });
});

t.test('notifications between two light threads', { skip }, async (t) => {
  const postgres = await startPostgres({ auth: 'trust', password: 'moon' });
  t.teardown(() => postgres.stop());
  await answers(t, {
    path,
    lua: `
    local pgmoon = require "pgmoon"
    local function connect()
      local pg = pgmoon.new { host = "127.0.0.1", port = ${postgres.port}, user = "postgres", database = "postgres" }
      assert(pg:connect())
      return pg
    end
    local one, two = connect(), connect()
    assert(one:query("listen news"))
    local heard = ngx.thread.spawn(function()
      local got = assert(one:wait_for_notification())
      return got.channel .. " " .. got.payload
    end)
    assert(two:query("notify news, 'hello'"))
    ngx.say(select(2, ngx.thread.wait(heard)))
    one:disconnect() two:disconnect()`,
    expected: ['news hello'],
  });
});
