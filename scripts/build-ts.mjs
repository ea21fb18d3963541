#!/usr/bin/env node
// Compiles lib/ into dist/ and adds what tsc does not make: the CommonJS entry, the files of lib/
// that are not TypeScript, and the executable bits of the commands.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundle } from './bundle.mjs';
import { filesBelow } from './deps/util.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const dist = path.join(root, 'dist');
const { bin } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));

const tsc = spawnSync(
  process.execPath,
  [
    require.resolve('typescript/bin/tsc'),
    '-p',
    path.join(root, 'tsconfig.json'),
    '--incremental',
    '--tsBuildInfoFile',
    path.join(dist, '.tsbuildinfo'),
  ],
  { stdio: 'inherit' },
);

for (const file of filesBelow(path.join(root, 'lib'))) {
  if (file.endsWith('.ts')) continue;
  fs.mkdirSync(path.dirname(path.join(dist, file)), { recursive: true });
  fs.copyFileSync(path.join(root, 'lib', file), path.join(dist, file));
}

// One implementation for both worlds, so that classes and state are the same: the CommonJS entry
// requires the ES modules (which therefore must not use top-level await).
fs.mkdirSync(dist, { recursive: true });
fs.writeFileSync(
  path.join(dist, 'index.cjs'),
  `'use strict';
if (!process.features.require_module) {
  throw new Error(
    \`require('moonphase') needs Node 20.19, 22.12 or newer (this is \${process.version}); \` +
      "import('moonphase') works in every supported version",
  );
}
module.exports = require('./index.js');
`,
);
fs.writeFileSync(path.join(dist, 'index.d.cts'), commonJsTypes());

await bundle(root);

for (const file of Object.values(bin)) {
  if (fs.existsSync(path.join(root, file))) fs.chmodSync(path.join(root, file), 0o755);
}
process.exitCode = tsc.status ?? 1;

/**
 * The types of the CommonJS entry: those of the ES module, not copies. Only types may be imported across under
 * `module: node16`, so each value is declared by its type.
 */
function commonJsTypes() {
  const index = fs.readFileSync(path.join(root, 'lib/index.ts'), 'utf8');
  const values = [...index.matchAll(/^export \{([^}]*)\}/gm)].flatMap(([, names]) =>
    names.split(',').map((name) => name.trim()),
  );
  const from = "from './index.js' with { 'resolution-mode': 'import' };";
  return [
    `import type * as module ${from}`,
    `export type * ${from}`,
    ...values.flatMap((name) => [
      `export declare const ${name}: typeof module.${name};`,
      ...(/^[A-Z]/.test(name) ? [`export type ${name} = module.${name};`] : []),
    ]),
    '',
  ].join('\n');
}
