import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ConfigError } from '../../../lib/errors.js';
import { compile, type Compiled, type CompileInput } from '../../../lib/conf/compile.js';
import type { HttpPlan, LocationConf } from '../../../lib/conf/plan.js';

/** Compiles a text as conf/nginx.conf of a new prefix, with other files beside it. */
export function compileText(
  text: string,
  files: Record<string, string> = {},
  input: Partial<CompileInput> = {},
): Compiled {
  const prefix = mkdtempSync(join(tmpdir(), 'moonphase-conf-'));
  try {
    for (const [name, content] of Object.entries({ 'conf/nginx.conf': text, ...files })) {
      mkdirSync(dirname(join(prefix, name)), { recursive: true });
      writeFileSync(join(prefix, name), content, 'latin1');
    }
    return compile({ prefix, confFile: 'conf/nginx.conf', pending: new Set(), ...input });
  } finally {
    rmSync(prefix, { recursive: true });
  }
}

export const http = (text: string): string => `events {}\nhttp {\n${text}\n}\n`;
export const server = (text: string): string => http(`server {\nlisten 1984;\n${text}\n}`);
export const location = (text: string): string => server(`location /t {\n${text}\n}`);

/** What is wrong with a text: `WORDS in nginx.conf:LINE`, without the prefix's path. */
export function errorOf(text: string, files: Record<string, string> = {}): string {
  try {
    compileText(text, files);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.message.replaceAll(/\/\S*moonphase-conf-\w+\/(conf\/)?/g, '');
  }
  return 'no error';
}

export function httpOf(compiled: Compiled): HttpPlan {
  const { http: plan } = compiled.plan;
  if (plan === undefined) throw new Error('no http in the plan');
  return plan;
}

/** The configuration of the location (or the first block of that kind) with this name. */
export function confOf(
  compiled: Compiled,
  name: string,
  kind?: LocationConf['kind'],
): LocationConf {
  const found = httpOf(compiled).confs.find(
    (c) => c.name === name && (kind === undefined || c.kind === kind),
  );
  if (found === undefined) throw new Error(`no location ${name}`);
  return found;
}

export function locationConf(text: string, inHttp = '', inServer = ''): LocationConf {
  const body = `${inHttp}\nserver {\nlisten 1984;\n${inServer}\nlocation /t {\n${text}\n}\n}`;
  return confOf(compileText(http(body)), '/t');
}
