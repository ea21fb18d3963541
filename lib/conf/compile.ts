import { ConfigError } from '../errors.js';
import { Conf, fileSource, type Notice, type Source, type RegexCheck } from './conf.js';
import type { Values } from './directive.js';
import { directoryOf, under } from './files.js';
import {
  checkLocations,
  mergeLocation,
  mergeServer,
  planLocation,
  planServer,
  settle,
} from './merge.js';
import type { ErrorLog, HttpPlan, LocationConf, Plan, ProcessPlan, ServerPlan } from './plan.js';
import { Reader } from './reader.js';
import type { Scope } from './scope.js';
import { checkCertificates, checkConnections, checkServerNames } from './server_checks.js';
import { NATIVE_PENDING, PENDING_PARTS } from './support.js';
import { TABLE } from './table.js';

export interface CompileInput {
  /** Directory for relative paths (`-p`). */
  readonly prefix: string;
  /** The main configuration file; relative ones are under the prefix. */
  readonly confFile: string;
  /** Directives in front of the file (`-g`). */
  readonly globals?: string | undefined;
  /** Where errors go when the configuration has no `error_log` (`-e`); `stderr` or a path under the prefix. */
  readonly errorLog?: string | undefined;
  /** Process settings that take the place of what the configuration says. */
  readonly overrides?: Partial<ProcessPlan> | undefined;
  /** Directives, and parts of them, to refuse as not supported yet; tests of those that the native side lacks set this. */
  readonly pending?: ReadonlySet<string> | undefined;
  /** What is wrong with a regular expression, in PCRE2's words. Without it, patterns are not looked at here. */
  readonly regexError?: RegexCheck | undefined;
}

/** A compiled configuration and what was seen on the way. */
export interface Compiled {
  readonly plan: Plan;
  /** Every file that was read with its text (latin1), the main one first: what `-T` prints. */
  readonly files: ReadonlyMap<string, string>;
  /** Warnings, in nginx's words and with their place. */
  readonly notices: readonly Notice[];
  /** Functions that `Plan.js` names by index. */
  readonly functions: readonly ((...args: never[]) => unknown)[];
}

/** Reads an nginx.conf. Throws a `ConfigError`. */
export function compile(input: CompileInput): Compiled {
  const prefix = input.prefix.endsWith('/') ? input.prefix : `${input.prefix}/`;
  const confFile = under(prefix, input.confFile);
  const cf = newConf(prefix, confFile, true, input);
  if (input.globals !== undefined && input.globals !== '') {
    cf.readFrom(fileSource(new Reader(undefined, input.globals)), 'parameter');
  }
  cf.readFile(confFile);
  if (cf.process['events'] !== true) throw new ConfigError('no "events" section in configuration');
  return { plan: finish(cf, confFile, input), files: cf.files, notices: cf.notices, functions: [] };
}

/** Compiles statements that come from elsewhere than a file. */
export function compileFrom(source: Source, input: CompileInput): Omit<Compiled, 'functions'> {
  const prefix = input.prefix.endsWith('/') ? input.prefix : `${input.prefix}/`;
  const cf = newConf(prefix, input.confFile, false, input);
  cf.readFrom(source, 'file');
  return { plan: finish(cf, input.confFile, input), files: cf.files, notices: cf.notices };
}

const PENDING: ReadonlySet<string> = new Set([...NATIVE_PENDING, ...PENDING_PARTS]);

function newConf(
  prefix: string,
  confFile: string,
  defaultListen: boolean,
  { pending = PENDING, regexError }: CompileInput,
): Conf {
  const confPrefix = confFile.startsWith('/') ? directoryOf(confFile) : prefix;
  return new Conf({
    prefix,
    confPrefix,
    confFile,
    table: TABLE,
    defaultListen,
    pending,
    regexError: regexError ?? (() => undefined),
  });
}

function finish(cf: Conf, confFile: string, input: CompileInput): Plan {
  const own = cf.process;
  const logs = (own['error_log'] ?? []) as ErrorLog[];
  // as nginx: syslog and memory do without a file of their own
  if (!logs.some(({ log }) => ['file', 'stderr'].includes(cf.logs[log]?.kind ?? ''))) {
    const target = input.errorLog ?? 'logs/error.log';
    const log = cf.log(
      target === 'stderr'
        ? { kind: 'stderr', path: '' }
        : { kind: 'file', path: cf.fullName(target) },
    );
    own['error_log'] = [...logs, { log, level: 'error' }];
  }
  own['pid'] ??= cf.fullName('logs/nginx.pid');
  // locations without an error_log have this one, so it is settled before them
  const process = { ...settle('process', own), ...input.overrides } as unknown as ProcessPlan;
  const http = cf.http === undefined ? undefined : planHttp(cf, cf.http);
  return {
    version: 1,
    prefix: cf.prefix,
    confPrefix: cf.confPrefix,
    confFile,
    process,
    logs: cf.logs,
    syslogs: cf.syslogs,
    js: cf.js,
    variables: cf.variables.plan((name, { file, line }) => {
      throw new ConfigError(`unknown "${name}" variable`, { file, line });
    }),
    ...(http === undefined ? {} : { http }),
  };
}

function planHttp(cf: Conf, http: Scope): HttpPlan {
  const confs: LocationConf[] = [];
  const servers: ServerPlan[] = [];
  const walk = (scope: Scope, parent: Values | undefined, srvParent: Values): void => {
    cf.merging = scope;
    const conf = mergeLocation(cf, scope, parent);
    confs[scope.conf] = planLocation(scope, conf);
    let srv = srvParent;
    if (scope.kind === 'server') {
      srv = mergeServer(cf, scope, srvParent);
      servers[scope.server] = planServer(cf, scope.server, srv);
    }
    for (const child of scope.children) walk(child, conf, srv);
  };
  cf.scope = http;
  walk(http, undefined, http.srv);
  checkLocations(http);
  for (const { name, size, where } of cf.upstreamZones.values()) {
    if (size === 0) throw new ConfigError(`zero size shared memory zone "${name}"`, where);
    const dicts = (http.main['shared_dicts'] ?? []) as { name: string }[];
    if (dicts.some((d) => d.name === name)) {
      throw new ConfigError(
        `the shared memory zone "${name}" is already declared for a different use`,
        where,
      );
    }
  }
  const main = settle('main', http.main);
  const { variables_hash_max_size, server_names_hash_max_size, ...lua } = main;
  const listens = cf.listens.plan();
  checkServerNames(cf, servers, listens);
  checkCertificates(servers, listens);
  checkConnections(cf, listens);
  return {
    lua,
    formats: cf.formats,
    limit_zones: cf.limitZones,
    caches: cf.caches,
    session_zones: [...cf.sessionZones.values()],
    upstreams: cf.upstreams,
    upstream_zones: [...cf.upstreamZones.values()],
    ...(cf.dynamicZone === undefined ? {} : { dynamic_zone: cf.dynamicZone }),
    upstream_lists: [...cf.upstreamLists].map(([name, upstreams]) => ({ name, upstreams })),
    servers,
    listens,
    confs,
    mainConf: http.conf,
    variables_hash_max_size,
    server_names_hash_max_size,
  } as unknown as HttpPlan;
}
