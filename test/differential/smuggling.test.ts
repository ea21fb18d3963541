// What nginx refuses and where it sees the next request, Moonphase does too: directly, and through proxy_pass.
import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { exchange, parseAnswers } from '../helpers/http.js';
import { type Kind, root, Server } from '../helpers/server.js';
import type { Case } from './requests.js';
import { smuggling } from './smuggling.js';

const accepted = JSON.parse(
  fs.readFileSync(path.join(root, 'test/differential/accepted.json'), 'utf8'),
) as { readonly requests?: readonly string[] }[];
/** Refused here: newer nginx is stricter than Debian's. */
const refused = new Set(accepted.flatMap((entry) => entry.requests ?? []));
const noNginx =
  !fs.existsSync('/usr/lib/nginx/modules/ngx_http_lua_module.so') &&
  'nginx with its Lua module is not installed';

const http = `
  access_log off;
  server {
    listen 127.0.0.1:$port1;
    location / { content_by_lua_block {
      ngx.req.read_body()
      ngx.say(ngx.var.request_method, " ", ngx.var.request_uri, " ", ngx.var.http_host, " ",
        ngx.var.http_content_length, " ", ngx.var.http_transfer_encoding, " ", ngx.req.get_body_data())
    } }
  }
  server {
    listen 127.0.0.1:$port;
    location / { content_by_lua_block {
      ngx.req.read_body()
      ngx.say(ngx.var.request_method, " ", ngx.var.request_uri, " ", ngx.var.host, " ", ngx.req.get_body_data())
    } }
    location /unread { return 200 "unread\\n"; }
  }
  server {
    listen 127.0.0.1:$port2;
    location / { proxy_http_version 1.1; proxy_pass http://127.0.0.1:$port1; }
    location /unread { return 200 "unread\\n"; }
  }
  server {
    listen 127.0.0.1:$port3;
    location / { proxy_http_version 1.1; proxy_request_buffering off; proxy_pass http://127.0.0.1:$port1; }
    location /unread { return 200 "unread\\n"; }
  }`;

t.test('a request behind another one', { skip: noNginx }, async (t) => {
  const start = async (kind: Kind): Promise<Server> => {
    const server = await Server.start({ kind, http, errorLogLevel: 'info' });
    t.teardown(() => server.stop());
    return server;
  };
  const [nginx, moonphase] = [await start('nginx'), await start('moonphase')];
  const ask = async (server: Server, way: number, { bytes, methods }: Case): Promise<string[]> => {
    const text = await exchange(server.ports[way] as number, bytes, 1000);
    const hide = (body: string): string =>
      server.ports.reduce((out, port) => out.replaceAll(String(port), 'PORT'), body);
    return parseAnswers(text, methods).map(({ status, body }) =>
      status === 200 ? `${status} ${hide(body)}` : String(status),
    );
  };
  for (const [index, way] of ['here', 'passed on', 'streamed'].entries()) {
    const place = index === 0 ? 0 : index + 1;
    for (let i = 0; i < smuggling.length; i += 8) {
      await Promise.all(
        smuggling.slice(i, i + 8).map(async (one) => {
          const [theirs, ours] = await Promise.all([
            ask(nginx, place, one),
            ask(moonphase, place, one),
          ]);
          const name = `${way}: ${one.name}`;
          if (!refused.has(one.name)) return t.same(ours, theirs, name);
          t.notSame(ours, theirs, `${name} still differs`);
          t.equal(ours.at(-1), '400', `${name} is refused`);
        }),
      );
    }
  }
  t.notMatch(moonphase.errorLog(), /\[(alert|crit|emerg)\]/);
});
