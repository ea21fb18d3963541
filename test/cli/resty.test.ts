// moonphase-resty as a shell runs it.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import t from 'tap';
import { root } from '../helpers/server.js';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mp-resty-'));
t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }));
fs.mkdirSync(path.join(dir, 'more'));
fs.writeFileSync(path.join(dir, 'here.lua'), 'return "here"');
fs.writeFileSync(path.join(dir, 'more/there.lua'), 'return "there"');
fs.writeFileSync(
  path.join(dir, 'script.lua'),
  'ngx.sleep(0.01)\nngx.say(arg[0], " ", arg[1], " ", ...)',
);

function resty(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ code: number | null; out: string; err: string }> {
  const all: NodeJS.ProcessEnv = { ...process.env, ...env };
  // tap puts its own loaders into NODE_OPTIONS, after us.
  const command = [
    '-c',
    'unset NODE_OPTIONS; exec "$0" "$@"',
    path.join(root, 'bin/moonphase-resty'),
    ...args,
  ];
  const child = spawn('/bin/sh', command, {
    cwd: dir,
    env: all,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (data: Buffer) => (out += data.toString()));
  child.stderr.on('data', (data: Buffer) => (err += data.toString()));
  return new Promise((done) => child.once('close', (code) => done({ code, out, err })));
}

const good = (out: string) => ({ code: 0, out, err: '' });

t.test('code', async (t) => {
  t.same(
    await resty(['-e', 'ngx.say("hi") print("a", 1, nil) io.write("raw\\n")']),
    good('hi\na\t1\tnil\nraw\n'),
  );
  t.same(await resty(['-e', 'print(1)', '-e', 'print(2)']), good('1\n2\n'));
  t.match(await resty(['-e', 'error("broken")']), { code: 1, out: '', err: 'broken' });
  t.match(await resty(['-e', 'this is not Lua']), { code: 1, err: '(command line -e)' });
  t.match(await resty(['-e', 'os.exit(7)']), { code: 7 });
});

t.test('files, arguments, modules', async (t) => {
  t.same(await resty(['script.lua', 'x', 'y']), good('script.lua x xy\n'));
  t.same(await resty(['-e', 'print(require("here"))']), good('here\n'));
  t.same(
    await resty(['-I', 'more', '-e', 'print(require("there"), require("here"))']),
    good('there\there\n'),
  );
  t.same(
    await resty(['-e', 'print(require("there"))'], { LUA_PATH: './more/?.lua;;' }),
    good('there\n'),
  );
  t.match(await resty(['none.lua']), { code: 2, err: 'Lua input file none.lua not found.' });
});

t.test('ngx without a server', async (t) => {
  t.same(
    await resty(['--shdict', 'd 1m', '-e', 'print((ngx.shared.d:incr("n", 1, 0)))']),
    good('1\n'),
  );
  const threads =
    'local t = ngx.thread.spawn(function() ngx.sleep(0.01) return "ok" end) print(ngx.thread.wait(t))';
  t.same(await resty(['-e', threads]), good('true\tok\n'));
  const workers =
    'for i = 1, 3 do io.write(tostring((ngx.run_worker_thread("p", "tablepool", "fetch", "x", 1, 1))), " ") end';
  t.same(
    await resty(['--main-conf', 'thread_pool p threads=2', '-e', workers]),
    good('true true true '),
  );
  t.same(
    await resty(['-e', 'print(ngx.re.match("a1", [[\\d]])[0], ngx.md5("a"):sub(1, 4))']),
    good('1\t0cc1\n'),
  );
});
