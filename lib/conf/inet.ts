import { readFileSync } from 'node:fs';
import { isIPv4, isIPv6 } from 'node:net';
import { parseNumber } from './numbers.js';

export interface Address {
  readonly family: 'inet' | 'inet6' | 'unix';
  /** Numeric, IPv6 in its shortest form without brackets; the path of a unix socket. */
  readonly host: string;
  readonly port: number;
}

export interface ParsedUrl {
  /** As written, without the URI part. */
  readonly host: string;
  readonly hostIsName: boolean;
  readonly addresses: readonly Address[];
  /** Port that is written, or the default. */
  readonly port: number;
  readonly noPort: boolean;
  readonly portText: string;
  readonly family: 'inet' | 'inet6' | 'unix';
  readonly uri: string;
}

export interface UrlOptions {
  readonly listen?: boolean;
  readonly uriPart?: boolean;
  readonly noResolve?: boolean;
  readonly defaultPort: number;
}

/** `[HOST][:PORT][URI]`, `[v6]:PORT`, `unix:PATH`: the parts, or nginx's words for what is wrong with it. */
export function parseUrl(url: string, options: UrlOptions): ParsedUrl | string {
  if (/^unix:/i.test(url)) return parseUnix(url.slice(5), options);
  const v6 = url.startsWith('[');
  let hostEnd = v6 ? url.indexOf(']') + 1 : 0;
  if (v6 && hostEnd === 0) return 'invalid host';
  const uriAt = v6 ? indexOfAny(url, '/', hostEnd) : indexOfAny(url, '/?', 0);
  if (uriAt >= 0 && (options.listen === true || options.uriPart !== true)) return 'invalid host';
  const uri = uriAt < 0 ? '' : url.slice(uriAt);
  const authority = uriAt < 0 ? url : url.slice(0, uriAt);
  const colon = v6 ? (authority.length > hostEnd ? hostEnd : -1) : authority.indexOf(':');
  if (v6 && colon >= 0 && authority[colon] !== ':') return 'invalid host';
  if (!v6) hostEnd = colon < 0 ? authority.length : colon;
  let host = authority.slice(0, hostEnd);
  let portText = colon < 0 ? '' : authority.slice(colon + 1);
  let ports: [number, number] | undefined;
  if (colon >= 0) {
    const range = parsePorts(portText, options.listen === true);
    if (typeof range === 'string') return range;
    ports = range;
  } else if (!v6 && options.listen === true && /^[0-9]+(-[0-9]+)?$/.test(authority)) {
    const range = parsePorts(authority, true);
    if (typeof range === 'string') return range;
    ports = range;
    portText = authority;
    host = '*';
  }
  if (host === '' || host === '[]') return 'no host';
  const [first, last] = ports ?? [options.defaultPort, options.defaultPort];
  const base = { host, port: first, noPort: ports === undefined, portText, uri };
  const spread = (family: 'inet' | 'inet6', address: string): Address[] =>
    Array.from({ length: last - first + 1 }, (_, i) => ({
      family,
      host: address,
      port: first + i,
    }));
  if (v6) {
    const address = host.slice(1, -1);
    if (!isIPv6(address) || address.includes('%')) return 'invalid IPv6 address';
    return {
      ...base,
      hostIsName: false,
      family: 'inet6',
      addresses: spread('inet6', shortIPv6(address)),
    };
  }
  if (options.listen === true && host === '*') {
    return { ...base, hostIsName: false, family: 'inet', addresses: spread('inet', '0.0.0.0') };
  }
  if (isIPv4(host))
    return { ...base, hostIsName: false, family: 'inet', addresses: spread('inet', host) };
  if (options.noResolve === true)
    return { ...base, hostIsName: true, family: 'inet', addresses: [] };
  const resolved = resolveHost(host);
  if (resolved.length === 0) return 'host not found';
  return {
    ...base,
    hostIsName: true,
    family: resolved[0]?.family ?? 'inet',
    addresses: resolved.flatMap(({ family, host: address }) => spread(family, address)),
  };
}

function parseUnix(rest: string, options: UrlOptions): ParsedUrl | string {
  let path = rest;
  let uri = '';
  if (options.uriPart === true && rest.includes(':')) {
    path = rest.slice(0, rest.indexOf(':'));
    uri = rest.slice(path.length + 1);
  }
  if (path === '') return 'no path in the unix domain socket';
  if (path.length >= 108) return 'too long path in the unix domain socket';
  const address: Address = { family: 'unix', host: path, port: 0 };
  return {
    host: path,
    hostIsName: false,
    addresses: [address],
    port: 0,
    noPort: true,
    portText: '',
    family: 'unix',
    uri,
  };
}

function indexOfAny(text: string, chars: string, from: number): number {
  for (let i = from; i < text.length; i++) if (chars.includes(text.charAt(i))) return i;
  return -1;
}

function parsePorts(text: string, ranges: boolean): [number, number] | string {
  const [first = '', last] = ranges && text.includes('-') ? text.split(/-(.*)/s) : [text];
  const port = (digits: string): number | undefined => {
    const n = parseNumber(digits);
    return n !== undefined && n >= 1 && n <= 65535 ? n : undefined;
  };
  const a = port(first);
  const b = last === undefined ? a : port(last);
  if (a === undefined || b === undefined) return 'invalid port';
  return a > b ? 'invalid port range' : [a, b];
}

/** The name as nginx prints it: `127.0.0.1:80`, `[::1]:80`, `unix:/path`. */
export function addressText({ family, host, port }: Address): string {
  if (family === 'unix') return `unix:${host}`;
  return family === 'inet6' ? `[${host}]:${port}` : `${host}:${port}`;
}

export function isWildcard({ family, host }: Address): boolean {
  return family === 'inet6' ? host === '::' : host === '0.0.0.0';
}

/** The eight groups of an IPv6 address. */
export function groupsOf(address: string): number[] {
  const v4 = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const text = v4 === null ? address : `${v4[1] ?? ''}${hex(v4[2], v4[3])}:${hex(v4[4], v4[5])}`;
  const [head = '', tail] = text.split('::');
  const parse = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((g) => parseInt(g, 16));
  const a = parse(head);
  const b = tail === undefined ? [] : parse(tail);
  return [...a, ...Array.from({ length: 8 - a.length - b.length }, () => 0), ...b];
}

function hex(high = '0', low = '0'): string {
  return (Number(high) * 256 + Number(low)).toString(16);
}

/** As nginx prints it: the longest run of zero groups as `::`. */
export function shortIPv6(address: string): string {
  const groups = groupsOf(address);
  let best = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && groups[i + n] === 0) n++;
    if (n > length) {
      best = i;
      length = n;
    }
  }
  const text = groups.map((g) => g.toString(16));
  if (best < 0) return text.join(':');
  const mapped = best === 0 && length === 5 && groups[5] === 0xffff;
  if (mapped || (best === 0 && length === 6)) {
    const [a = 0, b = 0] = groups.slice(6);
    return `::${mapped ? 'ffff:' : ''}${a >> 8}.${a & 255}.${b >> 8}.${b & 255}`;
  }
  return `${text.slice(0, best).join(':')}::${text.slice(best + length).join(':')}`;
}

export interface Cidr {
  readonly family: 'inet' | 'inet6';
  /** Normalized, with its prefix length: `10.0.0.0/8`. */
  readonly text: string;
  /** Bits behind the prefix were set in what was written. */
  readonly meaningless: boolean;
}

/** `ADDRESS[/BITS]`. */
export function parseCidr(text: string): Cidr | undefined {
  const [address = '', bitsText, more] = text.split('/');
  if (more !== undefined) return undefined;
  const v6 = isIPv6(address) && !address.includes('%');
  if (!v6 && !isIPv4(address)) return undefined;
  const size = v6 ? 128 : 32;
  const bits = bitsText === undefined ? size : parseNumber(bitsText);
  if (bits === undefined || bits > size) return undefined;
  const width = v6 ? 16 : 8;
  const parts = v6 ? groupsOf(address) : address.split('.').map(Number);
  const masked = parts.map((part, i) => {
    const keep = Math.max(0, Math.min(width, bits - i * width));
    return part & ((0xffff << (width - keep)) & (2 ** width - 1));
  });
  const host = v6 ? shortIPv6(masked.map((g) => g.toString(16)).join(':')) : masked.join('.');
  return {
    family: v6 ? 'inet6' : 'inet',
    text: `${host}/${bits}`,
    meaningless: masked.some((m, i) => m !== parts[i]),
  };
}

/** Names that can be resolved while the configuration is read: those of /etc/hosts. */
export function resolveHost(name: string): { family: 'inet' | 'inet6'; host: string }[] {
  const found: { family: 'inet' | 'inet6'; host: string }[] = [];
  let hosts = '';
  try {
    hosts = readFileSync('/etc/hosts', 'latin1');
  } catch {
    // without the file only localhost has an address
  }
  for (const line of hosts.split('\n')) {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    if (!names.some((n) => n.toLowerCase() === name.toLowerCase())) continue;
    if (isIPv4(address)) found.push({ family: 'inet', host: address });
    else if (isIPv6(address)) found.push({ family: 'inet6', host: shortIPv6(address) });
  }
  if (found.length === 0 && name.toLowerCase() === 'localhost')
    found.push({ family: 'inet', host: '127.0.0.1' });
  return found;
}
