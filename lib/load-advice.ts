/** What matters for loading the addon, as far as it can be known without it. */
export interface LoadCircumstances {
  readonly platform: string;
  readonly arch: string;
  /** Of the running C library; undefined: there is none, as on Alpine. */
  readonly glibc: string | undefined;
  /** process.versions */
  readonly versions: Readonly<Record<string, string | undefined>>;
  /** MOONPHASE_ADDON */
  readonly given: string | undefined;
  /** Binaries below the package's directory. */
  readonly found: readonly string[];
  readonly root: string;
}

/** The oldest glibc of prebuilt binaries; scripts/prebuild/floor.mjs holds them to it. */
export const oldestGlibc = '2.28';
const oldestNode = 20;
const nodeApi = 9;

/** Where loading must not even be tried: the process would crash, or misbehave. Undefined: it may be. */
export function refusal(versions: LoadCircumstances['versions']): string | undefined {
  if (versions['electron'] !== undefined) {
    return `Electron ${versions['electron']} has BoringSSL in place of the OpenSSL that moonphase calls`;
  }
  if (versions['bun'] !== undefined || versions['deno'] !== undefined) {
    const name = versions['bun'] === undefined ? 'Deno' : 'Bun';
    return `${name} has neither Node's libuv nor its OpenSSL, which moonphase calls`;
  }
  const major = Number.parseInt(versions['node'] ?? '0', 10);
  if (major < oldestNode || Number(versions['napi'] ?? 0) < nodeApi) {
    return `Node ${versions['node']} is too old`;
  }
  return undefined;
}

/** What was found, what was needed, what to do. */
export function loadAdvice(at: LoadCircumstances, reason: string): string {
  return [
    `the native part of moonphase cannot be loaded on ${describe(at)}: ${reason}`,
    `  found:  ${found(at)}`,
    `  needed: ${needed(at)}`,
    `  to do:  ${toDo(at, reason)}`,
  ].join('\n');
}

function describe({ platform, arch, glibc, versions }: LoadCircumstances): string {
  const libc =
    platform !== 'linux' ? '' : glibc === undefined ? ' (no glibc)' : ` (glibc ${glibc})`;
  return `${platform}-${arch}${libc}, Node ${versions['node']}`;
}

function found({ given, found }: LoadCircumstances): string {
  if (given) return `MOONPHASE_ADDON=${given}`;
  return found.length === 0 ? 'no prebuilt binary and no build' : found.join(', ');
}

function needed({ arch, root }: LoadCircumstances): string {
  const supported = arch === 'arm64' ? 'arm64' : 'x64';
  return (
    `Linux with glibc ${oldestGlibc} or newer on x64 or arm64, Node ${oldestNode} or newer (Node-API ${nodeApi}), and ` +
    `prebuilds/linux-${supported}/moonphase.glibc.node or build/Release/moonphase.node in ${root}`
  );
}

const fromSource =
  'npm rebuild moonphase --build-from-source; on Debian or Ubuntu that needs ' +
  'apt-get install g++ make python3 binutils xz-utils';

function toDo(at: LoadCircumstances, reason: string): string {
  if (at.versions['electron'] !== undefined) {
    return 'run moonphase in a Node process of its own and talk to it over a socket';
  }
  if (at.versions['bun'] !== undefined || at.versions['deno'] !== undefined)
    return 'run it by Node';
  if (refusal(at.versions) !== undefined) return `install Node ${oldestNode} or newer`;
  if (at.platform !== 'linux') {
    return 'run on Linux, in a container or a virtual machine for instance; other systems are not supported';
  }
  if (at.arch !== 'x64' && at.arch !== 'arm64') {
    return `run on x64 or arm64: LuaJIT, as it is used here, has no support for ${at.arch}`;
  }
  if (at.glibc === undefined) {
    return 'use an image with glibc, such as node:22-slim in place of node:22-alpine; musl is not supported';
  }
  if (older(at.glibc, oldestGlibc)) {
    return `use a newer system (Debian 10, Ubuntu 20.04, RHEL 8, Amazon Linux 2023 or later), or ${fromSource}`;
  }
  if (/version .(GLIBC|GLIBCXX|CXXABI)/.test(reason)) {
    return `the binary was built on a newer system than this one: ${fromSource}`;
  }
  if (/undefined symbol: (napi_|node_api_)/.test(reason)) return `install a newer Node`;
  if (/undefined symbol: (SSL|EVP|X509|OPENSSL|uv_|deflate|inflate)/i.test(reason)) {
    return "run it by a Node that brings its own OpenSSL 3, libuv and zlib, as nodejs.org's builds do";
  }
  if (/wrong ELF class|Exec format|cannot open shared object file: No such/.test(reason)) {
    return `the binary is not for this machine, or a library is missing: ${fromSource}`;
  }
  return fromSource;
}

function older(version: string, than: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [thanMajor = 0, thanMinor = 0] = than.split('.').map(Number);
  return major < thanMajor || (major === thanMajor && minor < thanMinor);
}
