import { existsSync, readFileSync } from 'node:fs';
import { builtinModules, createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';

type Any = Record<PropertyKey, unknown>;
type Callable = (...args: unknown[]) => unknown;
type Conditions = string | null | { readonly [key: string]: Conditions } | readonly Conditions[];

/** What `require "js"` (lua/moonphase/js.lua) does in JavaScript, by name. */
export const jsHelpers = {
  global: (): unknown => globalThis,
  get: (object: Any, key: PropertyKey): unknown => object[key],
  set(object: Any, key: PropertyKey, value: unknown): void {
    object[key] = value;
  },
  isFunction: (value: unknown): boolean => typeof value === 'function',
  apply: (fn: Callable, self: unknown, ...args: unknown[]): unknown => {
    if (typeof fn !== 'function') throw new TypeError('this JavaScript value is not a function');
    return Reflect.apply(fn, self, args);
  },
  construct: (constructor: new (...args: unknown[]) => unknown, ...args: unknown[]): unknown =>
    Reflect.construct(constructor, args) as unknown,
  text: (value: unknown): string =>
    value instanceof Error || typeof value === 'function' ? String(value) : inspect(value),
  length: (value: { length?: number; size?: number }): number => value.length ?? value.size ?? 0,
  same: (a: unknown, b: unknown): boolean => a === b,
  typeof: (value: unknown): string => (value === null ? 'null' : typeof value),
  instanceOf: (value: unknown, constructor: new () => unknown): boolean =>
    value instanceof constructor,
  // tables for Lua, not objects of ours
  keys: (object: object): string[] => Object.keys(object),
  copy: (value: unknown): unknown => value,
  iterator: (object: Partial<AsyncIterable<unknown> & Iterable<unknown>>): unknown => {
    const make = (object[Symbol.asyncIterator] ?? object[Symbol.iterator]) as
      (() => AsyncIterator<unknown> | Iterator<unknown>) | undefined;
    if (make === undefined) throw new TypeError('this JavaScript value cannot be iterated over');
    return Reflect.apply(make, object, []);
  },
  // the next item in an object, or false
  async next(iterator: AsyncIterator<unknown> | Iterator<unknown>): Promise<unknown> {
    const { done, value } = await iterator.next();
    return done === true ? false : { value: await value };
  },
  await: (value: unknown): Promise<unknown> => Promise.resolve(value),
  import: importFrom,
};

/** A module for code that lies under `prefix`. */
async function importFrom(name: string, prefix: string): Promise<unknown> {
  if (name.startsWith('node:') || builtinModules.includes(name)) return plain(await import(name));
  const file = /^\.{0,2}\//.test(name) ? resolve(prefix, name) : resolvePackage(name, prefix);
  return plain((await import(pathToFileURL(file).href)) as Any);
}

/** What `require()` would give of a CommonJS module, instead of the namespace that is made around it. */
function plain(module: Any): unknown {
  const exported = module['default'] as Any | undefined;
  if (exported === undefined || exported === null) return module;
  const names = Object.keys(module).filter((key) => key !== 'default' && key !== 'module.exports');
  const wraps =
    (typeof exported === 'object' || typeof exported === 'function') &&
    names.every((key) => exported[key] === module[key]);
  return wraps ? exported : module;
}

function resolvePackage(name: string, prefix: string): string {
  const require = createRequire(join(resolve(prefix), 'package.json'));
  try {
    return require.resolve(name);
  } catch (error) {
    // a package that has nothing but ES modules
    const found = resolveExports(name, resolve(prefix));
    if (found === undefined) throw error;
    return found;
  }
}

function resolveExports(name: string, from: string): string | undefined {
  const [, id = '', rest = ''] = /^((?:@[^/]+\/)?[^/]+)(\/.*)?$/.exec(name) ?? [];
  for (let dir = from; ; dir = dirname(dir)) {
    const root = join(dir, 'node_modules', id);
    if (existsSync(join(root, 'package.json'))) {
      const { exports, main } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
        exports?: Conditions;
        main?: string;
      };
      const map = exports ?? main ?? 'index.js';
      const paths = typeof map === 'object' && map !== null && '.' in map;
      const entry = paths || rest !== '' ? (map as Record<string, Conditions>)[`.${rest}`] : map;
      const target = pick(entry);
      return target === undefined ? undefined : join(root, target);
    }
    if (dir === dirname(dir)) return undefined;
  }
}

function pick(entry: Conditions | undefined): string | undefined {
  if (typeof entry === 'string') return entry;
  if (entry === null || entry === undefined) return undefined;
  if (Array.isArray(entry))
    return (entry as Conditions[]).map(pick).find((one) => one !== undefined);
  for (const [condition, inner] of Object.entries(entry as Record<string, Conditions>)) {
    if (!['node', 'import', 'module-sync', 'default'].includes(condition)) continue;
    const found = pick(inner);
    if (found !== undefined) return found;
  }
  return undefined;
}
