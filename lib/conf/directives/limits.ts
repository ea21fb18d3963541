import type { Conf } from '../conf.js';
import { HSL, HTTP, loc, main, type Directive, type Module, type Setter } from '../directive.js';
import { DUPLICATE, flag, num, oneOf } from '../kinds.js';
import { parseNumber, parseSize } from '../numbers.js';
import type { LimitRule, LimitZone } from '../plan_modules.js';

/** `limit_req`, `limit_conn` and their zones. */

const PAGE = 4096;

/** `zone=NAME:SIZE` */
function parseZone(cf: Conf, text: string): { name: string; size: number } {
  const [name = '', sizeText] = text.slice('zone='.length).split(/:(.*)/s);
  const size = sizeText === undefined ? undefined : parseSize(sizeText);
  if (size === undefined) throw cf.error(`invalid zone size "${text}"`);
  if (size < 8 * PAGE) throw cf.error(`zone "${text}" is too small`);
  return { name, size };
}

/** Thousandths of a request per second. */
function parseRate(cf: Conf, text: string): number {
  const [, digits = '', unit] = /^rate=(.*?)(r\/[sm])?$/s.exec(text) ?? [];
  const rate = parseNumber(digits);
  if (rate === undefined || rate === 0) throw cf.error(`invalid rate "${text}"`);
  return Math.floor((rate * 1000) / (unit === 'r/m' ? 60 : 1));
}

function zone(use: LimitZone['use']): Setter {
  return (cf, [keyText = '', ...parameters], row) => {
    const key = cf.complex(keyText);
    let found: { name: string; size: number } | undefined;
    let rate = 1000;
    for (const text of parameters) {
      if (text.startsWith('zone=')) found = parseZone(cf, text);
      else if (text.startsWith('rate=') && use === 'limit_req') rate = parseRate(cf, text);
      else throw cf.error(`invalid parameter "${text}"`);
    }
    if (found === undefined || found.name === '') {
      throw cf.error(`"${row.name}" must have "zone" parameter`);
    }
    const { name, size } = found;
    const before = cf.limitZones.find((z) => z.name === name && z.use === use);
    if (before !== undefined) {
      throw cf.error(`${row.name} "${name}" is already bound to key "${before.key_text}"`);
    }
    cf.sharedMemory(name, use, size);
    cf.limitZones.push({ name, size, use, key, key_text: keyText, rate });
  };
}

type Rules = (LimitRule & { readonly name: string })[];

function addRule(cf: Conf, row: Directive, use: LimitZone['use'], rule: Rules[number]): void {
  const rules = cf.list<Rules[number]>(row);
  if (rules.some((other) => other.name === rule.name))
    throw cf.error(`"${row.name}" directive ${DUPLICATE}`);
  cf.sharedMemory(rule.name, use);
  rules.push(rule);
}

const limitReq: Setter = (cf, args, row) => {
  let name: string | undefined;
  let burst = 0;
  let delay = 0;
  for (const text of args) {
    if (text.startsWith('zone=')) name = text.slice('zone='.length);
    else if (text.startsWith('burst=')) burst = positive(cf, text, 'burst value');
    else if (text.startsWith('delay=')) delay = positive(cf, text, 'delay value');
    else if (text === 'nodelay') delay = Infinity;
    else throw cf.error(`invalid parameter "${text}"`);
  }
  if (name === undefined) throw cf.error(`"${row.name}" must have "zone" parameter`);
  const thousandths = (n: number): number => Math.min(n * 1000, Number.MAX_SAFE_INTEGER);
  const rule = { zone: -1, burst: thousandths(burst), delay: thousandths(delay), connections: 0 };
  addRule(cf, row, 'limit_req', { name, ...rule });
};

function positive(cf: Conf, text: string, what: string): number {
  const n = parseNumber(text.split('=')[1] ?? '');
  if (n === undefined || n === 0) throw cf.error(`invalid ${what} "${text}"`);
  return n;
}

const limitConn: Setter = (cf, [name = '', number = ''], row) => {
  const connections = parseNumber(number);
  if (connections === undefined || connections === 0)
    throw cf.error(`invalid number of connections "${number}"`);
  if (connections > 65535) throw cf.error('connection limit must be less 65536');
  addRule(cf, row, 'limit_conn', { name, zone: -1, burst: 0, delay: 0, connections });
};

const HSL_STATUS = { init: 503 };

/** Names of zones become their places in the plan's list, which is complete now. */
function mergeLimits(cf: Conf, use: LimitZone['use'], conf: Record<string, unknown>): void {
  const field = `${use}_rules`;
  const rules = conf[field] as (LimitRule & { name?: string })[] | undefined;
  if (rules === undefined) return;
  conf[field] = rules.map(({ name, ...rule }) => {
    if (name === undefined) return rule; // inherited, and done already
    const at = cf.limitZones.findIndex((z) => z.name === name && z.use === use);
    if (at < 0) throw cf.error(`zero size shared memory zone "${name}"`);
    return { ...rule, zone: at };
  });
}

const LEVELS = oneOf('info', 'notice', 'warn', 'error');

export const limitReqModule: Module = {
  name: 'http_limit_req',
  group: 'limit_req',
  used: (conf) => conf['limit_req_rules'] !== undefined,
  rows: [
    main('limit_req_zone', HTTP, '34', zone('limit_req'), { hidden: true }),
    loc('limit_req', HSL, '123', limitReq, { field: 'limit_req_rules' }),
    loc('limit_req_log_level', HSL, '1', LEVELS, { init: 'error' }),
    loc('limit_req_status', HSL, '1', num(400, 599), HSL_STATUS),
    loc('limit_req_dry_run', HSL, 'flag', flag(), { init: false }),
  ],
  mergeLocation: (cf, { conf }) => mergeLimits(cf, 'limit_req', conf),
};

export const limitConnModule: Module = {
  name: 'http_limit_conn',
  group: 'limit_conn',
  used: (conf) => conf['limit_conn_rules'] !== undefined,
  rows: [
    main('limit_conn_zone', HTTP, '2', zone('limit_conn'), { hidden: true }),
    loc('limit_conn', HSL, '2', limitConn, { field: 'limit_conn_rules' }),
    loc('limit_conn_log_level', HSL, '1', LEVELS, { init: 'error' }),
    loc('limit_conn_status', HSL, '1', num(400, 599), HSL_STATUS),
    loc('limit_conn_dry_run', HSL, 'flag', flag(), { init: false }),
  ],
  mergeLocation: (cf, { conf }) => mergeLimits(cf, 'limit_conn', conf),
};
