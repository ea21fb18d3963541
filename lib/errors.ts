/**
 * Every error that Moonphase throws carries a `code` of this one table.
 *
 * The text is what the documentation says about the code; the message of an error says what happened.
 */
export const errorTable = {
  ERR_MOONPHASE_CONFIG:
    'The configuration is wrong. The message has the words that nginx would use, with file and line.',
  ERR_MOONPHASE_CONFIG_UNSUPPORTED:
    'The configuration uses a directive of nginx that Moonphase does not support yet.',
  ERR_MOONPHASE_OPTION: 'An option or argument given from JavaScript has the wrong type or value.',
  ERR_MOONPHASE_LOAD:
    'The native part cannot be loaded. The message says what was found, what is needed and what to do.',
  ERR_MOONPHASE_LUA: 'Lua code failed. `luaStack` is its traceback, `luaValue` what it threw.',
  ERR_MOONPHASE_VALUE: 'A value has no counterpart in the other language.',
  ERR_MOONPHASE_EXIT: 'Lua code that JavaScript called ended itself, by `ngx.exit` for instance.',
  ERR_MOONPHASE_CLOSED: 'The gateway or Lua VM has ended already.',
  ERR_MOONPHASE_START: 'The gateway could not start: the message is what its error log says.',
  ERR_MOONPHASE_SHARED:
    'A shared dictionary refused an operation: no memory, or another type of value.',
  ERR_MOONPHASE_UPSTREAM: 'An upstream cannot be changed so: the message says why.',
  ERR_MOONPHASE_LISTEN: 'An address could not be listened on.',
} as const;

export type ErrorCode = keyof typeof errorTable;

export class MoonphaseError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'MoonphaseError';
    this.code = code;
  }
}

/** An error that Lua code threw and did not catch. */
export class LuaError extends MoonphaseError {
  /** Lua's traceback at the place where the error was thrown. */
  readonly luaStack: string;
  /** The error value itself: the message, or whatever `error()` was given. */
  readonly luaValue: unknown;

  constructor(message: string, luaStack: string, luaValue: unknown) {
    super('ERR_MOONPHASE_LUA', message);
    this.name = 'LuaError';
    this.luaStack = luaStack;
    Object.defineProperty(this, 'luaValue', { value: luaValue, enumerable: false });
    const [head = '', ...frames] = (this.stack ?? '').split('\n    at ');
    const title = head.replace(/^\w*Error/, 'LuaError');
    this.stack = [title, ...luaFrames(luaStack), ...frames].join('\n    at ');
  }
}

/** Lines of a Lua traceback in the form of JavaScript's: `name (file.lua:3)`. */
function luaFrames(traceback: string): string[] {
  const frames: string[] = [];
  for (const line of traceback.split('\n')) {
    const match = /^\t(.+?): in (.+)$/.exec(line);
    if (match === null || match[1]?.startsWith('moonphase:')) continue;
    const [, place = '', what = ''] = match;
    const name = /^function '(.+)'$/.exec(what)?.[1] ?? what.replace(/^function (<.+>)$/, '$1');
    if (place === '[C]' && name === 'xpcall') continue;
    frames.push(`${name} (${place === '[C]' ? 'Lua native' : place})`);
  }
  return frames;
}

/** Where a configuration error was found, as far as it is known. */
export interface ConfigPlace {
  /** Path of the file; undefined for the `-g` command line option and for `createGateway` options. */
  readonly file?: string | undefined;
  readonly line?: number | undefined;
  readonly directive?: string | undefined;
  /** What stands behind the words in place of `FILE:LINE`, such as `command line`. */
  readonly origin?: string | undefined;
}

/** A wrong configuration: `words` is nginx's own sentence, `message` adds ` in FILE:LINE` as nginx does. */
export class ConfigError extends MoonphaseError {
  readonly words: string;
  readonly file: string | undefined;
  readonly line: number | undefined;
  readonly directive: string | undefined;

  constructor(words: string, place: ConfigPlace = {}, code: ErrorCode = 'ERR_MOONPHASE_CONFIG') {
    super(code, words + suffix(place));
    this.name = 'ConfigError';
    this.words = words;
    this.file = place.file;
    this.line = place.line;
    this.directive = place.directive;
  }
}

function suffix(place: ConfigPlace): string {
  if (place.origin !== undefined) return ` in ${place.origin}`;
  if (place.file === undefined) return '';
  return place.line === undefined ? ` in ${place.file}` : ` in ${place.file}:${place.line}`;
}
