import { MoonphaseError } from '../errors.js';
import { compileFrom, type Compiled, type CompileInput } from './compile.js';
import { functionWord, type Source } from './conf.js';
import { HTTP } from './directive.js';
import type { Statement } from './reader.js';
import { TABLE } from './table.js';

/** Lua code: its text, or a file under the prefix. */
export type LuaCode = string | { readonly file: string } | { readonly lua: string };
/** The types of functions that are handlers; lib/phases/request.ts, which has what they get, adds its own. */
export interface HandlerTypes {}
/** A handler of a phase: Lua or a function. */
export type PhaseHandler = LuaCode | HandlerTypes[keyof HandlerTypes];
/** The arguments of a directive, or a list of such for one that may stand several times. */
export type DirectiveValue =
  | string
  | number
  | boolean
  | readonly (string | number | boolean | readonly (string | number | boolean)[])[];

/** Handlers that a location, a server or the gateway may have. */
export interface PhaseOptions {
  /** A handler, or the arguments of nginx's `rewrite`. */
  readonly rewrite?: PhaseHandler | DirectiveValue;
  readonly access?: PhaseHandler;
  readonly precontent?: PhaseHandler;
  readonly headerFilter?: PhaseHandler;
  readonly bodyFilter?: PhaseHandler;
  readonly log?: PhaseHandler;
  readonly rewriteByLua?: LuaCode;
  readonly accessByLua?: LuaCode;
  readonly precontentByLua?: LuaCode;
  readonly headerFilterByLua?: LuaCode;
  readonly bodyFilterByLua?: LuaCode;
  readonly logByLua?: LuaCode;
}

/**
 * Any directive of nginx.conf is an option too, in camel case: `clientMaxBodySize: '10m'`, `internal: true`,
 * `addHeader: [['X-A', '1'], ['X-B', '2', 'always']]`.
 */
export interface DirectiveOptions {
  readonly [directive: string]: unknown;
}

export interface LocationOptions extends PhaseOptions, DirectiveOptions {
  /** As in nginx.conf: `/api/`, `= /hello`, `~ \.php$`, `@name`. */
  readonly path: string;
  readonly content?: PhaseHandler;
  readonly contentByLua?: LuaCode;
  readonly locations?: readonly LocationOptions[];
}

export interface ServerOptions extends PhaseOptions, DirectiveOptions {
  /** Ports or addresses to listen on; none for a gateway inside another server. */
  readonly listen?: number | string | readonly (number | string)[];
  readonly serverName?: string | readonly string[];
  readonly serverRewrite?: PhaseHandler;
  readonly serverRewriteByLua?: LuaCode;
  readonly locations?: readonly LocationOptions[];
}

export interface SharedDictOptions {
  /** Bytes, or as nginx writes it: `10m`. */
  readonly size: string | number;
  /** One lock and one order of use at any size. */
  readonly exact?: boolean;
  /** `any`: tables, arrays and objects too. */
  readonly values?: 'plain' | 'any';
}

export interface GatewayPlanOptions extends ServerOptions {
  /** Directory for relative paths; the working directory by default. */
  readonly prefix?: string;
  /** The `Server` header; by default there is none. */
  readonly serverHeader?: string;
  readonly capabilities?: 'strict' | 'extended';
  readonly sharedDicts?: Readonly<Record<string, string | number | SharedDictOptions>>;
  readonly init?: PhaseHandler;
  readonly initWorker?: PhaseHandler;
  readonly exitWorker?: PhaseHandler;
  readonly initByLua?: LuaCode;
  readonly initWorkerByLua?: LuaCode;
  readonly exitWorkerByLua?: LuaCode;
  readonly upstreams?: Readonly<Record<string, DirectiveOptions>>;
  /** Several servers; then `listen`, `serverName`, `locations` and phases stand in them. */
  readonly servers?: readonly ServerOptions[];
}

/** A statement made from an option. */
interface Node {
  readonly words: string[];
  readonly at: string;
  readonly block?: Node[];
}

/** Compiles the options of `createGateway`: each becomes a directive, and these are read as nginx.conf's are. */
export function compileOptions(
  options: GatewayPlanOptions,
  input: Pick<CompileInput, 'pending' | 'overrides' | 'regexError'> = {},
): Compiled {
  const builder = new Builder();
  const nodes = builder.gateway(options);
  const prefix = options.prefix ?? process.cwd();
  const compiled = compileFrom(treeSource(nodes), {
    errorLog: 'stderr',
    ...input,
    prefix: bytes(prefix),
    confFile: 'createGateway',
  });
  return { ...compiled, functions: builder.functions };
}

const HTTP_PHASES = { init: 'init', initWorker: 'init_worker', exitWorker: 'exit_worker' };
const SERVER_PHASES = { serverRewrite: 'server_rewrite' };
const PHASES = {
  rewrite: 'rewrite',
  access: 'access',
  precontent: 'precontent',
  headerFilter: 'header_filter',
  bodyFilter: 'body_filter',
  log: 'log',
};
const LOCATION_PHASES = { ...PHASES, content: 'content' };

class Builder {
  readonly functions: ((...args: never[]) => unknown)[] = [];

  gateway(options: GatewayPlanOptions): Node[] {
    const {
      prefix: _,
      serverHeader: _header,
      capabilities,
      sharedDicts,
      upstreams,
      servers,
      ...rest
    } = options;
    const http: Node[] = [];
    // files under the prefix would be a surprise inside somebody's own server
    if (rest['accessLog'] === undefined)
      http.push({ words: ['access_log', 'off'], at: 'accessLog' });
    if (capabilities !== undefined) {
      http.push({
        words: ['lua_phase_capabilities', word(capabilities, 'capabilities')],
        at: 'capabilities',
      });
    }
    for (const [name, value] of Object.entries(sharedDicts ?? {})) {
      if (!/^[\w.-]+$/.test(name)) throw option(`"${name}" is no name of a shared dictionary`);
      const at = `sharedDicts.${name}`;
      const { size, exact, values }: SharedDictOptions =
        typeof value === 'object' ? value : { size: value };
      if (values !== undefined && (values as unknown) !== 'plain' && values !== 'any')
        throw option(`${at}.values is 'plain' or 'any'`);
      const words = [
        'lua_shared_dict',
        bytes(name),
        word(size, at),
        ...(exact === true ? ['exact'] : []),
        ...(values === 'any' ? ['values=any'] : []),
      ];
      http.push({ words, at });
    }
    for (const [name, value] of Object.entries(upstreams ?? {})) {
      const at = `upstreams.${name}`;
      http.push({
        words: ['upstream', bytes(name)],
        at,
        block: this.options(object(value, at), at, {}),
      });
    }
    const forHttp: Record<string, unknown> = {};
    const forServer: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(rest)) {
      const http =
        key in HTTP_PHASES ||
        (servers !== undefined && key in PHASES) ||
        isHttpDirective(key, servers !== undefined);
      (http ? forHttp : forServer)[key] = value;
    }
    http.push(...this.options(forHttp, '', { ...HTTP_PHASES, ...PHASES }));
    if (servers === undefined) {
      http.push({ words: ['server'], at: '', block: this.server(forServer as ServerOptions, '') });
    } else {
      const [stray] = Object.keys(forServer);
      if (stray !== undefined) throw option(`"${stray}" belongs into one of "servers"`);
      list<ServerOptions>(servers, 'servers').forEach((server, i) => {
        const at = `servers[${i}]`;
        http.push({ words: ['server'], at, block: this.server(server, at) });
      });
    }
    return [
      { words: ['daemon', 'off'], at: '' },
      { words: ['master_process', 'off'], at: '' },
      { words: ['events'], at: '', block: [] },
      { words: ['http'], at: '', block: http },
    ];
  }

  private server(options: ServerOptions, at: string): Node[] {
    const { listen, locations, ...rest } = object(options, at) as ServerOptions;
    const nodes: Node[] = [];
    for (const address of listen === undefined ? [] : [listen].flat()) {
      const words = ['listen', ...String(address).split(/\s+/).map(bytes)];
      nodes.push({ words, at: join(at, 'listen') });
    }
    nodes.push(...this.options(rest, at, { ...SERVER_PHASES, ...PHASES }));
    nodes.push(...this.locations(locations, at));
    return nodes;
  }

  private locations(locations: readonly LocationOptions[] | undefined, outer: string): Node[] {
    if (locations === undefined) return [];
    return list<LocationOptions>(locations, join(outer, 'locations')).map((value, i) => {
      const at = join(outer, `locations[${i}]`);
      const { path, locations: inner, ...rest } = object(value, at) as unknown as LocationOptions;
      if (typeof path !== 'string') throw option(`"${at}.path" must be a string`);
      const block = [...this.options(rest, at, LOCATION_PHASES), ...this.locations(inner, at)];
      const modifier = /^(=|~\*?|\^~)\s+(.*)$/s.exec(path);
      const name = modifier === null ? [path] : [modifier[1] as string, modifier[2] as string];
      return { words: ['location', ...name.map(bytes)], at, block };
    });
  }

  /** Phases, and directives by their names in camel case. */
  private options(
    options: Record<string, unknown>,
    outer: string,
    phases: Record<string, string>,
  ): Node[] {
    const nodes: Node[] = [];
    for (const [key, value] of Object.entries(options)) {
      if (value === undefined) continue;
      const at = join(outer, key);
      const phase = phases[key];
      if (phase !== undefined && isHandler(value)) {
        nodes.push(this.handler(phase, value as PhaseHandler, at));
        continue;
      }
      const name = snakeCase(key);
      if (key.endsWith('ByLua') && TABLE.has(`${name}_file`)) {
        if (typeof value === 'function') throw option(`"${at}" must be Lua code`);
        nodes.push(this.handler(name.replace(/_by_lua$/, ''), value as LuaCode, at));
      } else if (TABLE.has(name)) {
        nodes.push(...directives(name, value, at));
      } else {
        throw option(`unknown option "${at}"`);
      }
    }
    return nodes;
  }

  private handler(phase: string, value: PhaseHandler, at: string): Node {
    if (typeof value === 'function') {
      return { words: [`${phase}_by_js`, functionWord(this.functions.push(value) - 1)], at };
    }
    if (typeof value === 'string') return { words: [`${phase}_by_lua`, bytes(value)], at };
    const { file, lua } = object(value, at) as { file?: unknown; lua?: unknown };
    if (typeof file === 'string') return { words: [`${phase}_by_lua_file`, bytes(file)], at };
    if (typeof lua === 'string') return { words: [`${phase}_by_lua`, bytes(lua)], at };
    throw option(`"${at}" must be Lua code, { file }, { lua } or a function`);
  }
}

function isHandler(value: unknown): boolean {
  return (
    typeof value === 'function' ||
    typeof value === 'string' ||
    (typeof value === 'object' && !Array.isArray(value))
  );
}

/** `[a, b]` is one directive with two arguments, `[[a], [b]]` are two; `true` of one without arguments is just its name. */
function directives(name: string, value: unknown, at: string): Node[] {
  const row = TABLE.get(name)?.[0];
  if (row?.block !== undefined) throw option(`"${at}" cannot be given as an option yet`);
  if (row?.args === '0') {
    if (typeof value !== 'boolean') throw option(`"${at}" must be true or false`);
    return value ? [{ words: [name], at }] : [];
  }
  const many = Array.isArray(value) && value.length > 0 && value.every((v) => Array.isArray(v));
  const all = (many ? value : [value]) as unknown[];
  return all.map((one) => ({ words: [name, ...[one].flat().map((v) => word(v, at))], at }));
}

/** Whether an option of the gateway belongs to `http {}`: with several servers all that may stand there do. */
function isHttpDirective(key: string, several: boolean): boolean {
  const rows = TABLE.get(snakeCase(key)) ?? TABLE.get(`${snakeCase(key)}_file`) ?? [];
  if (several) return rows.some((row) => (row.in & HTTP) !== 0);
  return rows.length > 0 && rows.every((row) => row.level === 'main');
}

function word(value: unknown, at: string): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  if (typeof value === 'string') return bytes(value);
  throw option(`"${at}" must be a string, a number, a boolean or a list of them`);
}

/** Text as its UTF-8 bytes, one character each. */
function bytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

function snakeCase(key: string): string {
  return key.replace(/[A-Z]/g, (ch) => `_${ch.toLowerCase()}`);
}

function join(outer: string, key: string): string {
  return outer === '' ? key : `${outer}.${key}`;
}

function object(value: unknown, at: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw option(at === '' ? 'the options must be an object' : `"${at}" must be an object`);
  }
  return value as Record<string, unknown>;
}

function list<T>(value: unknown, at: string): T[] {
  if (!Array.isArray(value)) throw option(`"${at}" must be an array`);
  return value as T[];
}

function option(sentence: string): MoonphaseError {
  return new MoonphaseError('ERR_MOONPHASE_OPTION', `createGateway: ${sentence}`);
}

/** Statements that are there already. */
function treeSource(nodes: Node[]): Source {
  const open: Node[][] = [[...nodes]];
  let at = '';
  return {
    next(): Statement {
      const node = open.at(-1)?.shift();
      if (node === undefined) {
        open.pop();
        return { words: [], end: open.length === 0 ? 'eof' : '}' };
      }
      ({ at } = node);
      if (node.block === undefined) return { words: [...node.words], end: ';' };
      open.push([...node.block]);
      return { words: [...node.words], end: '{' };
    },
    luaBlock: () => '',
    place: () => ({ origin: at === '' ? 'the options of createGateway' : at }),
    chunkPlace: () => at.replace(/\.\w+$/, '') || 'gateway',
  };
}
