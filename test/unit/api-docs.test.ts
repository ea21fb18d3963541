// Every name that the package exports, every option and every error code stands in docs/api.md.
import { readFileSync } from 'node:fs';
import t from 'tap';
import { errorTable } from '../../lib/errors.js';

const read = (file: string): string =>
  readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
const text = read('docs/api.md');

const names = [...read('lib/index.ts').matchAll(/\{([^}]*)\}/g)].flatMap((m) =>
  (m[1] as string).split(',').map((name) => name.trim()),
);
t.ok(names.length > 10);
for (const name of names) t.ok(new RegExp(`\\b${name}\\b`).test(text), name);

for (const [file, type] of [
  ['lib/gateway/gateway.ts', 'GatewayOptions'],
  ['lib/gateway/gateway.ts', 'StopOptions'],
  ['lib/luavm.ts', 'LuaVMOptions'],
  ['lib/luavm.ts', 'EvalOptions'],
] as const) {
  const body = new RegExp(`interface ${type} \\{([\\s\\S]*?)\\n\\}`).exec(read(file))?.[1] ?? '';
  const options = [...body.matchAll(/readonly (\w+)\??:/g)].map((m) => m[1] as string);
  t.ok(options.length > 0, type);
  for (const option of options) t.ok(text.includes(option), `${type}.${option}`);
}
for (const [code, meaning] of Object.entries(errorTable))
  t.ok(text.includes(`\`${code}\``) && text.includes(meaning), code);
