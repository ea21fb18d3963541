// Every *.blocks file of this folder; the format is described in helpers/blocks.ts. `BLOCKS=control npm test -- test/lua`
// runs one file.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { runBlocks } from '../helpers/blocks.js';

const here = path.dirname(fileURLToPath(import.meta.url));
const files = fs
  .readdirSync(here)
  .filter((file) => file.endsWith('.blocks') && file.startsWith(process.env['BLOCKS'] ?? ''));
t.ok(files.length > 0, 'there are block files');
for (const file of files) void t.test(file, (t) => runBlocks(t, path.join(here, file)));
