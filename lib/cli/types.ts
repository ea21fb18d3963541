import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { LuaVM } from '../luavm.js';
import { HEADER, declare, type LuaModule } from '../types/declarations.js';

export interface TypesOptions {
  /** Where the declarations go; default: beside the Lua files. */
  readonly out: string | undefined;
  /** Nothing is written: fails if something would be. */
  readonly check: boolean;
}

/** `moonphase types DIR|FILE…`; the exit code. */
export function writeTypes(places: readonly string[], { out, check }: TypesOptions): number {
  let code = 0;
  const complain = (message: string): void => {
    process.stderr.write(`moonphase: ${message}\n`);
    code = 1;
  };
  for (const place of places) {
    if (!existsSync(place)) {
      complain(`"${place}" does not exist`);
      continue;
    }
    const isFile = statSync(place).isFile();
    const base = isFile ? dirname(place) : place;
    const names = isFile ? [basename(place)] : luaFiles(place);
    if (names.length === 0) complain(`no Lua files in "${place}"`);
    const modules: LuaModule[] = [];
    for (const name of names) {
      const text = readFileSync(join(base, name), 'utf8');
      const error = syntaxError(join(base, name), text);
      if (error === undefined) modules.push({ name: name.replace(/\.lua$/, ''), text });
      else complain(error);
    }
    const unknown = new Set<string>();
    const results = declare(modules, (module, type) => unknown.add(`${module}.lua: ${type}`));
    for (const { name, text } of results) {
      const file = join(out ?? base, `${name}.d.ts`);
      const old = existsSync(file) ? readFileSync(file, 'utf8') : undefined;
      if (old === text) continue;
      if (check) {
        complain(`${file} is not what the annotations say: run moonphase types`);
      } else if (old !== undefined && !old.startsWith(HEADER)) {
        complain(`${file} was not written by moonphase types: it stays as it is`);
      } else {
        mkdirSync(dirname(file), { recursive: true });
        writeFileSync(file, text);
        process.stdout.write(`${file}\n`);
      }
    }
    for (const one of unknown) {
      process.stderr.write(`moonphase: ${one} is declared nowhere and becomes unknown\n`);
    }
  }
  return code;
}

/** What Lua says against a file, with name and line. */
function syntaxError(file: string, text: string): string | undefined {
  compiler ??= new LuaVM();
  try {
    compiler.load(text.replace(/^\uFEFF?(#.*)?/, ''), { name: `@${file}` });
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

let compiler: LuaVM | undefined;

function luaFiles(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.lua') && !name.split('/').includes('node_modules'))
    .sort();
}
