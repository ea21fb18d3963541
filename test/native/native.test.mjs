// Runs the C++ unit tests that `scripts/dev-build.sh native-tests` has built (npm test does that).
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import t from 'tap';

const sources = new URL('.', import.meta.url);
const built = new URL('../../build/native-tests/', import.meta.url);

const names = fs
  .readdirSync(sources)
  .map((file) => /^(.+)_(?:test|main)\.cc$/.exec(file)?.[1])
  .filter(Boolean);

for (const name of names) {
  const program = new URL(`${name}_test`, built).pathname;
  const skip = fs.existsSync(program) ? false : 'not built: needs cmake and ninja';
  t.test(name, { skip, timeout: 300_000 }, async (t) => {
    const { code, signal, output } = await run(program);
    t.match({ code, signal }, { code: 0, signal: null }, name, { diagnostic: { output } });
  });
}

function run(program) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data) => (output = (output + data).slice(-8000)));
    }
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, output }));
  });
}
