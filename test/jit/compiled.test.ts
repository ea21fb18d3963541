// A hot handler is compiled: its own loops become traces, and a request that is answered a thousand times does not abort
// them one after the other. jit.attach shows each trace as LuaJIT ends it.
import t from 'tap';
import { request } from '../helpers/http.js';
import { Server } from '../helpers/server.js';

t.test('handlers are compiled', async (t) => {
  const server = await Server.start({
    http: `
init_by_lua_block {
    traces = {}
    jit.attach(function(what, number, func, pc)
        if what ~= "stop" then return end
        local root = require("jit.util").traceinfo(number)
        traces[#traces + 1] = root and root.linktype or "?"
    end, "trace")
    require("jit.opt").start("hotloop=20", "hotexit=5")
}
server {
    listen 127.0.0.1:$port;
    keepalive_requests 10000;
    location = /loop {
        content_by_lua_block {
            local sum = 0
            for i = 1, 10000 do sum = sum + i % 7 end
            ngx.say(sum)
        }
    }
    location = /hot {
        content_by_lua_block {
            ngx.ctx.n = (ngx.ctx.n or 0) + 1
            ngx.header["X-Uri"] = ngx.var.uri
            ngx.status = 201
            local method = ngx.req.get_method()
            ngx.say(method)
        }
    }
    location = /traces {
        content_by_lua_block {
            local count = #traces
            ngx.say(count, " ", table.concat(traces, ","))
        }
    }
}`,
  });
  t.teardown(() => server.stop());
  const traces = async () => {
    const [count, kinds] = (await request(server.port, '/traces')).body.trim().split(' ');
    return { count: Number(count), kinds: kinds?.split(',') ?? [] };
  };

  t.equal((await request(server.port, '/loop')).body, '29998\n');
  const afterLoop = await traces();
  t.ok(afterLoop.kinds.includes('loop'), `a loop in a handler is a trace: ${afterLoop.kinds}`);

  for (let i = 0; i < 300; ++i) {
    const answer = await request(server.port, '/hot');
    if (answer.status !== 201 || answer.body !== 'GET\n') t.fail(answer.raw);
  }
  const afterHot = await traces();
  t.ok(
    afterHot.count > afterLoop.count,
    'a handler without a loop is compiled too, once it is hot',
  );
  for (let i = 0; i < 200; ++i) await request(server.port, '/hot');
  const settled = await traces();
  t.ok(
    settled.count - afterHot.count < 20,
    `no new traces for ever (${settled.count - afterHot.count} in 200 requests)`,
  );
  t.notMatch(server.errorLog(), /\[(error|alert)\]/);
});
