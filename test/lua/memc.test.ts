// memc_pass, against a small memcached of our own that answers piece by piece.
import net from 'node:net';
import t from 'tap';
import { request } from '../helpers/http.js';
import { Server } from '../helpers/server.js';

const store = new Map<string, { flags: string; value: string }>();
const seen: string[] = [];

function answer(line: string, value: string): string {
  const [command = '', key = '', flags = '0'] = line.split(' ');
  if (command === 'get') {
    const found = store.get(key);
    if (key === 'odd') return 'HUH\r\n';
    if (found === undefined) return 'END\r\n';
    return `VALUE ${key} ${found.flags} ${found.value.length}\r\n${found.value}\r\nEND\r\n`;
  }
  if (command === 'set') {
    store.set(key, { flags, value });
    return 'STORED\r\n';
  }
  if (command === 'add') return store.has(key) ? 'NOT_STORED\r\n' : 'STORED\r\n';
  if (command === 'incr') return store.has(key) ? '7\r\n' : 'NOT_FOUND\r\n';
  if (command === 'delete') return store.delete(key) ? 'DELETED\r\n' : 'NOT_FOUND\r\n';
  if (command === 'stats') return 'STAT a 1\r\nSTAT b 2\r\nEND\r\n';
  if (command === 'version') return 'VERSION 1.2.3\r\n';
  return 'ERROR\r\n';
}

const memcached = net.createServer((socket) => {
  let text = '';
  socket.on('error', () => socket.destroy());
  socket.on('data', (data) => {
    text += data.toString('latin1');
    const end = text.indexOf('\r\n');
    if (end < 0) return;
    const line = text.slice(0, end);
    const bytes = line.startsWith('set') || line.startsWith('add') ? Number(line.split(' ')[4]) : 0;
    if (bytes > 0 && text.length < end + 4 + bytes) return;
    seen.push(line);
    const bytesOut = answer(line, text.slice(end + 2, end + 2 + bytes));
    text = '';
    // in three pieces: nothing may depend on how it arrives
    const cut = Math.floor(bytesOut.length / 2);
    socket.write(bytesOut.slice(0, 1));
    setTimeout(() => socket.write(bytesOut.slice(1, cut)), 5);
    setTimeout(() => socket.write(bytesOut.slice(cut)), 10);
  });
});

await new Promise<void>((done) => memcached.listen(0, '127.0.0.1', done));
const { port } = memcached.address() as net.AddressInfo;
const server = await Server.start({
  http: `
    upstream cache { server 127.0.0.1:${port}; }
    server {
      listen 127.0.0.1:$port;
      location = /m {
        set $memc_cmd $arg_cmd;
        set $memc_key $arg_key;
        set $memc_value $arg_val;
        set $memc_flags $arg_flags;
        set $memc_exptime $arg_exp;
        memc_pass 127.0.0.1:${port};
        add_header X-Flags $memc_flags;
        add_header X-Time $memc_flags_as_http_time;
      }
      location = /rest {
        set $memc_key $arg_key;
        memc_pass cache;
        memc_cmds_allowed get set;
      }
      location = /lua {
        content_by_lua_block {
          local res = ngx.location.capture("/rest?key=k", { method = ngx.HTTP_PUT, body = "from Lua" })
          ngx.say(res.status, " ", res.body)
          ngx.say(ngx.location.capture("/rest?key=k").body)
        }
      }
    }`,
});
t.teardown(async () => {
  await server.stop();
  memcached.close();
});

const ask = (uri: string, method = 'GET', body = '') =>
  request(server.port, uri, body === '' ? { method } : { method, body });

void t.test('commands by variables', async (t) => {
  const set = await ask('/m?cmd=set&key=a&val=hello&flags=42&exp=9');
  t.match({ status: set.status, body: set.body }, { status: 201, body: 'STORED\r\n' });
  t.equal(seen.at(-1), 'set a 42 9 5');
  const get = await ask('/m?cmd=get&key=a');
  t.match({ status: get.status, body: get.body }, { status: 200, body: 'hello' });
  t.equal(get.header('X-Flags'), '42');
  t.equal(get.header('X-Time'), 'Thu, 01 Jan 1970 00:00:42 GMT');
  t.equal(get.header('Content-Length'), '5');
  t.equal((await ask('/m?cmd=add&key=a&val=x')).status, 200);
  t.equal((await ask('/m?cmd=incr&key=a&val=2')).body, '7\r\n');
  t.equal((await ask('/m?cmd=stats')).body, 'STAT a 1\r\nSTAT b 2\r\nEND\r\n');
  t.equal((await ask('/m?cmd=version')).body, 'VERSION 1.2.3\r\n');
  t.equal((await ask('/m?cmd=delete&key=a')).body, 'DELETED\r\n');
});

void t.test('what goes wrong', async (t) => {
  const status = async (uri: string, method?: string) => (await ask(uri, method)).status;
  t.equal(await status('/m?cmd=get&key=nobody'), 404);
  t.equal(await status('/m?cmd=get&key=odd'), 502);
  t.equal(await status('/m?cmd=cas&key=a'), 400);
  t.equal(await status('/m?cmd=get'), 500);
  t.equal(await status('/m?cmd=incr&key=a&val=x'), 400);
  t.equal(await status('/m?cmd=set&key=a&val=x&exp=-1'), 400);
  t.equal(await status('/rest?key=a', 'DELETE'), 403);
  const log = server.errorLog();
  for (const line of [
    'memcached sent invalid response: "HUH"',
    'ngx_memc: unknown $memc_cmd "cas"',
    'the "$memc_key" variable is not set',
    'variable "$memc_value" is invalid for incr/decr: x',
    'variable "$memc_exptime" takes invalid value: -1',
    'ngx_memc: memcached command "delete" not allowed',
  ])
    t.ok(log.includes(line), line);
});

void t.test('commands by methods, and from Lua', async (t) => {
  t.equal((await ask('/rest?key=a%20b', 'PUT', 'text')).status, 201);
  t.equal(seen.at(-1), 'set a%2520b 0 0 4', '$arg_key is not decoded, and keys are escaped');
  t.equal((await ask('/lua')).body, '201 STORED\r\n\nfrom Lua\n');
});
