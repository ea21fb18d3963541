import { MoonphaseError } from '../errors.js';

/** What an option may be: a `typeof`, or the words that it may be. */
export type OptionKind =
  | 'string'
  | 'object'
  | 'array'
  | 'boolean'
  | 'milliseconds'
  | 'count'
  | 'port'
  | 'signal'
  | readonly string[];

/**
 * Checks an object of options: nothing in it that is unknown, nothing of another type.
 * Throws `ERR_MOONPHASE_OPTION`, which names the option and `what` takes it.
 */
export function checkOptions(
  what: string,
  options: unknown,
  kinds: Readonly<Record<string, OptionKind>>,
): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw wrong(`${what} takes an object of options, not ${describe(options)}`);
  }
  for (const [name, value] of Object.entries(options)) {
    const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
    if (kind === undefined) throw wrong(`${what} has no option "${name}"`);
    if (value === undefined) continue;
    const needed = mismatch(kind, value);
    if (needed !== undefined) throw wrong(`${name} is ${needed}, not ${describe(value)}`);
  }
}

function mismatch(kind: OptionKind, value: unknown): string | undefined {
  if (typeof kind !== 'string') {
    return kind.includes(value as string) ? undefined : `one of ${kind.join(', ')}`;
  }
  switch (kind) {
    case 'string':
      return typeof value === 'string' ? undefined : 'a string';
    case 'count':
      return Number.isSafeInteger(value) && (value as number) > 0
        ? undefined
        : 'a positive integer';
    case 'boolean':
      return typeof value === 'boolean' ? undefined : 'a boolean';
    case 'milliseconds':
      return typeof value === 'number' && value >= 0 ? undefined : 'a number of milliseconds';
    case 'port':
      return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 65535
        ? undefined
        : 'a port';
    case 'array':
      return Array.isArray(value) ? undefined : 'an array';
    case 'signal':
      return value instanceof AbortSignal ? undefined : 'an AbortSignal';
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value)
        ? undefined
        : 'an object';
  }
}

function describe(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'string' || typeof value === 'number'
    ? JSON.stringify(value)
    : typeof value;
}

function wrong(message: string): MoonphaseError {
  return new MoonphaseError('ERR_MOONPHASE_OPTION', message);
}
