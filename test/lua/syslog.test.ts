// error_log and access_log to a syslog server: datagrams as nginx sends them, compared with Debian's nginx.
import dgram from 'node:dgram';
import fs from 'node:fs';
import os from 'node:os';
import t from 'tap';
import { request } from '../helpers/http.js';
import { type Kind, Server, sleep } from '../helpers/server.js';

const kinds: Kind[] = fs.existsSync('/usr/sbin/nginx') ? ['moonphase', 'nginx'] : ['moonphase'];

/** A UDP server that keeps what it gets. */
async function receiver() {
  const socket = dgram.createSocket('udp4');
  const messages: string[] = [];
  socket.on('message', (data) => messages.push(data.toString('latin1')));
  await new Promise<void>((done) => socket.bind(0, '127.0.0.1', done));
  const find = async (pattern: RegExp) => {
    for (let i = 0; i < 200; ++i, await sleep(10)) {
      const found = messages.find((message) => pattern.test(message));
      if (found !== undefined) return found;
    }
    return `none of: ${messages.join(' | ')}`;
  };
  return { port: socket.address().port, messages, find, close: () => socket.close() };
}

const DATE = '[A-Z][a-z]{2} [ 1-3]\\d \\d\\d:\\d\\d:\\d\\d';
const host = os.hostname().toLowerCase();
const LINE = '\\d{4}/\\d\\d/\\d\\d \\d\\d:\\d\\d:\\d\\d';

for (const kind of kinds) {
  t.test(`${kind}: UDP`, async (t) => {
    const log = await receiver();
    t.teardown(log.close);
    const to = `syslog:server=127.0.0.1:${log.port}`;
    const server = await Server.start({
      kind,
      main: `error_log ${to},facility=local1,tag=app_1,nohostname notice;`,
      http: `
        log_format short '$request_method "$uri" $status';
        server {
          listen 127.0.0.1:$port;
          access_log ${to},severity=debug short;
          access_log ${to},facility=kern,severity=alert,tag= combined if=$arg_twice;
          location / { return 204; }
          location /lua {
            error_log ${to} info;
            content_by_lua_block {
              ngx.log(ngx[ngx.var.arg_level], "said\\n", "twice")
              ngx.say("ok")
            }
          }
        }`,
    });
    t.teardown(() => server.stop());

    await request(server.port, '/a');
    t.match(await log.find(/GET "\/a"/), new RegExp(`^<191>${DATE} ${host} nginx: GET "/a" 204$`));
    await request(server.port, '/b?twice=1');
    t.match(
      await log.find(/"GET \/b\?/),
      new RegExp(
        `^<1>${DATE} ${host} : 127\\.0\\.0\\.1 - - \\[.* "GET /b\\?twice=1 HTTP/1\\.1" 204 0 "-" "-"$`,
      ),
    );
    for (const [level, word, number] of [
      ['ERR', 'error', 3],
      ['WARN', 'warn', 4],
      ['INFO', 'info', 6],
      ['EMERG', 'emerg', 0],
    ] as const) {
      await request(server.port, `/lua?level=${level}`);
      t.match(
        await log.find(new RegExp(`\\[${word}\\].*said`)),
        new RegExp(
          `^<${184 + number}>${DATE} ${host} nginx: ${LINE} \\[${word}\\] \\d+#\\d+: \\*\\d+ ` +
            `\\[lua\\] .*said\\ntwice, client: 127.0.0.1, server: , request: "GET /lua.*"$`,
        ),
      );
    }
    server.signal('SIGQUIT');
    t.match(
      await log.find(/ exit$/),
      new RegExp(`^<141>${DATE} app_1: ${LINE} \\[notice\\] \\d+#\\d+: exit$`),
    );
  });

  t.test(`${kind}: nobody listens`, async (t) => {
    const log = await receiver();
    log.close();
    // nginx 1.22 does not say this yet
    const during = (name: string) =>
      kind === 'nginx' ? '' : ` while logging to syslog, server: ${name}\n`;
    const server = await Server.start({
      kind,
      http: `server {
        listen 127.0.0.1:$port;
        access_log syslog:server=127.0.0.1:${log.port};
        location / { return 204; }
        location /unix { access_log syslog:server=unix:$prefix/nobody.sock; return 204; }
        location /lua {
          error_log syslog:server=127.0.0.1:${log.port};
          content_by_lua_block { for i = 1, 3 do ngx.log(ngx.ERR, "lost") end ngx.say("ok") }
        }
      }`,
    });
    t.teardown(() => server.stop());
    for (let i = 0; i < 4; ++i) await request(server.port, '/');
    t.ok(
      await server.logged(
        `send() failed (111: Connection refused)${during(`127.0.0.1:${log.port}`)}`,
      ),
    );
    t.ok(
      await server.logged(
        /\[warn\].*: \*\d+ send\(\) to syslog failed while logging request, client: /,
      ),
    );
    await request(server.port, '/unix');
    t.ok(
      await server.logged(
        `connect() failed (2: No such file or directory)${during(`unix:${server.prefix}/nobody.sock`)}`,
      ),
    );
    const answer = await request(server.port, '/lua');
    t.equal(answer.status, 200);
  });

  t.test(`${kind}: a unix socket, and nothing else to complain to`, async (t) => {
    const server = await Server.start({
      kind,
      http: `
        error_log syslog:server=unix:$prefix/log.sock,facility=daemon,tag=u,nohostname error;
        access_log off;
        init_worker_by_lua_block {
          local ffi = require "ffi"
          ffi.cdef[[
            struct unix_name { unsigned short family; char path[108]; };
            int socket(int domain, int type, int protocol);
            int bind(int fd, const void *name, unsigned len);
            ptrdiff_t recv(int fd, void *buf, size_t size, int flags);
          ]]
          local fd = ffi.C.socket(1, 2, 0)
          local name = ffi.new("struct unix_name", 1, "$prefix/log.sock")
          assert(ffi.C.bind(fd, name, ffi.sizeof(name)) == 0)
          function next_message()
            local buf = ffi.new("char[8192]")
            local n = ffi.C.recv(fd, buf, 8192, 0x40)
            return n >= 0 and ffi.string(buf, n) or "none"
          end
        }
        server {
          listen 127.0.0.1:$port;
          location /long { content_by_lua_block { ngx.log(ngx.ERR, ("x"):rep(5000)) ngx.say(next_message()) } }
          location / { content_by_lua_block { ngx.log(ngx.CRIT, "over unix") ngx.say(next_message()) } }
        }`,
    });
    t.teardown(() => server.stop());
    const answer = await request(server.port, '/');
    t.match(
      answer.body.toString(),
      new RegExp(`^<26>${DATE} u: ${LINE} \\[crit\\] .*over unix, client: 127\\.0\\.0\\.1, .*"\n$`),
    );
    const long = (await request(server.port, '/long')).body.toString();
    t.match(long, /^<27>/);
    t.ok(long.length > 1900 && long.length < 4200, `${long.length} bytes`);
  });
}
