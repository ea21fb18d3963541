// The command that stands for nginx, as one CommonJS file: it is started for every `moonphase-nginx`,
// and loading many small modules would take longer than its work. Also the texts that the launcher
// prints without Node.
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildSync } from 'esbuild';

export async function bundle(root) {
  const out = path.join(root, 'dist/cli');
  fs.mkdirSync(out, { recursive: true });
  buildSync({
    entryPoints: [path.join(root, 'lib/cli/nginx-main.ts')],
    outfile: path.join(out, 'nginx.cjs'),
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    external: ['node-gyp-build'],
    define: { 'import.meta.url': '__url' },
    banner: { js: "const __url = require('node:url').pathToFileURL(__filename).href;" },
    logLevel: 'warning',
  });
  const texts = await import(pathToFileURL(path.join(out, 'nginx-version.js')).href);
  const write = (name, text) => fs.writeFileSync(path.join(out, name), text);
  write('nginx-version.txt', texts.versionText());
  write('nginx-configure.txt', texts.configureText(process.versions.openssl));
  write('nginx-help.txt', texts.HELP_TEXT);
}
