#!/usr/bin/env node
// Prints the directory of Node's headers (node_api.h, uv.h, openssl/, zlib.h), for CMake.
import { nodeDir } from './node-dir.mjs';

const dir = nodeDir();
if (!dir) {
  console.error(
    `no headers of Node ${process.version} found: install them (with node, or by "node-gyp install"), ` +
      'or name their prefix with npm_config_nodedir',
  );
  process.exit(1);
}
console.log(`${dir}/include/node`);
