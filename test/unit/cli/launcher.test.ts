import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { HELP_TEXT, configureText, versionText } from '../../../lib/cli/nginx-version.js';

const launcher = fileURLToPath(new URL('../../../bin/moonphase-nginx', import.meta.url));

/** A `node` that says how it was called, answers like the CLI, and is found first. */
function fakeNode(dir: string, answer: string): NodeJS.ProcessEnv {
  mkdirSync(`${dir}/bin`, { recursive: true });
  const script = `#!/bin/sh
shift
mode=$1; shift
printf '%s' "$mode" >>'${dir}/calls'
for arg do printf ' [%s]' "$arg" >>'${dir}/calls'; done
echo >>'${dir}/calls'
if [ "$mode" = wait ]; then ${answer}; fi
`;
  writeFileSync(`${dir}/bin/node`, script);
  chmodSync(`${dir}/bin/node`, 0o755);
  return { ...process.env, PATH: `${dir}/bin:${process.env['PATH']}` };
}

t.test('-v, -V and -h need no Node, and say what the program would say', async (t) => {
  const env = fakeNode(t.testdir(), 'exit 1');
  const run = (...args: string[]): string => {
    const { status, stderr, stdout } = spawnSync(launcher, args, { env, encoding: 'utf8' });
    t.equal(status, 0);
    t.equal(stdout, '');
    return stderr;
  };
  t.equal(run('-v'), versionText());
  t.equal(run('-V'), versionText() + configureText(process.versions.openssl));
  t.equal(run('-h'), versionText() + HELP_TEXT);
  t.equal(run('-p', '/x', '-V'), versionText() + configureText(process.versions.openssl));
  const link = `${t.testdirName}/link`;
  symlinkSync(launcher, link);
  t.equal(spawnSync(link, ['-v'], { env, encoding: 'utf8' }).stderr, versionText());
});

t.test('a daemon: the launcher ends with what the server says', async (t) => {
  const conf = { 'nginx.conf': 'daemon on;\n' };
  for (const [answer, status] of [
    ['printf ready >&3; exec 3>&-; sleep 0.2', 0],
    ['printf failed >&3', 1],
    ['kill -9 $$', 1],
  ] as const) {
    const dir = t.testdir(conf);
    const env = fakeNode(dir, answer);
    const started = Date.now();
    const result = spawnSync(launcher, ['-p', dir, '-c', 'nginx.conf'], { env, stdio: 'ignore' });
    t.equal(result.status, status, answer);
    t.ok(Date.now() - started < 5000);
  }
});

t.test('in the foreground the launcher becomes Node', async (t) => {
  const calls = async (dir: string): Promise<string> =>
    (await import('node:fs')).readFileSync(`${dir}/calls`, 'utf8');
  const dir = t.testdir({ 'nginx.conf': '  daemon  off;\n', 'wrong.conf': 'include off.conf;\n' });
  const env = fakeNode(dir, 'printf foreground >&3');
  const run = (...args: string[]): number | null => spawnSync(launcher, args, { env }).status;
  t.equal(run('-p', `${dir}/`, '-c', 'nginx.conf'), 0);
  t.equal(run('-c', `${dir}/none.conf`, '-g', 'daemon off; user a b;'), 0);
  t.equal(run('-t'), 0);
  t.equal(run('-s', 'reload'), 0);
  t.equal(run('-p', dir, '-c', 'wrong.conf'), 0);
  t.equal(run('what is this'), 0);
  t.same((await calls(dir)).trim().split('\n'), [
    `run [-p] [${dir}/] [-c] [nginx.conf]`,
    `run [-c] [${dir}/none.conf] [-g] [daemon off; user a b;]`,
    'run [-t]',
    'run [-s] [reload]',
    `wait [-p] [${dir}] [-c] [wrong.conf]`,
    `run [-p] [${dir}] [-c] [wrong.conf]`,
    'run [what is this]',
  ]);
});
