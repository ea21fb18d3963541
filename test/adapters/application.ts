// The gateway that every server of this folder has in it, and what its routes answer.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  createGateway,
  type Gateway,
  type NodeRequest,
  type NodeResponse,
} from '../../lib/index.js';

const websocket = ['/usr/share/lua/5.1/nginx', '/usr/share/lua/5.1'].find((dir) =>
  fs.existsSync(path.join(dir, 'websocket/server.lua')),
);
/** Where `resty.websocket` is; undefined: not installed. */
export const websocketPath = websocket ?? undefined;

const CONF = `
error_log logs/error.log info;
events {}
http {
  access_log off;
  lua_shared_dict seen 1m;
  client_max_body_size 200m;
  client_body_buffer_size 64k;
  server {
    location = /hello {
      content_by_lua_block {
        ngx.say("hello ", ngx.var.remote_addr, " ", ngx.req.get_method(), " ", ngx.var.scheme, " ", ngx.var.args or "-")
      }
    }
    location = /headers {
      content_by_lua_block {
        ngx.status = 201
        ngx.header["X-Many"] = { "1", "2" }
        ngx.header["Set-Cookie"] = { "a=1", "b=2" }
        ngx.say(ngx.req.get_headers()["x-in"], " ", ngx.var.http_host ~= nil)
      }
    }
    location = /echo {
      content_by_lua_block {
        ngx.req.read_body()
        local data = ngx.req.get_body_data()
        if not data then
          local name = ngx.req.get_body_file()
          if name then
            local f = io.open(name)
            data = f:read("*a")
            f:close()
          end
        end
        ngx.header.content_length = data and #data or 0
        ngx.print(data or "")
      }
    }
    location = /unread { content_by_lua_block { ngx.say("not read") } }
    location = /stream {
      content_by_lua_block {
        for i = 1, 5 do
          ngx.say(i)
          ngx.flush(true)
          ngx.sleep(0.01)
        end
      }
    }
    location = /big {
      content_by_lua_block {
        local piece = string.rep("0123456789abcdef", 4096)
        for i = 1, tonumber(ngx.var.arg_n) do
          local ok, err = ngx.print(piece)
          if ok then ok, err = ngx.flush(true) end
          if not ok then ngx.shared.seen:set("big", err) return end
          ngx.shared.seen:set("pieces", i)
        end
      }
    }
    location = /abort {
      lua_check_client_abort on;
      content_by_lua_block {
        ngx.on_abort(function() ngx.shared.seen:incr("aborted", 1, 0) ngx.exit(499) end)
        ngx.shared.seen:incr("waiting", 1, 0)
        ngx.sleep(20)
      }
      log_by_lua_block { ngx.shared.seen:set("abort status", ngx.status) }
    }
    location = /error { content_by_lua_block { error("boom") } }
    location = /late { content_by_lua_block { ngx.say("some") ngx.flush(true) error("boom") } }
    location = /reset { return 444; }
    location = /page { return 404; error_page 404 /hello; }
    location = /redirect { content_by_lua_block { ngx.redirect("/hello") } }
    location = /capture {
      content_by_lua_block {
        local r = ngx.location.capture("/hello", { args = "sub" })
        ngx.print(r.status, " ", r.body)
      }
    }
    location = /trailers {
      add_trailer X-Sum $sum;
      set $sum "none";
      content_by_lua_block { ngx.say("body") ngx.flush() ngx.var.sum = "42" ngx.say("end") }
    }
    location = /socket {
      content_by_lua_block {
        local s, err = ngx.req.socket(true)
        ngx.say(s and "yes" or err)
      }
    }
    location = /ws {
      content_by_lua_block {
        local server = require("resty.websocket.server")
        local ws, err = server:new({ timeout = 5000 })
        if not ws then ngx.log(ngx.ERR, err) return ngx.exit(444) end
        while true do
          local data, kind, err = ws:recv_frame()
          if not data or kind == "close" then break end
          if kind == "text" then ws:send_text("lua " .. data) end
        end
        ws:send_close()
      }
    }
    location = /raw {
      content_by_lua_block {
        ngx.status = 101
        ngx.header["Upgrade"] = "raw"
        ngx.send_headers()
        ngx.flush(true)
        local s = assert(ngx.req.socket(true))
        while true do
          local line = s:receive()
          if not line or line == "quit" then break end
          s:send("lua " .. line .. "\\n")
        end
      }
    }

    # --- what the framework answers ---
    location /route {
      rewrite_by_lua_block { ngx.ctx.began = ngx.var.request_uri }
      access_by_lua_block {
        if ngx.var.arg_deny then return ngx.exit(403) end
        if ngx.var.arg_wait then ngx.sleep(0.02) end
        if ngx.var.arg_say then ngx.say("said") return ngx.exit(200) end
        ngx.req.set_header("X-User", "lua")
        ngx.req.clear_header("X-Secret")
      }
      header_filter_by_lua_block {
        ngx.header["X-Filtered"] = ngx.ctx.began
        ngx.header["X-Seen-Type"] = ngx.header.content_type
        ngx.header.content_length = nil
      }
      body_filter_by_lua_block { ngx.arg[1] = string.upper(ngx.arg[1]) }
      log_by_lua_block {
        ngx.shared.seen:set("logged", ngx.status .. " " .. ngx.ctx.began)
        ngx.shared.seen:incr("logs", 1, 0)
      }
    }
    location /quiet {
      access_by_lua_block { ngx.ctx.a = 1 }
      log_by_lua_block {
        ngx.shared.seen:set("quiet", ngx.status .. " " .. tostring(ngx.header["x-route"]) .. " " .. ngx.ctx.a)
      }
    }
    location /body {
      access_by_lua_block {
        ngx.req.read_body()
        local data = ngx.req.get_body_data()
        ngx.req.set_header("X-Size", data and #data or 0)
        if ngx.var.arg_replace then ngx.req.set_body_data("replaced") end
      }
    }
    location /renamed { rewrite_by_lua_block { ngx.req.set_uri("/quiet/new name") ngx.req.set_uri_args("x=1") } }
    location /header { add_header X-Added yes; }
  }
}
`;

export interface Application {
  readonly gateway: Gateway;
  readonly dir: string;
  log(): string;
}

/** A gateway under a directory of its own. */
export async function makeApplication(dir: string): Promise<Application> {
  fs.mkdirSync(path.join(dir, 'conf'), { recursive: true });
  fs.mkdirSync(path.join(dir, 'logs'), { recursive: true });
  const lua = path.join(dir, 'lua/resty');
  fs.mkdirSync(lua, { recursive: true });
  if (websocket !== undefined) {
    fs.symlinkSync(path.join(websocket, 'websocket'), path.join(lua, 'websocket'));
  }
  const conf = CONF.replace('http {', `http { lua_package_path "${dir}/lua/?.lua;;";`);
  fs.writeFileSync(path.join(dir, 'conf/nginx.conf'), conf);
  const gateway = await createGateway({ prefix: dir, config: 'conf/nginx.conf' });
  return {
    gateway,
    dir,
    log: () => fs.readFileSync(path.join(dir, 'logs/error.log'), 'latin1'),
  };
}

/** What the frameworks' own route says: what it has got. */
export async function describe(
  req: NodeRequest,
  body: AsyncIterable<Buffer | string>,
): Promise<string> {
  let size = 0;
  let text = '';
  for await (const chunk of body) {
    size += chunk.length;
    if (text.length < 100) text += String(chunk);
  }
  const { headers } = req;
  return JSON.stringify({
    url: req.url,
    method: req.method,
    user: headers['x-user'],
    secret: headers['x-secret'],
    xsize: headers['x-size'],
    size,
    text: text.slice(0, 100),
  });
}

/** Chunks with pauses, as a route writes them. */
export async function writeSlowly(res: NodeResponse): Promise<void> {
  const out = res as ServerResponse;
  out.setHeader('Content-Type', 'text/plain');
  for (let i = 0; i < 5; i++) {
    out.write(`chunk ${i}\n`);
    await new Promise((done) => setTimeout(done, 5));
  }
  out.end('end\n');
}

/** So much that the client has to take it before all is written. */
export async function writeMuch(res: NodeResponse, pieces: number): Promise<number> {
  const out = res as ServerResponse;
  const piece = Buffer.alloc(65536, 'a');
  let waits = 0;
  out.setHeader('Content-Type', 'text/plain');
  for (let i = 0; i < pieces; i++) {
    if (out.destroyed) break;
    if (out.write(piece)) continue;
    waits++;
    await new Promise<void>((done) => {
      const go = (): void => {
        out.removeListener('drain', go);
        out.removeListener('close', go);
        done();
      };
      out.on('drain', go);
      out.on('close', go);
    });
  }
  out.end();
  return waits;
}

/** The routes of plain servers. */
export function plainRoutes(req: NodeRequest, res: NodeResponse): void {
  const out = res as ServerResponse;
  const url = req.url ?? '';
  if (url.startsWith('/route/slow')) void writeSlowly(res);
  else if (url.startsWith('/route/much')) void writeMuch(res, 200);
  else if (url.startsWith('/route/never')) return;
  else {
    void describe(req, req as IncomingMessage).then((text) => {
      out.setHeader('Content-Type', 'application/json');
      out.setHeader('X-Route', 'yes');
      out.setHeader('Content-Length', Buffer.byteLength(text));
      out.end(text);
    });
  }
}

/** A certificate for localhost, made for the run. */
export function makeCertificate(dir: string): { key: string; cert: string } {
  const [key, cert] = [path.join(dir, 'key.pem'), path.join(dir, 'cert.pem')] as const;
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  const make = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject];
  execFileSync('openssl', [...make, '-keyout', key, '-out', cert], { stdio: 'ignore' });
  return { key: fs.readFileSync(key, 'utf8'), cert: fs.readFileSync(cert, 'utf8') };
}
