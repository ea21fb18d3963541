import type { Conf } from './conf.js';
import type { Directive, Setter, Values } from './directive.js';
import { parseNumber, parseOffset, parseSeconds, parseSize, parseTime } from './numbers.js';

/** The setters that most directives share. Each keeps its value under the row's field and refuses a second one. */

export const DUPLICATE = 'is duplicate';

function once(put: (cf: Conf, args: string[], row: Directive) => unknown): Setter {
  return (cf, args, row) => {
    const values = cf.values(row.level);
    if (row.field in values) return DUPLICATE;
    const value = put(cf, args, row);
    if (value === undefined) return 'invalid value';
    values[row.field] = value;
  };
}

export function flag(): Setter {
  return once((cf, [text = ''], row) => {
    const word = text.toLowerCase();
    if (word === 'on') return true;
    if (word === 'off') return false;
    throw cf.error(`invalid value "${text}" in "${row.name}" directive, it must be "on" or "off"`);
  });
}

export function str(): Setter {
  return once((_, [text]) => text);
}

/** A path under the prefix. */
export function path(): Setter {
  return once((cf, [text = '']) => cf.fullName(text));
}

/** A path under the configuration's directory. */
export function confPath(): Setter {
  return once((cf, [text = '']) => confName(cf, text));
}

export function num(low?: number, high?: number): Setter {
  return (cf, args, row) => {
    const values = cf.values(row.level);
    if (row.field in values) return DUPLICATE;
    const n = parseNumber(args[0] as string);
    if (n === undefined) return 'invalid number';
    if (low !== undefined && high === undefined && n < low) {
      throw cf.error(`value must be equal to or greater than ${low}`);
    }
    if (low !== undefined && high !== undefined && (n < low || n > high)) {
      throw cf.error(`value must be between ${low} and ${high}`);
    }
    values[row.field] = n;
  };
}

export function size(): Setter {
  return once((_, [text = '']) => parseSize(text));
}

export function offset(): Setter {
  return once((_, [text = '']) => parseOffset(text));
}

export function msec(): Setter {
  return once((_, [text = '']) => parseTime(text));
}

/** Seconds in the configuration, milliseconds in the plan. */
export function sec(): Setter {
  return once((_, [text = '']) => parseSeconds(text));
}

export function bufs(): Setter {
  return once((_, [count = '', bytes = '']) => {
    const number = parseNumber(count);
    const size = parseSize(bytes);
    return number && size ? { number, size } : undefined;
  });
}

export function oneOf(...words: string[]): Setter {
  return once((cf, [text = '']) => {
    const word = text.toLowerCase();
    if (!words.includes(word)) throw cf.error(`invalid value "${text}"`);
    return word;
  });
}

/** A set of words, which several directives at one level add to. */
export function mask(...words: string[]): Setter {
  return (cf, args, row) => {
    const list = cf.list<string>(row);
    for (const text of args) {
      const word = words.find((w) => w.toLowerCase() === text.toLowerCase());
      if (word === undefined) throw cf.error(`invalid value "${text}"`);
      if (list.includes(word)) cf.warn(`duplicate value "${text}"`);
      else list.push(word);
    }
  };
}

/** Makes a path absolute, under the configuration's directory. */
export const confName = (cf: Conf, text: string): string => (text === '' ? '' : cf.confName(text));

/** A list that several directives at one level add one value each to. */
export function strings(map: (cf: Conf, text: string) => string = (_, text) => text): Setter {
  return (cf, args, row) => {
    cf.list<string>(row).push(map(cf, args[0] as string));
  };
}

export function pairs(): Setter {
  return (cf, args, row) => {
    cf.list(row).push([args[0], args[1]]);
  };
}

/** A value with variables. */
export function complex(): Setter {
  return once((cf, [text = '']) => cf.complex(text));
}

/** A size that may hold variables; in bytes when it does not. */
export function complexSize(): Setter {
  return once((cf, [text = '']) => {
    const value = cf.complex(text);
    if (typeof value !== 'string') return value;
    const bytes = parseSize(value);
    return bytes === undefined ? undefined : String(bytes);
  });
}

/** `proxy_cache_bypass` & co.: any number of values, of which one that is neither "" nor "0" decides. */
export function predicates(): Setter {
  return (cf, args, row) => {
    cf.list(row).push(...args.map((text) => cf.complex(text)));
  };
}

/** MIME types to which a filter applies; `*` is all. */
export function mimeTypes(...always: string[]): Setter {
  return (cf, args, row) => {
    const values: Values = cf.values(row.level);
    const list = (values[row.field] ??= [...always]) as string[];
    if (list.includes('*')) return;
    for (const text of args) {
      const type = text.toLowerCase();
      if (type === '*') {
        values[row.field] = ['*'];
        return;
      }
      if (list.includes(type)) cf.warn(`duplicate MIME type "${text}"`);
      else list.push(type);
    }
  };
}

/** `PATH [level1 [level2 [level3]]]`: only the path matters here. */
export function tempPath(): Setter {
  return once((cf, [text = '', ...levels]) => {
    for (const level of levels) {
      const n = parseNumber(level);
      if (n === undefined || n < 1 || n > 3) throw cf.error(`invalid value "${level}"`);
    }
    return cf.fullName(text.replace(/(.)\/$/, '$1'));
  });
}
