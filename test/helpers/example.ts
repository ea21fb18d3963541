// Runs a folder of examples/ on free ports, as a copy.
import fs from 'node:fs';
import path from 'node:path';
import { root, Server, type ServerOptions } from './server.js';

export interface ExampleOptions extends Pick<ServerOptions, 'env' | 'kind' | 'errorLogLevel'> {
  /** In front of the example's own path. */
  readonly luaPath?: string;
  readonly extraFiles?: Readonly<Record<string, string>>;
}

export function startExample(name: string, options: ExampleOptions = {}): Promise<Server> {
  const dir = path.join(root, 'examples', name);
  const conf = fs.readFileSync(path.join(dir, 'conf/nginx.conf'), 'latin1');
  const http = /http \{\n([\s\S]*)\n\}/.exec(conf)?.[1];
  if (http === undefined) throw new Error(`examples/${name} has no http block`);
  const main = [...conf.matchAll(/^env .*;$/gm)].map((m) => m[0]).join('\n');
  const files: Record<string, string> = { ...options.extraFiles };
  const lua = path.join(dir, 'lua');
  if (fs.existsSync(lua))
    for (const file of fs.readdirSync(lua))
      files[`lua/${file}`] = fs.readFileSync(path.join(lua, file), 'latin1');
  const path_ = `$prefix/lua/?.lua;${options.luaPath ? `${options.luaPath};` : ''}`;
  let listeners = 0;
  return Server.start({
    ...options,
    http: http
      .replace(/listen \d+;/g, () => `listen 127.0.0.1:$port${listeners++ || ''};`)
      .replace('$prefix/lua/?.lua;', path_),
    main,
    files,
  });
}
