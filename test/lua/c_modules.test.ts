// C modules built for Debian's Lua load by lua_package_cpath and work: they find our lua_* symbols.
import fs from 'node:fs';
import t from 'tap';
import { request } from '../helpers/http.js';
import { Server } from '../helpers/server.js';

const arch = ({ x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' } as Record<string, string>)[
  process.arch
];
const dir = `/usr/lib/${arch}/lua/5.1`;
const missing = ['cjson.so', 'lfs.so'].filter((file) => !fs.existsSync(`${dir}/${file}`));

t.test(
  'lua-cjson and lua-filesystem of Debian',
  { skip: missing.length > 0 && `not installed: ${missing}` },
  async (t) => {
    const server = await Server.start({
      http: `
lua_package_cpath "${dir}/?.so;;";
server {
    listen 127.0.0.1:$port;
    location = /lfs {
        content_by_lua_block {
            local lfs = require "lfs"
            local names = {}
            for name in lfs.dir(ngx.config.prefix() .. "html") do names[#names + 1] = name end
            table.sort(names)
            ngx.say(table.concat(names, " "), " ", lfs.attributes(ngx.config.prefix() .. "html/a.txt", "size"))
            ngx.say(select(2, pcall(lfs.dir, "/no/where")))
        }
    }
    location = /cjson {
        content_by_lua_block {
            -- "cjson" is ours already; this is Debian's.
            local cjson = assert(package.loadlib("${dir}/cjson.so", "luaopen_cjson"))()
            local value = cjson.decode('{"list":[1,2,{"x":null}]}')
            ngx.say(#value.list, " ", cjson.encode(value.list), " ", value.list[3].x == cjson.null)
            ngx.say(select(2, pcall(cjson.decode, "[1")))
        }
    }
}`,
      files: { 'html/a.txt': '12345' },
    });
    t.teardown(() => server.stop());
    const lfs = (await request(server.port, '/lfs')).body.split('\n');
    t.equal(lfs[0], '. .. a.txt 5');
    t.match(lfs[1], /cannot open \/no\/where: No such file or directory/);
    const cjson = (await request(server.port, '/cjson')).body.split('\n');
    t.equal(cjson[0], '3 [1,2,{"x":null}] true');
    t.match(cjson[1], /Expected comma or array end but found T_END/);
    t.notMatch(server.errorLog(), /\[(error|alert)\]/);
  },
);
