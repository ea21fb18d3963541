#!/usr/bin/env node
// Prints native/sources.txt without comments, for binding.gyp.
import fs from 'node:fs';

const list = fs.readFileSync(new URL('../native/sources.txt', import.meta.url), 'utf8');
for (const line of list.split('\n')) {
  const source = line.replace(/#.*/, '').trim();
  if (source) console.log(source);
}
