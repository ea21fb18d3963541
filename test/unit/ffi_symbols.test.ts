// Every C function that lua-resty-core declares for http is exported by the addon, or is on the list of what comes later.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const root = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));

/** Not there yet, by module; a library that declares them fails at `require` or at its first call. */
const later: Record<string, RegExp> = {
  // Declared only where LuaJIT cannot pass nine arguments.
  macOS: /_macos$/,
};

function lualibs(): string[] {
  return ['lualib', 'lua'].map((dir) => path.join(root, dir)).filter((dir) => fs.existsSync(dir));
}

function luaFiles(dir: string): string[] {
  return fs
    .readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.lua'))
    .map((file) => path.join(dir, file));
}

/** Function names in `ffi.cdef[[ … ]]`, with the file that declares them. */
function declared(): Map<string, string> {
  const names = new Map<string, string>();
  for (const file of lualibs().flatMap(luaFiles)) {
    const text = fs.readFileSync(file, 'latin1');
    for (const [, block] of text.matchAll(/ffi\.cdef\s*\(?\s*\[\[(.*?)\]\]/gs)) {
      for (const [, name] of block!.matchAll(/\b(ngx_\w+)\s*\(/g)) {
        if (!name!.startsWith('ngx_stream_')) names.set(name!, path.basename(file));
      }
    }
  }
  return names;
}

function exported(addon: string): Set<string> {
  const table = execFileSync('nm', ['-D', '--defined-only', addon], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  return new Set([...table.matchAll(/ [TW] (\w+)$/gm)].map(([, name]) => name!));
}

const addon = process.env['MOONPHASE_ADDON'] ?? path.join(root, 'build/Release/moonphase.node');
const skip = fs.existsSync(addon) ? false : `${addon} is not built`;

t.test('the FFI functions of lua-resty-core', { skip }, (t) => {
  const names = declared();
  t.ok(names.size > 100, 'the declarations were found');
  const have = exported(addon);
  for (const [name, file] of names) {
    const when = Object.entries(later).find(([, pattern]) => pattern.test(name))?.[0];
    if (when) t.notOk(have.has(name), `${name} is exported: take it off the list (${when})`);
    else t.ok(have.has(name), `${name}, declared in ${file}, is exported`);
  }
  t.end();
});
