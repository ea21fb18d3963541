/**
 * Plain objects on their way into Lua and back, in one go: native/bind/codec.h. What an object holds is written into
 * arrays that the addon has, too; it makes a table of that, or the other way round.
 */
export interface NativeCodec {
  codec(memory: {
    readonly ops: Int32Array;
    readonly nums: Float64Array;
    readonly bytes: Uint8Array;
    readonly longs: unknown[];
    /** How many numbers of `ops` there are; 0: the object does not go this way. */
    readonly encode: (object: object) => number;
    readonly decode: (text: string | undefined) => unknown;
  }): void;
  /** A name's number; -1: it gets none. */
  codecKey(name: string): number;
  /** The names of a table's keys, in order. */
  codecShape(shape: number): string[];
}

// The addon's tags.
const NIL = 0;
const FALSE = 1;
const TRUE = 2;
const NULL = 3;
const NUM = 4;
const SHORT = 5;
const LONG = 6;
const ARRAY = 7;
const OBJECT = 8;
const TAG_BITS = 4;
/** Text up to here is written byte by byte, longer text is fetched. */
const SHORT_TEXT = 40;
const DEEPEST = 100;
const OPS = 16384;
const NUMS = 8192;
const BYTES = 65536;

type Read = () => unknown;

export function startCodec(addon: NativeCodec): void {
  const ops = new Int32Array(OPS);
  const nums = new Float64Array(NUMS);
  const bytes = new Uint8Array(BYTES);
  const longs: unknown[] = [];
  const keys = new Map<string, number>();
  const plain = Object.prototype;
  let at = 0;
  let numAt = 0;
  let byteAt = 0;
  let longAt = 0;
  let busy = false;

  /** `key` stands above the tag. */
  const put = (key: number, value: unknown, depth: number): boolean => {
    if (at > OPS - 4 || numAt >= NUMS || byteAt > BYTES - SHORT_TEXT) return false;
    switch (typeof value) {
      case 'number':
        ops[at++] = key | NUM;
        nums[numAt++] = value;
        return true;
      case 'string':
        putText(key, value);
        return true;
      case 'boolean':
        ops[at++] = key | (value ? TRUE : FALSE);
        return true;
      case 'undefined':
        ops[at++] = key | NIL;
        return true;
      case 'object':
        if (value === null) {
          ops[at++] = key | NULL;
          return true;
        }
        if (depth === DEEPEST) return false;
        if (Array.isArray(value)) return putArray(key, value, depth + 1);
        return Object.getPrototypeOf(value) === plain && putObject(key, value, depth + 1);
      default:
        return false;
    }
  };

  const putText = (key: number, value: string): void => {
    const { length } = value;
    if (length <= SHORT_TEXT) {
      let all = 0;
      for (let i = 0; i < length; i++) {
        const code = value.charCodeAt(i);
        all |= code;
        bytes[byteAt + i] = code;
      }
      if (all < 128) {
        byteAt += length;
        ops[at++] = key | SHORT;
        ops[at++] = length;
        return;
      }
    }
    ops[at++] = key | LONG;
    longs[longAt++] = value;
  };

  const putArray = (key: number, value: readonly unknown[], depth: number): boolean => {
    const { length } = value;
    if (length > OPS) return false;
    ops[at++] = key | ARRAY;
    ops[at++] = length;
    for (let i = 0; i < length; i++) if (!put(0, value[i], depth)) return false;
    return true;
  };

  const putObject = (key: number, value: object, depth: number): boolean => {
    const names = Object.keys(value);
    ops[at++] = key | OBJECT;
    const size = at++;
    let count = 0;
    for (let i = 0; i < names.length; i++) {
      const name = names[i] as string;
      const item = (value as Record<string, unknown>)[name];
      if (item === undefined) continue;
      let number = keys.get(name);
      if (number === undefined) {
        number = addon.codecKey(name);
        if (number < 0) return false;
        keys.set(name, number);
      }
      if (!put(number << TAG_BITS, item, depth)) return false;
      count++;
    }
    ops[size] = count;
    return true;
  };

  const encode = (object: object): number => {
    if (busy) return 0; // a getter calls Lua
    busy = true;
    if (longs.length > 0) longs.length = 0;
    at = numAt = byteAt = longAt = 0;
    try {
      return put(0, object, 0) ? at : 0;
    } finally {
      busy = false;
    }
  };

  let text = '';
  let textAt = 0;
  const makers: ((read: Read) => unknown)[] = [];

  const read = (): unknown => {
    switch (ops[at++]) {
      case NUM:
        return nums[numAt++];
      case SHORT: {
        const from = textAt;
        textAt += ops[at++] as number;
        return text.substring(from, textAt);
      }
      case LONG:
        return longs[longAt++];
      case FALSE:
        return false;
      case TRUE:
        return true;
      case NULL:
        return null;
      case ARRAY: {
        const length = ops[at++] as number;
        const list: unknown[] = [];
        for (let i = 0; i < length; i++) list.push(read());
        return list;
      }
      default: {
        const shape = ops[at++] as number;
        return (makers[shape] ??= maker(addon.codecShape(shape)))(read);
      }
    }
  };

  const decode = (source: string | undefined): unknown => {
    text = source ?? '';
    at = numAt = textAt = longAt = 0;
    const value = read();
    if (longAt > 0) longs.length = 0;
    return value;
  };

  addon.codec({ ops, nums, bytes, longs, encode, decode });
}

/** What makes objects with these keys: V8 makes the same hidden class for all of them. */
function maker(names: readonly string[]): (read: Read) => unknown {
  try {
    // in brackets __proto__ is a key like any other
    const members = names.map((name) =>
      name === '__proto__' ? `['__proto__']: read()` : `${JSON.stringify(name)}: read()`,
    );
    return new Function('read', `return { ${members.join(', ')} };`) as (read: Read) => unknown;
  } catch {
    // node --disallow-code-generation-from-strings
    return (read) => {
      const object: Record<string, unknown> = {};
      for (const name of names)
        Object.defineProperty(object, name, {
          value: read(),
          writable: true,
          enumerable: true,
          configurable: true,
        });
      return object;
    };
  }
}
