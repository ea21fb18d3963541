/** nginx's notations for numbers, sizes and times; `undefined` means that the text is none. */

export function parseNumber(text: string): number | undefined {
  if (!/^[0-9]+$/.test(text)) return undefined;
  const n = Number(text);
  return Number.isSafeInteger(n) ? n : undefined;
}

/** `8k`, `1m`: bytes. */
export function parseSize(text: string): number | undefined {
  return scaled(text, { k: 1024, m: 1024 ** 2 });
}

/** As a size, and `1g`. */
export function parseOffset(text: string): number | undefined {
  return scaled(text, { k: 1024, m: 1024 ** 2, g: 1024 ** 3 });
}

function scaled(text: string, units: Record<string, number>): number | undefined {
  const scale = units[text.slice(-1).toLowerCase()];
  const n = parseNumber(scale === undefined ? text : text.slice(0, -1));
  if (n === undefined) return undefined;
  const bytes = n * (scale ?? 1);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
/** Units in the order in which they may follow one another. */
const UNITS: readonly (readonly [string, number])[] = [
  ['y', 365 * DAY],
  ['M', 30 * DAY],
  ['w', 7 * DAY],
  ['d', DAY],
  ['h', 60 * MINUTE],
  ['m', MINUTE],
  ['s', 1000],
  ['ms', 1],
];

/** `1h30m`, `500ms`, `10`: milliseconds. */
export function parseTime(text: string): number | undefined {
  return time(text, 2, 'ms');
}

/** The same for directives that count in seconds: `ms` is not allowed, and the result is in milliseconds all the same. */
export function parseSeconds(text: string): number | undefined {
  return time(text, 0, 's');
}

function time(text: string, firstUnit: number, lastUnit: string): number | undefined {
  let rest = text;
  let unit = firstUnit;
  let total = 0;
  if (!/[0-9]/.test(text)) return undefined;
  while (rest !== '') {
    const m = /^([0-9]*)(ms|[yMwdhms]| |$) */.exec(rest);
    if (m === null) return undefined;
    const [all, digits, name] = m as unknown as [string, string, string];
    rest = rest.slice(all.length);
    // a number alone, also with blanks behind it, is in seconds
    const at = name === '' || name === ' ' ? SECONDS : UNITS.findIndex(([u]) => u === name);
    if (name === 'ms' && lastUnit === 's') return undefined;
    if (name !== '' && at < unit) return undefined;
    unit = at + 1;
    total += Number(digits) * (UNITS[at] as readonly [string, number])[1];
  }
  return Number.isSafeInteger(total) ? total : undefined;
}

const SECONDS = UNITS.findIndex(([u]) => u === 's');
