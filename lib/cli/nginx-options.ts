/** What nginx's command line says. */
export interface NginxOptions {
  readonly help: boolean;
  readonly version: boolean;
  readonly configure: boolean;
  readonly test: boolean;
  readonly dump: boolean;
  readonly quiet: boolean;
  readonly signal: Signal | undefined;
  readonly prefix: string | undefined;
  /** `-e`; `stderr` is the empty string, as in nginx. */
  readonly errorLog: string | undefined;
  readonly conf: string | undefined;
  readonly params: string | undefined;
}

export type Signal = 'stop' | 'quit' | 'reopen' | 'reload';

const SIGNALS: readonly string[] = ['stop', 'quit', 'reopen', 'reload'];

const NEEDS: Readonly<Record<string, string>> = {
  p: 'directory name',
  e: 'file name',
  c: 'file name',
  g: 'parameter',
  s: 'parameter',
};

/** Reads the arguments as nginx does; an error is its sentence. */
export function parseNginxOptions(
  args: readonly string[],
): NginxOptions | { readonly error: string } {
  const seen = new Set<string>();
  const values: Record<string, string> = {};
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string;
    if (!arg.startsWith('-')) return { error: `invalid option: "${arg}"` };
    for (let at = 1; at < arg.length; at++) {
      const letter = arg.charAt(at);
      if ('?hvVtTq'.includes(letter)) {
        seen.add(letter);
        continue;
      }
      const needs = NEEDS[letter];
      if (needs === undefined) return { error: `invalid option: "${letter}"` };
      const value = at + 1 < arg.length ? arg.slice(at + 1) : args[++i];
      if (value === undefined) return { error: `option "-${letter}" requires ${needs}` };
      if (letter === 's' && !SIGNALS.includes(value))
        return { error: `invalid option: "-s ${value}"` };
      values[letter] = value;
      break;
    }
  }
  const help = seen.has('?') || seen.has('h');
  return {
    help,
    version: help || seen.has('v') || seen.has('V'),
    configure: seen.has('V'),
    test: seen.has('t') || seen.has('T'),
    dump: seen.has('T'),
    quiet: seen.has('q'),
    signal: values['s'] as Signal | undefined,
    prefix: values['p'],
    errorLog: values['e'] === 'stderr' ? '' : values['e'],
    conf: values['c'],
    params: values['g'],
  };
}

export interface Paths {
  /** Absolute, with a trailing slash; without `-p` the current directory, as an nginx without a compiled-in prefix. */
  readonly prefix: string;
  /** As messages show it. */
  readonly conf: string;
  /** Empty: standard error. */
  readonly errorLog: string;
}

/** Where nginx looks, given its options: file names are under the prefix. */
export function nginxPaths(options: NginxOptions, cwd: string): Paths {
  let prefix = options.prefix ?? cwd;
  if (!prefix.startsWith('/'))
    prefix = `${cwd}/${prefix.replace(/^(\.\/)+/, '').replace(/^\.$/, '')}`;
  if (!prefix.endsWith('/')) prefix += '/';
  const under = (name: string): string => (name.startsWith('/') ? name : prefix + name);
  const log = options.errorLog ?? 'logs/error.log';
  return {
    prefix,
    conf: under(options.conf ?? 'conf/nginx.conf'),
    errorLog: log === '' ? '' : under(log),
  };
}
