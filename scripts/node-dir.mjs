// Where the headers of the running Node are: the prefix that npm is configured with, the one that the
// node binary lies in, or what node-gyp has fetched. Headers of another major version don't count.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

export function nodeDir() {
  const candidates = [
    process.env.npm_config_nodedir,
    path.dirname(path.dirname(fs.realpathSync(process.execPath))),
    path.dirname(path.dirname(process.execPath)),
    path.join(os.homedir(), '.cache/node-gyp', process.version.slice(1)),
  ];
  return candidates.find((dir) => dir && matches(path.join(dir, 'include/node')));
}

function matches(include) {
  try {
    const header = fs.readFileSync(path.join(include, 'node_version.h'), 'utf8');
    const major = /#define NODE_MAJOR_VERSION (\d+)/.exec(header)?.[1];
    return major === process.versions.node.split('.')[0];
  } catch {
    return false;
  }
}
