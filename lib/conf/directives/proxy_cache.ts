import type { Conf } from '../conf.js';
import { HSL, HTTP, loc, main, type Directive, type Setter } from '../directive.js';
import { complex, DUPLICATE, flag, mask, msec, num, offset, predicates } from '../kinds.js';
import { parseNumber, parseOffset, parseSeconds, parseSize, parseTime } from '../numbers.js';
import type { CachePath, CacheValid } from '../plan_modules.js';

/** `proxy_cache` and what belongs to it. */

const PAGE = 4096;
const MOST_LEVELS = 3;

const NUMBERS = ['loader_files', 'manager_files'] as const;
const TIMES = ['loader_sleep', 'loader_threshold', 'manager_sleep', 'manager_threshold'] as const;

function parseLevels(cf: Conf, text: string): number[] {
  const levels = text.slice('levels='.length).split(':');
  if (levels.length > MOST_LEVELS || levels.some((n) => n !== '1' && n !== '2')) {
    throw cf.error(`invalid "levels" "${text}"`);
  }
  return levels.map(Number);
}

/** `keys_zone=NAME:SIZE` */
function parseKeys(cf: Conf, text: string): { name: string; size: number } {
  const [name = '', sizeText] = text.slice('keys_zone='.length).split(/:(.*)/s);
  const size = sizeText === undefined ? undefined : parseSize(sizeText);
  if (size === undefined) throw cf.error(`invalid keys zone size "${text}"`);
  if (size < 2 * PAGE) throw cf.error(`keys zone "${text}" is too small`);
  return { name, size };
}

const cachePath: Setter = (cf, [pathText = '', ...parameters], row) => {
  let keys: { name: string; size: number } | undefined;
  const cache: Record<string, unknown> = {
    path: cf.fullName(pathText.replace(/(.)\/$/, '$1')),
    levels: [],
    use_temp_path: true,
    inactive: 600_000,
    max_size: 0,
    min_free: 0,
    loader_files: 100,
    loader_sleep: 50,
    loader_threshold: 200,
    manager_files: 100,
    manager_sleep: 50,
    manager_threshold: 200,
  };
  for (const text of parameters) {
    const equals = text.indexOf('=');
    const name = text.slice(0, Math.max(equals, 0));
    const value = text.slice(equals + 1);
    const set = (parsed: number | undefined): void => {
      if (parsed === undefined) throw cf.error(`invalid ${name} value "${text}"`);
      cache[name] = parsed;
    };
    if (name === 'levels') cache['levels'] = parseLevels(cf, text);
    else if (name === 'use_temp_path') {
      if (value !== 'on' && value !== 'off') {
        throw cf.error(`invalid use_temp_path value "${text}", it must be "on" or "off"`);
      }
      cache['use_temp_path'] = value === 'on';
    } else if (name === 'keys_zone') keys = parseKeys(cf, text);
    else if (name === 'inactive') set(parseSeconds(value));
    else if (name === 'max_size' || name === 'min_free') set(parseOffset(value));
    else if (NUMBERS.some((n) => n === name)) set(parseNumber(value));
    else if (TIMES.some((n) => n === name)) set(parseTime(value));
    else throw cf.error(`invalid parameter "${text}"`);
  }
  if (keys === undefined || keys.name === '') {
    throw cf.error(`"${row.name}" must have "keys_zone" parameter`);
  }
  const { name, size } = keys;
  if (cf.caches.some((other) => other.name === name)) throw cf.error(`duplicate zone "${name}"`);
  cf.sharedMemory(name, 'proxy_cache', size);
  cf.caches.push({ ...cache, name, size, where: cf.where() } as unknown as CachePath);
};

/** A zone's name, which may have variables; `off` is ''. */
const cacheZone: Setter = (cf, [text = ''], row) => {
  const values = cf.values(row.level);
  if (row.field in values) return DUPLICATE;
  if (text === 'off') {
    values[row.field] = '';
    return;
  }
  const zone = cf.complex(text);
  if (typeof zone === 'string') cf.sharedMemory(zone, 'proxy_cache');
  values[row.field] = zone;
};

const valid: Setter = (cf, args, row) => {
  const text = args.at(-1) ?? '';
  const time = parseSeconds(text);
  if (time === undefined) throw cf.error(`invalid time value "${text}"`);
  const statuses = args.length === 1 ? ['200', '301', '302'] : args.slice(0, -1);
  for (const word of statuses) {
    const status = word === 'any' ? 0 : parseNumber(word);
    if (status === undefined || (word !== 'any' && (status < 100 || status > 599))) {
      throw cf.error(`invalid status "${word}"`);
    }
    cf.list<CacheValid>(row).push({ status, time });
  }
};

const STALE = [
  'error',
  'timeout',
  'invalid_header',
  'updating',
  'http_500',
  'http_502',
  'http_503',
  'http_504',
  'http_403',
  'http_404',
  'http_429',
  'off',
];

export const cacheRows: readonly Directive[] = [
  main('proxy_cache_path', HTTP, '2+', cachePath, { hidden: true }),
  loc('proxy_cache', HSL, '1', cacheZone),
  loc('proxy_cache_key', HSL, '1', complex()),
  loc('proxy_cache_bypass', HSL, '1+', predicates(), { init: [] }),
  loc('proxy_no_cache', HSL, '1+', predicates(), { init: [] }),
  loc('proxy_cache_valid', HSL, '1+', valid, { init: [] }),
  loc('proxy_cache_min_uses', HSL, '1', num(), { init: 1 }),
  loc('proxy_cache_max_range_offset', HSL, '1', offset()),
  loc('proxy_cache_use_stale', HSL, '1+', mask(...STALE), { init: ['off'] }),
  loc('proxy_cache_methods', HSL, '1+', mask('GET', 'HEAD', 'POST'), { init: [] }),
  loc('proxy_cache_lock', HSL, 'flag', flag(), { init: false }),
  loc('proxy_cache_lock_timeout', HSL, '1', msec(), { init: 5000 }),
  loc('proxy_cache_lock_age', HSL, '1', msec(), { init: 5000 }),
  loc('proxy_cache_revalidate', HSL, 'flag', flag(), { init: false }),
  loc('proxy_cache_convert_head', HSL, 'flag', flag(), { init: true }),
  loc('proxy_cache_background_update', HSL, 'flag', flag(), { init: false }),
];

/** All zones are known now. */
export function settleCache(cf: Conf, conf: Record<string, unknown>): void {
  conf['proxy_temp_path'] ??= cf.fullName('proxy_temp');
  const zone = conf['proxy_cache'];
  if (typeof zone !== 'string' || zone === '') return;
  if (cf.caches.some((cache) => cache.name === zone)) return;
  throw cf.error(`"proxy_cache" zone "${zone}" is unknown`);
}
