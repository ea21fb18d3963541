// The package as users get it: `npm pack`, and what `npm install` makes of the file.
import fs from 'node:fs';
import path from 'node:path';
import { emptyDir, run } from '../deps/util.mjs';

/** Packs into `dir`; the result is the file and its list as npm prints it. */
export function pack(root, dir, { scripts = true } = {}) {
  fs.mkdirSync(dir, { recursive: true });
  const args = ['pack', '--json', '--silent', '--pack-destination', dir];
  const output = run('npm', scripts ? args : [...args, '--ignore-scripts'], { cwd: root });
  // Scripts may have written before it.
  const [about] = Object.values(JSON.parse(output.slice(output.search(/^[[{]\s*$/m))));
  return { ...about, file: path.join(dir, about.filename) };
}

/** Installs the packed file into an empty project in `dir`, without any script; with npm's cache in `cache`, if given. */
export function installInto(dir, file, cache) {
  emptyDir(dir);
  fs.writeFileSync(path.join(dir, 'package.json'), '{ "private": true }\n');
  const kept = cache ? [`--cache=${cache}`] : [];
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', ...kept, file], {
    cwd: dir,
  });
  return path.join(dir, 'node_modules/moonphase');
}
