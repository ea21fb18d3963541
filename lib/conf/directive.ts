import type { Conf } from './conf.js';

/** Contexts, as bits. */
export const MAIN = 1;
export const EVENTS = 2;
export const HTTP = 4;
export const UPSTREAM = 8;
export const SERVER = 16;
export const LOCATION = 32;
/** `if` in a server, `if` in a location, `limit_except`. */
export const SERVER_IF = 64;
export const LOCATION_IF = 128;
export const LIMIT_EXCEPT = 256;

export const ANY = 511;
export const HSL = HTTP | SERVER | LOCATION;
export const HSLI = HSL | LOCATION_IF;

/** The level that keeps a directive's value: main and events, http, upstream, server, or location. */
export type Level = 'process' | 'main' | 'upstream' | 'srv' | 'loc';

/**
 * How many arguments: digits name the counts that are allowed (`12`: one or two), `1+` and `2+` at least so many,
 * `flag` one, `any` whatever.
 */
export type Arity = string;

/**
 * Takes a directive's arguments (without its name). A sentence that it returns is the error
 * `"NAME" directive SENTENCE`; any other error it throws through `cf.error`.
 */
export type Setter = (cf: Conf, args: string[], row: Directive) => string | void;

/** One row of a module's table. */
export interface Directive {
  readonly name: string;
  readonly in: number;
  readonly args: Arity;
  readonly set: Setter;
  readonly level: Level;
  /** The field of the plan, by rule the directive's own name. */
  readonly field: string;
  /** What the field is when no level sets it; absent fields stay out of the plan. */
  readonly init?: unknown;
  /** `false`: a value counts for its own level only. */
  readonly inherit: boolean;
  /** `{}`: nginx directives follow; `lua`: Lua code follows. */
  readonly block?: '{}' | 'lua';
  /** Not in the plan under its own name: its setter or its module's `merge` does what is needed. */
  readonly hidden?: boolean;
  /** Known, and refused at load: `"x" directive is not supported yet`. */
  readonly later?: boolean;
  /** Allowed and without effect, for this reason. */
  readonly ignored?: string;
}

type Options = Partial<Pick<Directive, 'field' | 'init' | 'inherit' | 'block' | 'hidden'>>;

/** The functions that modules write their rows with: `loc('sendfile', HSLI, 'flag', flag(), { init: false })`. */
function rows(level: Level) {
  return (
    name: string,
    where: number,
    args: Arity,
    set: Setter,
    options: Options = {},
  ): Directive => ({
    name,
    in: where,
    args,
    set,
    level,
    field: name,
    inherit: true,
    ...options,
  });
}

/** Directives of nginx that come later: they are refused by name. */
export function later(where: number, names: string, block?: '{}'): Directive[] {
  const row = rows('loc');
  const options = block === undefined ? {} : { block };
  return names
    .trim()
    .split(/\s+/)
    .map((name) => ({
      ...row(name, where, 'any', () => undefined, options),
      later: true,
      hidden: true,
    }));
}

/** A directive that has no meaning here: its place and the number of its arguments are checked. */
export function ignored(name: string, where: number, args: Arity, reason: string): Directive {
  return { ...rows('loc')(name, where, args, () => undefined), ignored: reason, hidden: true };
}

export const process = rows('process');
export const main = rows('main');
export const upstream = rows('upstream');
export const srv = rows('srv');
export const loc = rows('loc');

/** One of nginx's modules: its directives, and how a level's values become those of the plan. */
export interface Module {
  readonly name: string;
  readonly rows: readonly Directive[];
  /** Fields of location level go into an object of this name, if `used` says that the module is. */
  readonly group?: string;
  readonly used?: (conf: Values) => boolean;
  /** Called for each location configuration once its fields have been inherited. */
  readonly mergeLocation?: MergeLocation;
  readonly mergeServer?: MergeLocation;
}

export type MergeLocation = (cf: Conf, merge: Merge) => void;

export type Values = Record<string, unknown>;

/** A level during inheritance: what it set itself, what its parent came to, and what it comes to. */
export interface Merge {
  readonly own: Values;
  readonly parent: Values | undefined;
  readonly conf: Values;
  readonly scope: import('./scope.js').Scope;
}

export function takes(arity: Arity, count: number): boolean {
  if (arity === 'any') return true;
  if (arity === 'flag') return count === 1;
  if (arity === '1+') return count >= 1;
  if (arity === '2+') return count >= 2;
  return count <= 7 && arity.includes(String(count));
}
