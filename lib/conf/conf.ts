import { hostname as osHostname } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import { ConfigError, type ConfigPlace } from '../errors.js';
import { compileComplex } from './complex.js';
import {
  EVENTS,
  HTTP,
  LIMIT_EXCEPT,
  LOCATION,
  LOCATION_IF,
  MAIN,
  SERVER,
  SERVER_IF,
  UPSTREAM,
  takes,
} from './directive.js';
import type { Directive, Level, Values } from './directive.js';
import { errnoText, glob, isGlob, readBytes, under } from './files.js';
import type {
  Complex,
  ContentHandler,
  Handler,
  JsHandler,
  LogFormat,
  LogTarget,
  SyslogServer,
  Regex,
  UpstreamPlan,
  Where,
} from './plan.js';
import type { CachePath, LimitZone } from './plan_modules.js';
import { Reader, type Statement } from './reader.js';
import { Scope, type ScopeKind } from './scope.js';
import { VariableTable, captureNames } from './variables.js';
import { Listens } from './listens.js';

/** What statements are read from: a file, the `-g` option, or the options of `createGateway`. */
export interface Source {
  next(): Statement;
  /** The Lua code of a `*_by_lua_block`, after its `{`. */
  luaBlock(): string;
  /** Where the statement that was read last stands. */
  place(): ConfigPlace;
  /** What chunk names of Lua code show: `nginx.conf:12`. `line` is the one at which the directive's block opened. */
  chunkPlace?(): string;
}

/** Something that nginx would log while it reads a configuration and goes on. */
export interface Notice {
  readonly level: 'warn' | 'alert' | 'notice';
  readonly message: string;
}

export interface ServerState {
  readonly scope: Scope;
  readonly names: { name: string; regex?: Regex }[];
}

/** The word that stands for a function among options. No text of a user's looks like it. */
const FUNCTION = '\0function ';

export function functionWord(index: number): string {
  return FUNCTION + String(index);
}

function functionIndex(word: string): number | undefined {
  return word.startsWith(FUNCTION) ? Number(word.slice(FUNCTION.length)) : undefined;
}

/** What is wrong with a regular expression, in PCRE2's words; undefined: nothing. */
export type RegexCheck = (pattern: string, caseless: boolean) => string | undefined;

export interface ConfOptions {
  readonly prefix: string;
  readonly confPrefix: string;
  readonly confFile: string;
  readonly table: ReadonlyMap<string, readonly Directive[]>;
  /** Whether a server without `listen` listens on port 80, as nginx's does. */
  readonly defaultListen: boolean;
  /** Names of directives to refuse as not supported yet. */
  readonly pending: ReadonlySet<string>;
  readonly regexError: RegexCheck;
}

const CONTEXT: Readonly<Record<ScopeKind, number>> = {
  main: MAIN,
  events: EVENTS,
  http: HTTP,
  upstream: UPSTREAM,
  server: SERVER,
  prefix: LOCATION,
  exact: LOCATION,
  regex: LOCATION,
  named: LOCATION,
  if: LOCATION_IF,
  limit_except: LIMIT_EXCEPT,
  server_if: SERVER_IF,
};

/**
 * A configuration while it is read. Directives are checked and applied one by one, in the order in which they stand,
 * as nginx does: what a directive refers to must stand before it where nginx wants that.
 */
export class Conf {
  readonly prefix: string;
  readonly confPrefix: string;
  readonly hostname = osHostname().toLowerCase();
  readonly variables = new VariableTable();
  readonly notices: Notice[] = [];
  /** Every file that was read, with its text, in order. */
  readonly files = new Map<string, string>();
  readonly logs: LogTarget[] = [];
  readonly syslogs: SyslogServer[] = [];
  readonly js: JsHandler[] = [];
  readonly formats: LogFormat[] = [];
  readonly upstreams: UpstreamPlan[] = [];
  /** Shared memory of upstreams, by name. */
  readonly upstreamZones = new Map<string, { name: string; size: number; where: Where }>();
  /** `upstream_zone` */
  dynamicZone: string | undefined;
  /** `upstream_list NAME UPSTREAM…` */
  readonly upstreamLists = new Map<string, readonly string[]>();
  /** Zones of `limit_req_zone` and `limit_conn_zone`. */
  readonly limitZones: LimitZone[] = [];
  readonly caches: CachePath[] = [];
  /** Zones of `ssl_session_cache`, by name. */
  readonly sessionZones = new Map<string, { name: string; size: number }>();
  private readonly memory = new Map<string, { readonly use: string; size: number }>();
  readonly servers: ServerState[] = [];
  readonly listens = new Listens();
  /** Parameters of the buffered access logs, by path: those of one file must agree. */
  readonly logBuffers = new Map<string, string>();
  readonly process: Values = Object.create(null) as Values;
  readonly root: Scope;
  http: Scope | undefined;
  /** Scopes with a configuration of their own, in the order of `HttpPlan.confs`. */
  readonly confs: Scope[] = [];
  scope: Scope;
  /** The directive that is being read, for messages. */
  private current: string | undefined;
  private source: Source | undefined;
  /** During inheritance: the block whose values are looked at. */
  merging: Scope | undefined;
  private entry: ((words: string[]) => void) | undefined;
  /** Line at which the block of the current directive opened: Lua's chunk names show it. */
  private blockLine: number | undefined;

  get defaultListen(): boolean {
    return this.options.defaultListen;
  }

  constructor(private readonly options: ConfOptions) {
    this.prefix = options.prefix;
    this.confPrefix = options.confPrefix;
    this.root = new Scope('main', MAIN, { file: options.confFile, line: 0 }, undefined);
    this.scope = this.root;
  }

  // ---- reading

  /** Reads the main file, or one that is included. */
  readFile(file: string): void {
    let text: string;
    try {
      text = readBytes(file);
    } catch (error) {
      throw this.error(`open() "${file}" failed ${errnoText(error)}`);
    }
    if (!this.files.has(file)) this.files.set(file, text);
    this.readFrom(fileSource(new Reader(file, text)), 'file');
  }

  readFrom(source: Source, kind: 'file' | 'parameter', entry?: (words: string[]) => void): void {
    const outer = this.source;
    this.source = source;
    this.statements(kind, entry ?? this.entry);
    this.source = outer;
  }

  /** Reads a block of nginx directives in a new scope. */
  inside(kind: ScopeKind, setUp: (scope: Scope) => void = () => undefined): Scope {
    const outer = this.scope;
    const scope = new Scope(kind, CONTEXT[kind], this.where(), outer);
    scope.server = outer.server;
    if (kind !== 'server_if' && kind !== 'main' && kind !== 'events' && kind !== 'upstream') {
      scope.conf = this.confs.push(scope) - 1;
      outer.children.push(scope);
    }
    setUp(scope);
    this.scope = scope;
    this.statements('block', undefined);
    this.scope = outer;
    return scope;
  }

  /** Reads a block that holds lists of words, such as `types {}`. */
  entries(entry: (words: string[]) => void): void {
    const outer = this.entry;
    this.entry = entry;
    this.statements('block', entry);
    this.entry = outer;
  }

  include(name: string): void {
    const file = this.confName(name);
    for (const one of isGlob(file) ? glob(file) : [file]) this.readFile(one);
  }

  private statements(
    kind: 'file' | 'block' | 'parameter',
    entry: ((words: string[]) => void) | undefined,
  ): void {
    const source = this.source as Source;
    for (;;) {
      // inside `map {}` and the like errors belong to that directive
      if (entry === undefined) this.current = undefined;
      const { words, end } = source.next();
      if (end === 'eof') {
        if (kind === 'block') throw this.error('unexpected end of file, expecting "}"');
        return;
      }
      if (end === '}') {
        if (kind !== 'block') throw this.error('unexpected "}"');
        return;
      }
      if (end === '{' && kind === 'parameter') {
        throw this.error('block directives are not supported in -g option');
      }
      if (entry !== undefined) {
        if (end === '{') throw this.error('unexpected "{"');
        entry(words);
      } else {
        this.directive(words, end);
      }
    }
  }

  private directive(words: string[], end: ';' | '{'): void {
    const [name = '', ...args] = words;
    this.current = name;
    const rows = this.options.table.get(name);
    if (rows === undefined) throw this.error(`unknown directive "${name}"`);
    const row = rows.find((r) => (r.in & this.scope.context) !== 0);
    if (row === undefined) throw this.error(`"${name}" directive is not allowed here`);
    if (row.block === undefined && end === '{')
      throw this.error(`directive "${name}" is not terminated by ";"`);
    if (row.block !== undefined && end === ';')
      throw this.error(`directive "${name}" has no opening "{"`);
    if (!takes(row.args, args.length))
      throw this.error(`invalid number of arguments in "${name}" directive`);
    if (row.later === true || this.options.pending.has(name)) throw this.unsupported();
    if (row.ignored !== undefined) return;
    if (row.block === 'lua') {
      this.blockLine = this.place().line;
      args.push((this.source as Source).luaBlock());
    }
    const sentence = row.set(this, args, row);
    this.blockLine = undefined;
    this.current = name;
    if (sentence !== undefined) throw this.error(`"${name}" directive ${sentence}`);
  }

  // ---- messages

  place(): ConfigPlace {
    return this.source?.place() ?? this.merging?.where ?? {};
  }

  where(): Where {
    const { file, line, origin } = this.place();
    return { file: file ?? origin ?? '', line: line ?? 0 };
  }

  error(sentence: string): ConfigError {
    return new ConfigError(sentence, { ...this.place(), directive: this.current });
  }

  unsupported(what = `"${this.current ?? ''}" directive`): ConfigError {
    const place = { ...this.place(), directive: this.current };
    return new ConfigError(
      `${what} is not supported yet`,
      place,
      'ERR_MOONPHASE_CONFIG_UNSUPPORTED',
    );
  }

  /** Refuses a part of the current directive that the native side does not do yet. */
  part(part: string): void {
    const directive = this.current ?? '';
    if (this.options.pending.has(`${directive} ${part}`)) {
      throw this.unsupported(`"${part}" of the "${directive}" directive`);
    }
  }

  warn(sentence: string, level: Notice['level'] = 'warn'): void {
    this.notices.push({ level, message: this.error(sentence).message });
  }

  // ---- values

  /** The values of this place's level. */
  values(level: Level): Values {
    switch (level) {
      case 'process':
        return this.process;
      case 'main':
        return this.scope.main;
      case 'srv':
        return this.scope.srv;
      case 'upstream':
        return this.scope.upstream;
      case 'loc':
        return this.scope.loc;
    }
  }

  /** The row's list at this level, made when it is not there yet. */
  list<T>(row: Directive): T[] {
    const values = this.values(row.level);
    return (values[row.field] ??= []) as T[];
  }

  complex(text: string): Complex {
    return compileComplex(
      text,
      (name) => this.variable(name),
      (sentence) => {
        throw this.error(sentence);
      },
    );
  }

  /** The index of a variable. */
  variable(name: string): number {
    if (name === '') throw this.error('invalid variable name "$"');
    return this.variables.index(name, this.where());
  }

  /** Takes `$name` apart. */
  variableName(text: string): string {
    if (!text.startsWith('$')) throw this.error(`invalid variable name "${text}"`);
    return text.slice(1);
  }

  /** Defines a variable that a directive computes or writes. */
  define(name: string, definition: Parameters<VariableTable['define']>[1]): void {
    const sentence = this.variables.define(name, definition);
    if (sentence !== undefined) throw this.error(sentence);
  }

  /** A regular expression; its named groups become variables. */
  regex(pattern: string, caseless = false): Regex {
    const wrong = this.options.regexError(pattern, caseless);
    if (wrong !== undefined) throw this.error(wrong);
    const names = captureNames(pattern);
    if (names.length === 0) return { pattern, caseless, where: this.where() };
    const captures = names.map((name) => {
      this.define(name, { kind: 'capture' });
      return { name, var: this.variable(name) };
    });
    return { pattern, caseless, where: this.where(), captures };
  }

  fullName(name: string): string {
    return under(this.prefix, name);
  }

  confName(name: string): string {
    return under(this.confPrefix, name);
  }

  /** A zone of shared memory: all that use a name mean the same by it. Without `size` it is defined elsewhere. */
  sharedMemory(name: string, use: string, size = 0): void {
    const before = this.memory.get(name);
    if (before === undefined) {
      this.memory.set(name, { use, size });
      return;
    }
    if (before.use !== use) {
      throw this.error(`the shared memory zone "${name}" is already declared for a different use`);
    }
    if (size !== 0 && before.size !== 0 && size !== before.size) {
      throw this.error(
        `the size ${size} of shared memory zone "${name}" conflicts with already declared size ${before.size}`,
      );
    }
    before.size ||= size;
  }

  /** The index of a log target. */
  log(target: LogTarget): number {
    return indexIn(this.logs, target);
  }

  /** The index of a syslog server. */
  syslog(server: SyslogServer): number {
    return indexIn(this.syslogs, server);
  }

  /** A handler of Lua code that stands in the configuration; `tag` is the phase's name in chunk names. */
  inlineHandler(tag: string, code: string): Handler {
    return { inline: code, chunk: this.chunk(tag), where: this.where() };
  }

  /** `PATH#EXPORT`; or a function of the table beside the plan, which only options can name. */
  jsHandler(text: string): Handler {
    const where = this.where();
    const fn = functionIndex(text);
    if (fn === undefined) {
      const hash = text.lastIndexOf('#');
      const module = hash < 0 ? text : text.slice(0, hash);
      const name = hash < 0 ? 'default' : text.slice(hash + 1);
      if (module === '') throw this.error(`no module in "${text}"`);
      if (name === '') throw this.error(`no name of an export in "${text}"`);
      this.js.push({ module: under(this.prefix, module), name, where });
    } else {
      this.js.push({ fn, where });
    }
    return { js: this.js.length - 1, chunk: '', where };
  }

  /** A directive has made itself this location's content handler; the last one counts. */
  content(kind: ContentHandler['kind']): void {
    this.scope.loc['content'] = { kind };
  }

  fileHandler(file: Complex): Handler {
    return { file, chunk: '', where: this.where() };
  }

  /** Lua's name for inline code: `=content_by_lua(nginx.conf:12)`, with at most 60 characters. */
  private chunk(tag: string): string {
    const { file, line } = this.where();
    const room = 56 - tag.length;
    const own = this.source?.chunkPlace?.();
    if (own !== undefined) return `=${tag}(${own.slice(-(room + 1))})`;
    const at = String(this.blockLine ?? line);
    let name = file;
    if (file.endsWith('/nginx.conf')) name = 'nginx.conf';
    else {
      if (file.startsWith(this.confPrefix) && file.length > this.confPrefix.length) {
        name = file.slice(this.confPrefix.length);
      }
      const left = room - at.length;
      if (name.length > left) name = `...${name.slice(name.length - left + 3)}`;
    }
    return `=${tag}(${name}:${at})`;
  }
}

/** Where an equal value stands in the list, which it joins if none does. */
function indexIn<T>(list: T[], value: T): number {
  const at = list.findIndex((one) => isDeepStrictEqual(one, value));
  return at >= 0 ? at : list.push(value) - 1;
}

/** A file, or the text of the `-g` option. */
export function fileSource(reader: Reader): Source {
  return {
    next: () => reader.next(),
    luaBlock: () => reader.luaBlock(),
    place: () =>
      reader.file === undefined
        ? { origin: 'command line' }
        : { file: reader.file, line: reader.line },
  };
}
