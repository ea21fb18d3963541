/**
 * Every error that Moonphase throws carries a `code` of this one table.
 *
 * The text is what the documentation says about the code; the message of an error says what happened.
 */
export const errorTable = {
  ERR_MOONPHASE_CONFIG:
    'The configuration is wrong. The message has the words that nginx would use, with file and line.',
  ERR_MOONPHASE_CONFIG_UNSUPPORTED:
    'The configuration uses a directive of nginx that Moonphase does not support yet.',
  ERR_MOONPHASE_OPTION: 'An option or argument given from JavaScript has the wrong type or value.',
} as const;

export type ErrorCode = keyof typeof errorTable;

export class MoonphaseError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'MoonphaseError';
    this.code = code;
  }
}

/** Where a configuration error was found, as far as it is known. */
export interface ConfigPlace {
  /** Path of the file; undefined for the `-g` command line option and for `createGateway` options. */
  readonly file?: string | undefined;
  readonly line?: number | undefined;
  readonly directive?: string | undefined;
  /** What stands behind the words in place of `FILE:LINE`, such as `command line`. */
  readonly origin?: string | undefined;
}

/** A wrong configuration: `words` is nginx's own sentence, `message` adds ` in FILE:LINE` as nginx does. */
export class ConfigError extends MoonphaseError {
  readonly words: string;
  readonly file: string | undefined;
  readonly line: number | undefined;
  readonly directive: string | undefined;

  constructor(words: string, place: ConfigPlace = {}, code: ErrorCode = 'ERR_MOONPHASE_CONFIG') {
    super(code, words + suffix(place));
    this.name = 'ConfigError';
    this.words = words;
    this.file = place.file;
    this.line = place.line;
    this.directive = place.directive;
  }
}

function suffix(place: ConfigPlace): string {
  if (place.origin !== undefined) return ` in ${place.origin}`;
  if (place.file === undefined) return '';
  return place.line === undefined ? ` in ${place.file}` : ` in ${place.file}:${place.line}`;
}
