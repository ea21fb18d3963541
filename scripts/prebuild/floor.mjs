// The oldest system that a prebuilt addon runs on, and what is linked to get there.
import fs from 'node:fs';
import path from 'node:path';
import { run } from '../deps/util.mjs';

/** glibc as Node 20 itself needs it; the C++ library of GCC 8, which systems with that glibc have. */
export const floor = { GLIBC: '2.28', GLIBCXX: '3.4.25', CXXABI: '1.3.11', GCC: '8.0.0' };

const wrapped = ['exp', 'log', 'pow', 'log2'];

/** Compiles floor.cc; the result is a library and the flags that make use of it. */
export function buildFloor(root, dir, tool) {
  fs.mkdirSync(dir, { recursive: true });
  const object = path.join(dir, 'floor.o');
  const library = path.join(dir, 'libfloor.a');
  run(tool('g++'), [
    ...['-std=gnu++20', '-O2', '-fPIC', '-fexceptions', '-fvisibility=hidden', '-Wall', '-Wextra'],
    ...['-c', path.join(root, 'scripts/prebuild/floor.cc'), '-o', object],
  ]);
  fs.rmSync(library, { force: true });
  run(tool('ar'), ['rcs', library, object]);
  return { library, flags: wrapped.map((name) => `-Wl,--wrap=${name}`).join(' ') };
}
