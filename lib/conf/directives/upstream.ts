import {
  HSL,
  HTTP,
  LOCATION,
  UPSTREAM,
  later,
  loc,
  main,
  upstream,
  type Module,
  type Setter,
  type Values,
} from '../directive.js';
import { parseUrl } from '../inet.js';
import { DUPLICATE, msec, num } from '../kinds.js';
import { parseNumber, parseSeconds, parseSize } from '../numbers.js';
import type { Conf } from '../conf.js';
import type { Handler, UpstreamPlan, UpstreamServer } from '../plan.js';
import { parseResolver } from './http_core_values.js';

const block: Setter = (cf, [name = '']) => {
  if (cf.upstreams.some((u) => u.name.toLowerCase() === name.toLowerCase())) {
    throw cf.error(`duplicate upstream "${name}"`);
  }
  const scope = cf.inside('upstream');
  const values: Values = scope.upstream;
  if (values['servers'] === undefined && values['balancer_by_lua'] === undefined) {
    throw cf.error('no servers are inside upstream');
  }
  const balancer = values['balancer_by_lua'] as Handler | undefined;
  if (balancer?.js !== undefined) throw cf.unsupported('a balancer in JavaScript');
  const servers = values['servers'] as UpstreamServer[] | undefined;
  const zoneName = (values['zone'] ?? cf.dynamicZone) as string | undefined;
  if (zoneName === undefined && servers?.some((s) => s.resolve) === true) {
    throw cf.error(
      `resolving names at run time requires upstream "${name}" in ${scope.where.file}:${scope.where.line} to be in shared memory`,
    );
  }
  const plan = {
    name,
    where: scope.where,
    method: 'round_robin',
    keepalive: 32,
    keepalive_local: values['keepalive'] === undefined,
    keepalive_time: 3_600_000,
    keepalive_timeout: 60_000,
    keepalive_requests: 1000,
    ...values,
    servers: servers ?? [{ ...SERVER, address: '0.0.0.1:80', name: '0.0.0.1' }],
    placeholder: servers === undefined,
    ...(zoneName === undefined ? {} : { zone: zoneName }),
    ...(balancer === undefined ? {} : { balancer_by_lua: balancer }),
  };
  cf.upstreams.push(plan as unknown as UpstreamPlan);
};

const SERVER: Omit<UpstreamServer, 'address' | 'name'> = {
  weight: 1,
  max_fails: 1,
  fail_timeout: 10_000,
  max_conns: 0,
  backup: false,
  down: false,
  resolve: false,
};

/** Parameters of a server that a balancing method does not take. */
const NOT_TAKEN: Readonly<Record<string, readonly string[]>> = {
  hash: ['backup'],
  ip_hash: ['backup'],
  random: ['backup'],
};

const server: Setter = (cf, [url = '', ...parameters], row) => {
  const values: Record<string, unknown> = { ...SERVER };
  const method = cf.scope.upstream['method'] as string | undefined;
  const balancer = 'balancer_by_lua' in cf.scope.upstream;
  for (const text of parameters) {
    const [key = '', value = ''] = text.split(/=(.*)/s);
    const given = text !== key;
    const refused = balancer ? ['max_conns', 'backup'] : NOT_TAKEN[method ?? ''];
    if (refused?.includes(key) === true) {
      throw cf.error(`balancing method does not support parameter "${text}"`);
    }
    const invalid = (): Error => cf.error(`invalid parameter "${text}"`);
    if (given && (key === 'weight' || key === 'max_fails' || key === 'max_conns')) {
      const n = parseNumber(value);
      if (n === undefined || (key === 'weight' && n === 0)) throw invalid();
      values[key] = n;
    } else if (given && key === 'fail_timeout') {
      values[key] = parseSeconds(value);
      if (values[key] === undefined) throw invalid();
    } else if (!given && (key === 'backup' || key === 'down' || key === 'resolve')) {
      cf.part(key);
      values[key] = true;
    } else if (
      key === 'drain' ||
      (given && (key === 'route' || key === 'service' || key === 'slow_start'))
    ) {
      throw cf.unsupported(`the "${key}" parameter of the "server" directive`);
    } else {
      throw invalid();
    }
  }
  const parsed = parseUrl(url, { defaultPort: 80, noResolve: true });
  if (typeof parsed === 'string') throw cf.error(`${parsed} in upstream "${url}"`);
  const address =
    parsed.family === 'unix' ? `unix:${parsed.host}` : `${parsed.host}:${parsed.port}`;
  cf.list<UpstreamServer>(row).push({
    ...(values as unknown as UpstreamServer),
    address,
    name: url,
  });
};

/** The balancing methods exclude one another; nginx warns and takes the last. */
function method(name: string, set: Setter = () => undefined): Setter {
  return (cf, args, row) => {
    const { upstream: values } = cf.scope;
    if ('method' in values || 'balancer_by_lua' in values)
      cf.warn('load balancing method redefined');
    values['method'] = name;
    return set(cf, args, row);
  };
}

const hash: Setter = (cf, [key = '', consistent]) => {
  const { upstream: values } = cf.scope;
  if (consistent !== undefined && consistent !== 'consistent') {
    throw cf.error(`invalid parameter "${consistent}"`);
  }
  values['hash_key'] = cf.complex(key);
  values['hash_consistent'] = consistent === 'consistent';
};

const random: Setter = (cf, [two, by]) => {
  if (two === undefined) return;
  if (two !== 'two') throw cf.error(`invalid parameter "${two}"`);
  if (by !== undefined && by !== 'least_conn') throw cf.error(`invalid parameter "${by}"`);
  cf.scope.upstream['random_two'] = true;
};

const keepalive: Setter = (cf, [text = '', local]) => {
  const { upstream: values } = cf.scope;
  if ('keepalive' in values) return DUPLICATE;
  const n = parseNumber(text);
  if (n === undefined) throw cf.error(`invalid value "${text}" in "keepalive" directive`);
  if (local !== undefined && local !== 'local') throw cf.error(`invalid parameter "${local}"`);
  values['keepalive'] = n;
};

/** Nobody's slots fit into less: eight pages. */
const LEAST_ZONE = 8 * 4096;

function declareZone(cf: Conf, name: string, size: string | undefined): void {
  if (name === '') throw cf.error(`invalid zone name "${name}"`);
  const bytes = size === undefined ? 0 : parseSize(size);
  if (bytes === undefined) throw cf.error(`invalid zone size "${size ?? ''}"`);
  if (size !== undefined && bytes < LEAST_ZONE) throw cf.error(`zone "${name}" is too small`);
  const known = cf.upstreamZones.get(name);
  if (known === undefined) {
    cf.upstreamZones.set(name, { name, size: bytes, where: cf.where() });
  } else if (known.size === 0) {
    known.size = bytes;
  } else if (bytes !== 0 && bytes !== known.size) {
    throw cf.error(
      `the size ${bytes} of shared memory zone "${name}" conflicts with already declared size ${known.size}`,
    );
  }
}

const zone: Setter = (cf, [name = '', size]) => {
  if ('zone' in cf.scope.upstream) return DUPLICATE;
  declareZone(cf, name, size);
  cf.scope.upstream['zone'] = name;
};

/** The zone of the upstreams that follow and have none of their own, and of those that are added at run time. */
const upstreamZone: Setter = (cf, [name = '', size]) => {
  if (cf.dynamicZone !== undefined) return DUPLICATE;
  declareZone(cf, name, size);
  cf.dynamicZone = name;
};

/** A literal of Lua. */
const luaString = (text: string): string =>
  `"${text.replace(/[^\w/.-]/g, (c) => `\\${String(c.charCodeAt(0)).padStart(3, '0')}`)}"`;

/** The HTTP interface to upstreams, as a handler in Lua. */
const upstreamApi: Setter = (cf) => {
  if (cf.dynamicZone === undefined)
    throw cf.error('"upstream_api" needs "upstream_zone" in the http block before it');
  if ('content_by_lua' in cf.scope.loc) return DUPLICATE;
  const takesName = cf.scope.kind === 'prefix' || cf.scope.kind === 'exact';
  cf.scope.loc['content_by_lua'] = cf.inlineHandler(
    'upstream_api',
    `require "moonphase.upstream".serve(${luaString(takesName ? cf.scope.name : '')})`,
  );
  cf.content('lua');
};

const resolver: Setter = (cf, args, row) => {
  if ('resolver' in cf.scope.upstream) return DUPLICATE;
  cf.scope.upstream[row.field] = parseResolver(cf, args);
};

export const upstreamModule: Module = {
  name: 'http_upstream',
  rows: [
    main('upstream', HTTP, '1', block, { hidden: true, block: '{}' }),
    upstream('server', UPSTREAM, '1+', server, { field: 'servers' }),
    upstream('ip_hash', UPSTREAM, '0', method('ip_hash')),
    upstream('least_conn', UPSTREAM, '0', method('least_conn')),
    upstream('hash', UPSTREAM, '12', method('hash', hash)),
    upstream('random', UPSTREAM, '012', method('random', random)),
    upstream('keepalive', UPSTREAM, '12', keepalive),
    upstream('keepalive_time', UPSTREAM, '1', msec()),
    upstream('keepalive_timeout', UPSTREAM, '1', msec()),
    upstream('keepalive_requests', UPSTREAM, '1', num()),
    upstream('balancer_keepalive', UPSTREAM, '1', num()),
    upstream('zone', UPSTREAM, '12', zone),
    main('upstream_zone', HTTP, '2', upstreamZone, { hidden: true }),
    loc('upstream_api', LOCATION, '0', upstreamApi, { hidden: true }),
    upstream('resolver', UPSTREAM, '1+', resolver),
    upstream('resolver_timeout', UPSTREAM, '1', msec()),
    ...later(UPSTREAM, 'sticky least_time queue state'),
    // ngx_devel_kit, for set_hashed_upstream
    main(
      'upstream_list',
      HSL,
      '2+',
      (cf, [name = '', ...list]) => {
        cf.upstreamLists.set(name, list);
      },
      { hidden: true },
    ),
  ],
};
