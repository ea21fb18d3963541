// What a build makes and a package ships: the addon, and beside it every library that binding.gyp names.
import fs from 'node:fs';
import path from 'node:path';

/** Names in build/Release and in prebuilds/linux-ARCH, where prebuildify's convention wants the libc in the addon's. */
export function products(root) {
  const gyp = fs.readFileSync(path.join(root, 'binding.gyp'), 'utf8');
  const libraries = [...gyp.matchAll(/'product_name': '([^']+)'/g)].map(
    (match) => `${match[1]}.so`,
  );
  return new Map([
    ['moonphase.node', 'moonphase.glibc.node'],
    ...libraries.map((name) => [name, name]),
  ]);
}
