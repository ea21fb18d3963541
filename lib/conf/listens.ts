import { addressText, isWildcard, parseUrl, type Address } from './inet.js';
import { parseNumber, parseSeconds, parseSize } from './numbers.js';
import type { Conf } from './conf.js';
import type { ListenPlan } from './plan.js';

interface Options {
  /** Options of the socket were given: only one `listen` of an address may do that. */
  set: boolean;
  bind: boolean;
  defaultServer: boolean;
  backlog: number;
  rcvbuf: number;
  sndbuf: number;
  reuseport: boolean;
  ipv6only: boolean;
  deferred: boolean;
  so_keepalive?: boolean;
  keepidle?: number;
  keepintvl?: number;
  keepcnt?: number;
  fastopen?: number;
  ssl: boolean;
  http2: boolean;
  proxy_protocol: boolean;
}

interface Listen {
  readonly address: Address;
  options: Options;
  readonly servers: number[];
  defaultServer: number;
}

/** The addresses that a configuration listens on. */
export class Listens {
  private readonly all: Listen[] = [];

  add(cf: Conf, address: Address, options: Options, server: number): void {
    const name = addressText(address);
    const old = this.all.find((l) => addressText(l.address) === name);
    if (old === undefined) {
      this.all.push({ address, options, servers: [server], defaultServer: server });
      return;
    }
    if (old.servers.includes(server)) throw cf.error(`a duplicate listen ${name}`);
    old.servers.push(server);
    const { defaultServer } = old.options;
    const merged = {
      ssl: options.ssl || old.options.ssl,
      http2: options.http2 || old.options.http2,
      proxy_protocol: options.proxy_protocol || old.options.proxy_protocol,
    };
    if (options.set) {
      if (old.options.set) throw cf.error(`duplicate listen options for ${name}`);
      old.options = { ...options, defaultServer };
    }
    if (options.defaultServer) {
      if (defaultServer) throw cf.error(`a duplicate default server for ${name}`);
      old.options.defaultServer = true;
      old.defaultServer = server;
    }
    Object.assign(old.options, merged);
  }

  /** Whether a server has an address with TLS. */
  isSsl(server: number): boolean {
    return this.all.some((l) => l.options.ssl && l.servers.includes(server));
  }

  plan(): ListenPlan[] {
    return this.all.map(({ address, options, servers, defaultServer }) => {
      const { set: _, bind, defaultServer: __, ...rest } = options;
      const wildcard = isWildcard(address);
      const covered = this.all.some(
        (l) =>
          l.address.family === address.family &&
          l.address.family !== 'unix' &&
          l.address.port === address.port &&
          isWildcard(l.address),
      );
      return {
        ...rest,
        name: addressText(address),
        family: address.family,
        host: address.host,
        port: address.port,
        wildcard,
        bind: bind || wildcard || !covered,
        servers,
        defaultServer,
      };
    });
  }
}

/** The `listen` directive of a server. */
export function listen(cf: Conf, args: string[], server: number): void {
  const [url = '', ...parameters] = args;
  const parsed = parseUrl(url, { listen: true, defaultPort: 80 });
  if (typeof parsed === 'string') throw cf.error(`${parsed} in "${url}" of the "listen" directive`);
  const options = parseOptions(cf, parameters);
  const seen = new Set<string>();
  for (const address of parsed.addresses) {
    const name = addressText(address);
    if (!seen.has(name)) cf.listens.add(cf, address, { ...options }, server);
    seen.add(name);
  }
}

/** What a server without `listen` has. */
export function listenByDefault(cf: Conf, server: number): void {
  const port = process.getuid?.() === 0 ? 80 : 8000;
  cf.listens.add(cf, { family: 'inet', host: '0.0.0.0', port }, { ...DEFAULTS }, server);
}

const DEFAULTS: Readonly<Options> = {
  set: false,
  bind: false,
  defaultServer: false,
  backlog: 511,
  rcvbuf: -1,
  sndbuf: -1,
  reuseport: false,
  ipv6only: true,
  deferred: false,
  ssl: false,
  http2: false,
  proxy_protocol: false,
};

function parseOptions(cf: Conf, parameters: string[]): Options {
  const options: Options = { ...DEFAULTS };
  for (const parameter of parameters) {
    const [key = '', value] = parameter.split(/=(.*)/s);
    if (
      !parseFlag(cf, options, parameter) &&
      !(value !== undefined && parseValue(cf, options, key, value, parameter))
    ) {
      throw cf.error(`invalid parameter "${parameter}"`);
    }
  }
  return options;
}

function parseFlag(cf: Conf, options: Options, parameter: string): boolean {
  cf.part(parameter);
  switch (parameter) {
    case 'default_server':
    case 'default':
      options.defaultServer = true;
      return true;
    case 'ssl':
      options.ssl = true;
      return true;
    case 'http2':
      cf.warn('the "listen ... http2" directive is deprecated, use the "http2" directive instead');
      options.http2 = true;
      return true;
    case 'proxy_protocol':
      options.proxy_protocol = true;
      return true;
    case 'quic':
    case 'multipath':
      throw cf.unsupported(`the "${parameter}" parameter of the "listen" directive`);
    case 'bind':
      break;
    case 'deferred':
      options.deferred = true;
      break;
    case 'reuseport':
      options.reuseport = true;
      break;
    default:
      return false;
  }
  options.set = options.bind = true;
  return true;
}

function parseValue(
  cf: Conf,
  options: Options,
  key: string,
  value: string,
  parameter: string,
): boolean {
  const need = <T>(parsed: T | undefined): T => {
    if (parsed === undefined) throw cf.error(`invalid ${key} "${parameter}"`);
    return parsed;
  };
  switch (key) {
    case 'backlog':
      options.backlog = need(parseNumber(value) || undefined);
      break;
    case 'rcvbuf':
    case 'sndbuf':
      options[key] = need(parseSize(value));
      break;
    case 'fastopen':
      options.fastopen = need(parseNumber(value));
      break;
    case 'setfib':
    case 'accept_filter':
      cf.warn(`the "${key}" parameter is not supported on this platform, ignored`);
      return true;
    case 'ipv6only':
      if (value !== 'on' && value !== 'off') {
        if (!value.startsWith('o')) return false;
        throw cf.error(`invalid ipv6only flags "${value}"`);
      }
      options.ipv6only = value === 'on';
      break;
    case 'so_keepalive':
      if (!parseKeepalive(options, value)) throw cf.error(`invalid so_keepalive value: "${value}"`);
      break;
    default:
      return false;
  }
  options.set = options.bind = true;
  return true;
}

/** `on`, `off`, or `[IDLE]:[INTERVAL]:[COUNT]`. */
function parseKeepalive(options: Options, value: string): boolean {
  options.so_keepalive = value !== 'off';
  if (value === 'on' || value === 'off') return true;
  const [idle = '', interval = '', count = ''] = value.split(/:(.*?)(?::(.*))?$/s);
  const times: [string, 'keepidle' | 'keepintvl'][] = [
    [idle, 'keepidle'],
    [interval, 'keepintvl'],
  ];
  for (const [text, field] of times) {
    if (text === '') continue;
    const ms = parseSeconds(text);
    if (ms === undefined) return false;
    options[field] = ms;
  }
  if (count !== '') {
    const n = parseNumber(count);
    if (n === undefined) return false;
    options.keepcnt = n;
  }
  return [idle, interval, count].some((text) => text !== '' && text !== '0');
}
