#!/usr/bin/env node
// npm's prepack script: lualib/ is made by the dependencies' script; prebuilds are made by
// `npm run prebuild`, which takes long, so here it is only told that they are missing.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const deps = spawnSync(process.execPath, [path.join(root, 'scripts/deps.mjs')], {
  stdio: 'inherit',
});
for (const arch of ['x64', 'arm64']) {
  if (!fs.existsSync(path.join(root, `prebuilds/linux-${arch}`))) {
    console.error(`moonphase: no prebuilds/linux-${arch}: who installs this compiles it`);
  }
}
process.exitCode = deps.status ?? 1;
