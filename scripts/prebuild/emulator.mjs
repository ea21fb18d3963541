// How programs of another architecture run here: qemu-user, with the libraries that the sysroot of the cross build holds.
import { UserError, have } from '../deps/util.mjs';
import { fetchSysroot } from './sysroot.mjs';

/** What stands in front of such a program; nothing for this machine's own architecture. */
export function emulator(root, cache, arch) {
  if (arch === process.arch) return [];
  const program = { arm64: 'qemu-aarch64-static', x64: 'qemu-x86_64-static' }[arch];
  if (!have(program)) {
    throw new UserError(`missing: ${program}; apt-get install qemu-user-static`);
  }
  return [program, '-L', fetchSysroot(root, cache, arch)];
}
