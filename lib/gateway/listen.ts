import { isFailure, native } from '../binding.js';
import type { ListenPlan, Plan } from '../conf/plan.js';
import { checkOptions } from '../conf/checks.js';
import { MoonphaseError } from '../errors.js';
import type { Sockets } from './sockets.js';

export interface ListenOptions {
  /** Default: any free one. */
  readonly port?: number;
  /** An address; default: all of IPv4. */
  readonly host?: string;
  /** A unix socket instead. */
  readonly path?: string;
}

/** What is listened on. */
export interface Listening {
  /** As nginx writes it: `127.0.0.1:8080`, `unix:/path`. */
  readonly address: string;
  readonly host: string;
  readonly port: number;
}

/** An address for all servers of the plan. A free port is taken at once: `sockets` has it then. */
export function doorOf(
  where: number | string | ListenOptions,
  plan: Plan,
  sockets: Sockets,
): { plan: ListenPlan; listening: Listening } {
  const { host = '0.0.0.0', port = 0, path } = parse(where);
  const servers = plan.http?.servers.map((_, i) => i) ?? [];
  if (servers.length === 0) {
    throw new MoonphaseError('ERR_MOONPHASE_LISTEN', 'the configuration has no server');
  }
  const family = path !== undefined ? 'unix' : host.includes(':') ? 'inet6' : 'inet';
  const make = (port: number): ListenPlan => ({
    name:
      path !== undefined
        ? `unix:${path}`
        : family === 'inet6'
          ? `[${host}]:${port}`
          : `${host}:${port}`,
    family,
    host: path ?? host,
    port: path === undefined ? port : 0,
    wildcard: host === '0.0.0.0' || host === '::',
    bind: true,
    backlog: 511,
    reuseport: false,
    ipv6only: true,
    deferred: false,
    rcvbuf: -1,
    sndbuf: -1,
    ssl: false,
    http2: false,
    proxy_protocol: false,
    servers,
    defaultServer: 0,
  });
  let listen = make(port);
  if (path === undefined && port === 0) {
    const fd = native().openSocket(listen);
    if (isFailure(fd)) {
      throw new MoonphaseError(
        'ERR_MOONPHASE_LISTEN',
        `${fd.call} ${listen.name} failed (${fd.errno}: ${fd.text})`,
      );
    }
    sockets.adopt([fd]);
    listen = make(Number(/\d+$/.exec(native().socketName(fd) ?? '')?.[0] ?? 0));
  }
  return {
    plan: listen,
    listening: { address: listen.name, host: listen.host, port: listen.port },
  };
}

/** The plan with further addresses; `own`: with those of the configuration, too. */
export function withListens(plan: Plan, extra: readonly ListenPlan[], own: boolean): Plan {
  if (plan.http === undefined || (own && extra.length === 0)) return plan;
  const listens = [...(own ? plan.http.listens : []), ...extra];
  return { ...plan, http: { ...plan.http, listens } };
}

function parse(where: number | string | ListenOptions): ListenOptions {
  if (typeof where === 'number') return checked({ port: where });
  if (typeof where !== 'string') return checked(where);
  if (where.startsWith('unix:')) return { path: where.slice('unix:'.length) };
  const match = /^(?:(?:\[(.+)\]|([^:]*)):)?(\d+)$/.exec(where);
  if (match === null) throw wrong(`"${where}" is no port, host:port or unix:/path`);
  const host = match[1] ?? match[2];
  return checked({ port: Number(match[3]), ...(host ? { host } : {}) });
}

function checked(options: ListenOptions): ListenOptions {
  checkOptions('listen', options, { port: 'port', host: 'string', path: 'string' });
  return options;
}

function wrong(message: string): MoonphaseError {
  return new MoonphaseError('ERR_MOONPHASE_OPTION', `listen: ${message}`);
}
