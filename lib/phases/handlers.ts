import { statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { native, type SharedDict } from '../binding.js';
import type { JsHandler, Plan } from '../conf/plan.js';
import { ConfigError } from '../errors.js';
import { enter, type Handler } from './request.js';

/** A handler as native code calls it. */
export type NativeHandler = ReturnType<typeof enter>;

/**
 * The plan's handlers in JavaScript, in the order in which it names them. Rejects with a `ConfigError` that names the
 * directive's place.
 */
export async function loadHandlers(
  plan: Plan,
  functions: readonly ((...args: never[]) => unknown)[],
): Promise<NativeHandler[]> {
  if (plan.js.length === 0) return [];
  const shared: Record<string, SharedDict> = {};
  for (const zone of plan.http?.lua.shared_dicts ?? []) {
    Object.defineProperty(shared, zone.name, {
      enumerable: true,
      configurable: true,
      get() {
        const value = new (native().SharedDict)(zone);
        Object.defineProperty(shared, zone.name, { value, enumerable: true });
        return value;
      },
    });
  }
  const handlers: NativeHandler[] = [];
  for (const one of plan.js) handlers.push(enter(await functionOf(one, functions), shared));
  return handlers;
}

async function functionOf(
  handler: JsHandler,
  functions: readonly ((...args: never[]) => unknown)[],
): Promise<Handler> {
  if ('fn' in handler) return functions[handler.fn] as unknown as Handler;
  const file = text(handler.module);
  const name = text(handler.name);
  const { file: conf, line } = handler.where;
  const wrong = (words: string, cause?: unknown): ConfigError => {
    const error = new ConfigError(words, line > 0 ? { file: conf, line } : { origin: conf });
    if (cause !== undefined) error.cause = cause;
    return error;
  };
  let module: Record<string, unknown>;
  try {
    module = await importFresh(file);
  } catch (error) {
    throw wrong(`the module "${file}" cannot be loaded: ${reason(error)}`, error);
  }
  const found = name in module ? module[name] : fromCommonJs(module, name);
  if (typeof found === 'function') return found as Handler;
  throw wrong(
    found === undefined
      ? `the module "${file}" has no export "${name}"`
      : `the export "${name}" of "${file}" is not a function`,
  );
}

/** As the file is now, whatever was loaded of it before. What it imports itself is not read again. */
async function importFresh(file: string): Promise<Record<string, unknown>> {
  const { mtimeMs, size } = statSync(file);
  const { cache } = createRequire(file);
  delete cache[file];
  const url = pathToFileURL(file);
  url.search = `moonphase=${mtimeMs}-${size}`;
  return (await import(url.href)) as Record<string, unknown>;
}

/** An export that Node's lexer did not see. */
function fromCommonJs(module: Record<string, unknown>, name: string): unknown {
  const exported = module['default'];
  return typeof exported === 'object' && exported !== null
    ? (exported as Record<string, unknown>)[name]
    : undefined;
}

function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // a SyntaxError's stack begins with the place
  const place = error instanceof SyntaxError ? /^(file:.*:\d+)$/m.exec(error.stack ?? '')?.[1] : '';
  return place === undefined || place === '' ? error.message : `${error.message} (${place})`;
}

function text(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString();
}
