/** What resty-cli's command line says. */
export interface RestyOptions {
  readonly help: boolean;
  readonly version: boolean;
  readonly configure: boolean;
  /** `-e` */
  readonly inline: readonly string[];
  /** `-l` */
  readonly modules: readonly string[];
  /** `-I` */
  readonly directories: readonly string[];
  readonly connections: number;
  readonly errorLevel: string;
  readonly jit: 'on' | 'off' | 'dump' | 'v';
  /** `--ns`; none: those of /etc/resolv.conf. */
  readonly nameServers: readonly string[];
  readonly ipv6: boolean;
  readonly sharedDicts: readonly string[];
  readonly mainConf: readonly string[];
  readonly httpConf: readonly string[];
  readonly mainInclude: readonly string[];
  readonly httpInclude: readonly string[];
  readonly file: string | undefined;
  readonly args: readonly string[];
}

const LEVELS = ['debug', 'info', 'notice', 'warn', 'error', 'crit', 'alert', 'emerg'];

/** Flags with a value, and where it goes. */
const VALUES: Readonly<Record<string, string>> = {
  '-c': 'connections',
  '-e': 'inline',
  '-I': 'directories',
  '-j': 'jit',
  '-l': 'modules',
  '--errlog-level': 'errorLevel',
  '--http-conf': 'httpConf',
  '--http-include': 'httpInclude',
  '--main-conf': 'mainConf',
  '--main-include': 'mainInclude',
  '--nginx': 'ignored',
  '--ns': 'nameServers',
  '--shdict': 'sharedDicts',
};

const SWITCHES: Readonly<Record<string, string>> = {
  '-h': 'help',
  '--help': 'help',
  '-v': 'version',
  '-V': 'configure',
  '--resolve-ipv6': 'ipv6',
  '--no-stream': 'ignored',
};

const REFUSED: readonly string[] = [
  '--gdb',
  '--rr',
  '--stap',
  '--stap-opts',
  '--stream',
  '--stream-conf',
  '--user-runner',
  '--valgrind',
  '--valgrind-opts',
];

/** Reads the arguments; flags end at the first that is none. An error is a sentence. */
export function parseRestyOptions(
  args: readonly string[],
): RestyOptions | { readonly error: string } {
  const lists: Record<string, string[]> = {};
  const on = new Set<string>();
  let at = 0;
  for (; at < args.length; at++) {
    const arg = args[at] as string;
    if (arg === '--') {
      at++;
      break;
    }
    if (!arg.startsWith('-') || arg === '-') break;
    const equals = arg.startsWith('--') ? arg.indexOf('=') : -1;
    const short = !arg.startsWith('--') && arg.length > 2;
    const flag = equals > 0 ? arg.slice(0, equals) : short ? arg.slice(0, 2) : arg;
    if (REFUSED.includes(flag)) return { error: `${flag} is not supported` };
    const name = SWITCHES[flag];
    if (name !== undefined && !short && equals < 0) {
      on.add(name);
      continue;
    }
    const list = VALUES[flag];
    if (list === undefined) return { error: `unknown argument: "${arg}" (use -h for usage)` };
    const value = equals > 0 ? arg.slice(equals + 1) : short ? arg.slice(2) : args[++at];
    if (value === undefined) return { error: `${flag} takes an argument but found none` };
    (lists[list] ??= []).push(value);
  }
  const last = (name: string): string | undefined => lists[name]?.at(-1);
  const connections = last('connections') ?? '64';
  if (!/^[1-9][0-9]*$/.test(connections))
    return { error: `Invalid value in option -c ${connections}` };
  const errorLevel = last('errorLevel') ?? 'warn';
  if (!LEVELS.includes(errorLevel))
    return { error: `Invalid value in option --errlog-level ${errorLevel}` };
  const jit = last('jit') ?? 'on';
  if (!['on', 'off', 'dump', 'v'].includes(jit))
    return { error: `Invalid value in option -j ${jit}` };
  const bad = lists['sharedDicts']?.find((s) => !/^\s*\S+\s+\d+[kKmMgG]?\s*$/.test(s));
  if (bad !== undefined)
    return { error: `Invalid value in option --shdict ${bad}, expecting NAME SIZE` };
  const inline = lists['inline'] ?? [];
  const rest = args.slice(at);
  return {
    help: on.has('help'),
    version: on.has('version') || on.has('configure'),
    configure: on.has('configure'),
    inline,
    modules: lists['modules'] ?? [],
    directories: lists['directories'] ?? [],
    connections: Number(connections),
    errorLevel,
    jit: jit as RestyOptions['jit'],
    nameServers: lists['nameServers'] ?? [],
    ipv6: on.has('ipv6'),
    sharedDicts: (lists['sharedDicts'] ?? []).map((s) => s.trim()),
    mainConf: lists['mainConf'] ?? [],
    httpConf: lists['httpConf'] ?? [],
    mainInclude: lists['mainInclude'] ?? [],
    httpInclude: lists['httpInclude'] ?? [],
    file: inline.length > 0 ? undefined : rest[0],
    args: inline.length > 0 ? rest : rest.slice(1),
  };
}

/** The configuration that the code runs under. `nameServers`: those of the system. */
export function restyConfiguration(options: RestyOptions, nameServers: readonly string[]): string {
  const paths = options.directories.flatMap((dir) =>
    ['/?.ljbc', '/?.lua', '/?/init.ljbc', '/?/init.lua'].map((end) => dir + end),
  );
  const resolvers = options.nameServers.length > 0 ? options.nameServers : nameServers;
  const ipv6 = options.ipv6 ? '' : ' ipv6=off';
  const include = (file: string): string => `include ${quoted(file)};`;
  return [
    'daemon off;',
    'master_process off;',
    'pid /dev/null;',
    `error_log stderr ${options.errorLevel};`,
    ...options.mainInclude.map(include),
    ...options.mainConf.map(statement),
    `events { worker_connections ${options.connections}; }`,
    'http {',
    'access_log off;',
    'lua_socket_log_errors off;',
    ...(resolvers.length > 0 ? [`resolver ${resolvers.join(' ')}${ipv6};`] : []),
    `lua_package_path ${quoted(`${paths.join(';')};;`)};`,
    ...options.sharedDicts.map((dict) => `lua_shared_dict ${dict};`),
    ...options.httpInclude.map(include),
    ...options.httpConf.map(statement),
    '}',
  ].join('\n');
}

function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}

function statement(text: string): string {
  return /[;}]\s*$/.test(text) ? text : `${text};`;
}

/** The servers of a resolv.conf. */
export function nameServersOf(text: string): string[] {
  const found: string[] = [];
  for (const line of text.split('\n')) {
    const address = /^\s*nameserver\s+(\S+)/.exec(line)?.[1]?.replace(/%.*$/, '');
    if (address !== undefined) found.push(address.includes(':') ? `[${address}]` : address);
  }
  return found;
}
