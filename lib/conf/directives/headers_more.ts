import type { Conf } from '../conf.js';
import { HSLI, loc, type Module, type Setter } from '../directive.js';
import type { MoreHeaders } from '../plan.js';

type Header = MoreHeaders['headers'][number];

/** Headers that the module sets in their own place, so that none can be appended. */
const BUILT_IN =
  `server date content-encoding location refresh last-modified content-range accept-ranges
  www-authenticate expires e-tag content-length content-type cache-control`.split(/\s+/);

/** `more_set_headers [-a] [-s STATUSES] [-t TYPES] 'Name: value'…` and its three sisters. */
function command(dir: 'set' | 'clear', target: 'out' | 'in'): Setter {
  return (cf, args, row) => {
    const headers: Header[] = [];
    const statuses: number[] = [];
    const types: string[] = [];
    let append = false;
    let replace = false;
    // the module's own messages come without a place; ours have one
    const fail = (sentence: string): Error => cf.error(`${row.name}: ${sentence}`);
    for (let i = 0; i < args.length; i++) {
      const arg = args[i] as string;
      if (arg === '') continue;
      if (!arg.startsWith('-')) {
        headers.push(parseHeader(cf, dir, arg, fail));
      } else if (arg === '-t' || (arg === '-s' && target === 'out')) {
        const value = args[++i];
        if (value === undefined) throw fail(`option ${arg} takes an argument.`);
        if (arg === '-t') types.push(...value.split(/[\s;]+/).filter(Boolean));
        else statuses.push(...parseStatuses(value, fail));
      } else if (arg === '-a' && row.name === 'more_set_headers') {
        append = true;
      } else if (arg === '-r' && target === 'in') {
        replace = true;
      } else {
        throw fail(`invalid option name: "${arg}"`);
      }
    }
    const built = append ? headers.find((h) => BUILT_IN.includes(h.name.toLowerCase())) : undefined;
    if (built !== undefined) throw fail(`can not append builtin headers "${built.name}"`);
    cf.list<MoreHeaders>(row).push({ dir, target, headers, statuses, types, append, replace });
  };
}

function parseHeader(
  cf: Conf,
  dir: 'set' | 'clear',
  text: string,
  fail: (sentence: string) => Error,
): Header {
  const m = /^\s*([^:\s]+)[:\s]*([\s\S]*)$/.exec(text);
  if (m === null) throw fail(`no key found in the header argument: ${text}`);
  const [, name = '', value = ''] = m;
  if (name === '*') throw fail(`wildcard key too short: ${text}`);
  const wildcard = name.endsWith('*');
  return { name, wildcard, value: dir === 'clear' || value === '' ? '' : cf.complex(value) };
}

function parseStatuses(text: string, fail: (sentence: string) => Error): number[] {
  return text
    .trim()
    .split(/\s+/)
    .filter(Boolean)
    .map((word) => {
      const bad = /[^0-9]/.exec(word);
      if (bad !== null)
        throw fail(`invalid digit "${bad[0]}" found in the status code list "${text}"`);
      return Number(word);
    });
}

export const headersMoreModule: Module = {
  name: 'http_headers_more',
  rows: [
    loc('more_set_headers', HSLI, '1+', command('set', 'out'), {
      field: 'more_headers',
      hidden: true,
    }),
    loc('more_clear_headers', HSLI, '1+', command('clear', 'out'), {
      field: 'more_headers',
      hidden: true,
    }),
    loc('more_set_input_headers', HSLI, '1+', command('set', 'in'), {
      field: 'more_headers',
      hidden: true,
    }),
    loc('more_clear_input_headers', HSLI, '1+', command('clear', 'in'), {
      field: 'more_headers',
      hidden: true,
    }),
  ],
  // unlike nginx's own lists this one adds up: outer levels first
  mergeLocation: (_, { own, parent, conf }) => {
    const mine = own['more_headers'] as MoreHeaders[] | undefined;
    const outer = parent?.['more_headers'] as MoreHeaders[] | undefined;
    if (mine !== undefined || outer !== undefined)
      conf['more_headers'] = [...(outer ?? []), ...(mine ?? [])];
  },
};
