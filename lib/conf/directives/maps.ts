import type { Conf } from '../conf.js';
import { HTTP, ignored, main, type Module, type Setter } from '../directive.js';
import { parseCidr, shortIPv6 } from '../inet.js';
import type { Complex, MapPlan, Regex } from '../plan.js';
import { isIPv4, isIPv6 } from 'node:net';

const HASH = 'hash tables size themselves';

// ---- map

type MutableMap = {
  -readonly [K in 'exact' | 'masks' | 'regex']: [MapPlan[K][number][0], Complex][];
} & { hostnames: boolean; volatile: boolean; keys: Set<string> };

const map: Setter = (cf, [sourceText = '', target = '']) => {
  const source = cf.complex(sourceText);
  const name = cf.variableName(target);
  const plan: MutableMap = {
    hostnames: false,
    volatile: false,
    exact: [],
    masks: [],
    regex: [],
    keys: new Set(),
  };
  let fallback: Complex | undefined;
  cf.define(name, { kind: 'map', weak: true });
  cf.entries((words) => {
    const [key = '', text] = words;
    if (words.length === 1 && (key === 'hostnames' || key === 'volatile')) {
      plan[key] = true;
      return;
    }
    if (words.length !== 2 || text === undefined)
      throw cf.error('invalid number of the map parameters');
    if (key === 'include') {
      cf.include(text);
      return;
    }
    const value = cf.complex(text);
    if (key === 'default') {
      if (fallback !== undefined) throw cf.error('duplicate default map parameter');
      fallback = value;
      return;
    }
    mapEntry(cf, plan, key, value);
  });
  const { keys: _, ...rest } = plan;
  cf.define(name, { kind: 'map', map: { source, ...rest, default: fallback ?? '' } as MapPlan });
};

function mapEntry(cf: Conf, plan: MutableMap, key: string, value: Complex): void {
  if (key.startsWith('~')) {
    const caseless = key.startsWith('~*');
    const regex: Regex = cf.regex(key.slice(caseless ? 2 : 1), caseless);
    plan.regex.push([regex, value]);
    return;
  }
  const text = (key.startsWith('\\') ? key.slice(1) : key).toLowerCase();
  const add = (list: 'exact' | 'masks', name: string): void => {
    if (plan.keys.has(name)) throw cf.error(`conflicting parameter "${key}"`);
    plan.keys.add(name);
    plan[list].push([name, value]);
  };
  if (!plan.hostnames || (!text.startsWith('.') && !text.includes('*'))) {
    add('exact', text);
    return;
  }
  if (!/^(?:\*?\.[^*]+|[^*]+\.\*)$/.test(text) || text.includes('..')) {
    throw cf.error(`invalid hostname or wildcard "${key}"`);
  }
  // `.example.com` is `example.com` and `*.example.com`
  if (text.startsWith('.')) add('exact', text.slice(1));
  add('masks', text.startsWith('.') ? `*${text}` : text);
}

// ---- geo

const geo: Setter = (cf, args) => {
  const sourceText = args.length === 2 ? (args[0] as string) : '$remote_addr';
  const source = cf.complex(`$${cf.variableName(sourceText)}`);
  const name = cf.variableName(args.at(-1) as string);
  cf.define(name, { kind: 'geo', weak: true });
  const ranges: { cidr: string; value: string }[] = [];
  const proxies: string[] = [];
  let proxy_recursive = false;
  let fallback: string | undefined;
  let byRange = false;
  let volatile = false;
  cf.entries((words) => {
    const [key = '', value] = words;
    if (words.length === 1) {
      if (key === 'ranges') {
        if (ranges.length > 0 || fallback !== undefined) {
          throw cf.error('the "ranges" directive must be the first directive inside "geo" block');
        }
        byRange = true;
        return;
      }
      if (key === 'proxy_recursive' || key === 'volatile') {
        if (key === 'volatile') volatile = true;
        else proxy_recursive = true;
        return;
      }
    }
    if (words.length !== 2 || value === undefined)
      throw cf.error('invalid number of the geo parameters');
    if (key === 'include') {
      cf.include(value);
    } else if (key === 'proxy') {
      cf.part('proxy');
      proxies.push(network(cf, value));
    } else if (key === 'default') {
      fallback = value;
    } else if (key === 'delete') {
      const at = ranges.findIndex((r) => r.cidr === network(cf, value));
      if (at < 0) cf.warn(`no network "${value}" to delete`);
      else ranges.splice(at, 1);
    } else {
      for (const cidr of byRange ? range(cf, key) : [network(cf, key)]) {
        const old = ranges.findIndex((r) => r.cidr === cidr);
        if (old >= 0) {
          cf.warn(
            `duplicate network "${key}", value: "${value}", old value: "${ranges[old]?.value ?? ''}"`,
          );
          ranges.splice(old, 1);
        }
        ranges.push({ cidr, value });
      }
    }
  });
  const plan = { source, ranges, proxies, proxy_recursive, volatile, default: fallback ?? '' };
  cf.define(name, { kind: 'geo', geo: plan });
};

function network(cf: Conf, text: string): string {
  if (text === '255.255.255.255') return '255.255.255.255/32';
  const cidr = parseCidr(text);
  if (cidr === undefined) throw cf.error(`invalid network "${text}"`);
  if (cidr.meaningless) cf.warn(`low address bits of ${text} are meaningless`);
  return cidr.text;
}

/** `FIRST-LAST` as the networks that it consists of. */
function range(cf: Conf, text: string): string[] {
  const [first = '', last = ''] = text.split('-');
  if (isIPv6(first) && first === last) return [`${shortIPv6(first)}/128`];
  if (!isIPv4(first) || !isIPv4(last)) throw cf.error(`invalid range "${text}"`);
  const number = (address: string): number =>
    address.split('.').reduce((n, part) => n * 256 + Number(part), 0);
  let from = number(first);
  const to = number(last);
  if (from > to) throw cf.error(`invalid range "${text}"`);
  const networks: string[] = [];
  while (from <= to) {
    let size = 1;
    while (from % (size * 2) === 0 && from + size * 2 - 1 <= to && size < 2 ** 32) size *= 2;
    const address = [24, 16, 8, 0].map((shift) => Math.floor(from / 2 ** shift) % 256).join('.');
    networks.push(`${address}/${32 - Math.log2(size)}`);
    from += size;
  }
  return networks;
}

// ---- split_clients

const splitClients: Setter = (cf, [sourceText = '', target = '']) => {
  const source = cf.complex(sourceText);
  const name = cf.variableName(target);
  cf.define(name, { kind: 'split_clients', weak: true });
  const parts: { percent: number; value: string }[] = [];
  cf.entries(([text = '', value = '']) => {
    if (text === '*') {
      parts.push({ percent: 0, value });
      return;
    }
    const m = /^(\d+)(?:\.(\d{1,2}))?%$/.exec(text);
    const percent = m === null ? 0 : Number(m[1]) * 100 + Number((m[2] ?? '').padEnd(2, '0'));
    if (percent === 0) throw cf.error(`invalid percent value "${text}"`);
    parts.push({ percent, value });
  });
  let sum = 0;
  const plan = parts.map(({ percent, value }) => {
    sum = percent === 0 ? 10_000 : sum + percent;
    if (sum > 10_000) throw cf.error('percent total is greater than 100%');
    return { upto: sum, value };
  });
  cf.define(name, { kind: 'split_clients', split: { source, parts: plan } });
};

export const mapsModule: Module = {
  name: 'http_maps',
  rows: [
    main('map', HTTP, '2', map, { hidden: true, block: '{}' }),
    ignored('map_hash_max_size', HTTP, '1', HASH),
    ignored('map_hash_bucket_size', HTTP, '1', HASH),
    main('geo', HTTP, '12', geo, { hidden: true, block: '{}' }),
    main('split_clients', HTTP, '2', splitClients, { hidden: true, block: '{}' }),
  ],
};
