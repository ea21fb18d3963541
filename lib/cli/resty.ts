import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../binding.js';
import { writeError } from '../cluster/log.js';
import { compileFrom } from '../conf/compile.js';
import { fileSource } from '../conf/conf.js';
import { Reader } from '../conf/reader.js';
import { ConfigError, LuaError, MoonphaseError } from '../errors.js';
import { Server } from '../gateway/server.js';
import { forgetZones, zoneSpace } from '../gateway/zones.js';
import { configureText, versionText } from './nginx-version.js';
import {
  nameServersOf,
  parseRestyOptions,
  restyConfiguration,
  type RestyOptions,
} from './resty-options.js';

const HELP = `Usage: resty [options] [lua-file [args]]

Options:
  -c NUM               maximal number of connections (default: 64)
  -e PROG              run the Lua code PROG; may be repeated
  -h, --help           this help
  -I DIR               add DIR to the search path of Lua modules
  -j dump|v|on|off     print, watch, switch on or switch off the JIT compiler
  -l LIB               require LIB first
  --errlog-level LEVEL debug, info, notice, warn (default), error, crit, alert or emerg
  --http-conf CONF     directives for the http {} block
  --http-include PATH  include PATH in the http {} block
  --main-conf CONF     directives for the main context
  --main-include PATH  include PATH in the main context
  --ns IP              name server; default: those of /etc/resolv.conf
  --resolve-ipv6       resolve names to IPv6 addresses too
  --shdict 'NAME SIZE' a shared dictionary
  -v, -V               version
`;

/** Runs Lua code without a server. The result is the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  const options = parseRestyOptions(args);
  if ('error' in options) {
    writeError(`${options.error}\n`);
    return 1;
  }
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (options.version) {
    process.stdout.write(`resty 0.29\n`);
    writeError(versionText());
    if (options.configure) writeError(configureText(process.versions.openssl));
    return 0;
  }
  const chunks = chunksOf(options);
  if ('error' in chunks) {
    writeError(`${chunks.error}\n`);
    return chunks.code;
  }
  try {
    return await run(options, chunks);
  } catch (error) {
    return report(error);
  }
}

type Chunk = readonly [name: string, source: Buffer];

function chunksOf(options: RestyOptions): Chunk[] | { error: string; code: number } {
  if (options.inline.length > 0) {
    return options.inline.map((code) => ['=(command line -e)', Buffer.from(code)] as const);
  }
  const { file } = options;
  if (file === undefined)
    return { error: 'Neither Lua input file nor -e "" option specified.', code: 2 };
  try {
    const source = readFileSync(file === '-' ? 0 : file);
    // a first line for the shell
    const hash = source[0] === 0x23 ? source.indexOf('\n') : 0;
    return [[file === '-' ? '=stdin' : `@${file}`, hash > 0 ? source.subarray(hash) : source]];
  } catch {
    return { error: `Lua input file ${file} not found.`, code: 2 };
  }
}

async function run(options: RestyOptions, chunks: readonly Chunk[]): Promise<number> {
  const text = restyConfiguration(options, systemNameServers());
  const { plan } = compileFrom(fileSource(new Reader('resty', text)), {
    prefix: `${process.cwd()}/`,
    confFile: 'resty',
    errorLog: 'stderr',
  });
  const server = new Server({ embedded: false, zoneSpace: zoneSpace(process.pid) });
  process.once('exit', forgetZones);
  await server.load(plan);
  const script = readFileSync(join(packageRoot, 'dist/cli/resty.lua'));
  const main = server.lua().load<(spec: object) => unknown>(script, { name: '=resty' });
  let code = 0;
  try {
    await main({
      chunks,
      modules: options.modules,
      arg: options.args,
      script: options.file ?? 'resty',
      jit: options.jit,
      exit: (status: unknown) => process.exit(typeof status === 'number' ? status & 255 : 1),
    });
  } catch (error) {
    code = report(error);
  }
  server.terminate();
  return code;
}

function report(error: unknown): number {
  if (error instanceof LuaError) {
    writeError(`ERROR: ${error.message}\n${error.luaStack}\n`);
  } else if (error instanceof ConfigError) {
    writeError(`nginx: [emerg] ${error.message}\n`);
  } else if (error instanceof MoonphaseError && error.code === 'ERR_MOONPHASE_EXIT') {
    return 0;
  } else {
    writeError(`ERROR: ${error instanceof Error ? error.message : String(error)}\n`);
  }
  return 1;
}

function systemNameServers(): string[] {
  try {
    return nameServersOf(readFileSync('/etc/resolv.conf', 'latin1'));
  } catch {
    return [];
  }
}
