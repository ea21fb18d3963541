// lua-resty-mysql against a real MariaDB: large packets, TLS, several results, errors, keep-alive.
import fs from 'node:fs';
import t from 'tap';
import { startMariadb } from '../helpers/services.js';
import { answers, lacks, luaPath, serverTls, tlsFiles } from './library.js';

const path = luaPath('lua-resty-mysql', 'lua-resty-string');
const skip =
  lacks('lua-resty-mysql', 'lua-resty-string') ||
  (!fs.existsSync('/usr/sbin/mariadbd') && "Debian's mariadb-server is not installed");

const connect = `
local mysql = require "resty.mysql"
local function connect(options)
  local db = assert(mysql:new())
  db:set_timeout(5000)
  local config = { database = "moon", user = "moon", password = "phase", max_packet_size = 64 * 1024 * 1024 }
  for k, v in pairs(options) do config[k] = v end
  local ok, err, code = db:connect(config)
  return ok and db, err, code
end`;

t.test('mysql', { skip }, async (t) => {
  const mariadb = await startMariadb({
    sql: `create database moon;
grant all on moon.* to 'moon'@'%' identified by 'phase';
grant all on moon.* to 'moon'@'localhost' identified by 'phase';
grant all on moon.* to 'safe'@'%' identified by 'phase' require ssl;
`,
    tls: { ca: tlsFiles['tls/ca.crt'] ?? '', ...serverTls },
  });
  t.teardown(() => mariadb.stop());
  const at = `host = "127.0.0.1", port = ${mariadb.port}`;

  await t.test('queries, errors, keep-alive', (t) =>
    answers(t, {
      path,
      lua: `${connect}
      local db = assert(connect { ${at} })
      ngx.say(db:get_reused_times() > 0 == not ngx.shared.d:add("first", true))
      assert(db:query "drop table if exists cats")
      assert(db:query "create table cats (id serial primary key, name varchar(20), age double)")
      local res = assert(db:query "insert into cats (name, age) values ('Bob', 1.5), ('Tom', null)")
      ngx.say(res.affected_rows, " ", res.insert_id)
      res = assert(db:query "select name, age from cats order by id")
      ngx.say(#res, " ", res[1].name, " ", res[1].age, " ", res[2].age == ngx.null)
      local _, err, code, state = db:query "select nothing from nowhere"
      ngx.say(code, " ", state)
      res, err = db:query "select 1 as n; select 2 as n; select 3 as n"
      local all = { res[1].n }
      while err == "again" do
        res, err = db:read_result()
        all[#all + 1] = res[1].n
      end
      ngx.say(table.concat(all, ","))
      ngx.say(db:set_keepalive(10000, 10))
      ngx.say(select(2, db:query "select 1"))
      ngx.say((select(3, connect { ${at}, password = "wrong", pool = "wrong" })))
      db = assert(connect { path = "${mariadb.dir}/mysql.sock" })
      ngx.say(db:query("select 'by a path' as p")[1].p)
      db:set_timeout(50)
      ngx.say(select(2, db:query "select sleep(1)"))
      ngx.say(db:close())`,
      http: 'lua_shared_dict d 100k;',
      expected: [
        'true',
        '2 1',
        '2 Bob 1.5 true',
        '1146 42S02',
        '1,2,3',
        '1',
        'failed to send query: cannot send query in the current context: nil',
        '1045',
        'by a path',
        'failed to receive packet header: timeout',
        '1',
      ],
      errors: /\[(alert|crit|emerg)\]/,
    }),
  );

  await t.test('packets of 16 MB and more', (t) =>
    answers(t, {
      path,
      lua: `${connect}
      local db = assert(connect { ${at}, compact_arrays = true })
      local sizes = { 255, 256, 65535, 65536, 1000000, 15000000 }
      for i, n in ipairs(sizes) do
        local text = string.rep(string.char(96 + i), n)
        local res = assert(db:query("select '" .. text .. "'"))
        ngx.say(res[1][1] == text)
      end
      local huge = assert(mysql:new())
      huge:set_timeout(5000)
      assert(huge:connect { ${at}, database = "moon", user = "moon", password = "phase", max_packet_size = 1000 })
      ngx.say(select(2, huge:query("select repeat('x', 2000)")))
      ngx.say(db:set_keepalive(10000, 10))`,
      expected: [...Array.from({ length: 6 }, () => 'true'), 'packet size too big: 2003', '1'],
    }),
  );

  await t.test('TLS', (t) =>
    answers(t, {
      path,
      http: 'lua_ssl_trusted_certificate $prefix/tls/ca.crt; lua_shared_dict d 100k;',
      lua: `${connect}
      local db = assert(connect { ${at}, user = "safe", ssl_verify = true })
      ngx.say(db:query("show status like 'Ssl_version'")[1].Value)
      local text = string.rep("s", 5000000)
      ngx.say(db:query("select '" .. text .. "' as s")[1].s == text)
      ngx.say(db:get_reused_times() > 0 == not ngx.shared.d:add("first", true))
      ngx.say(db:set_keepalive(10000, 10))
      ngx.say((select(3, connect { ${at}, user = "safe", pool = "plain" })))`,
      expected: ['TLSv1.3', 'true', 'true', '1', '1045'],
    }),
  );

  await t.test('TLS: a certificate that nobody trusts', (t) =>
    answers(t, {
      path,
      lua: `${connect}
      ngx.say((select(2, connect { ${at}, user = "safe", ssl_verify = true })))`,
      expected: ['failed to do ssl handshake: 19: self-signed certificate in certificate chain'],
      errors: /\[(alert|crit|emerg)\]/,
    }),
  );
});
