// Lua's annotations as TypeScript: compared with files that were read once; `UPDATE_TYPES=1` writes them anew.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import t from 'tap';
import { HEADER, declare } from '../../lib/types/declarations.js';
import { typeText } from '../../lib/types/type_text.js';
import { plainNode, root } from '../helpers/server.js';

const here = path.join(root, 'test/types');
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');

t.test('types', async (t) => {
  const known = (name: string) => (name === 'User' ? 'User' : undefined);
  for (const [lua, typescript] of [
    ['string', 'string'],
    ['integer|nil', 'number | undefined'],
    ['User?', 'User | undefined'],
    ['string[]', 'string[]'],
    ['(string|number)[]', '(string | number)[]'],
    ['table<string, User[]>', 'Record<string, User[]>'],
    ['table<User, number>', 'Map<User, number>'],
    ['{ a: string, b?: number }', '{ a: string; b?: number }'],
    ['table<string|integer, User>', 'Record<string | number, User>'],
    ['table<any, User>', 'Record<string, User>'],
    ['{ [string]: boolean }', '{ [key: string]: boolean }'],
    [
      '{ [string]: boolean, n: number, s?: string }',
      '{ [key: string]: boolean | number | string | undefined; n: number; s?: string }',
    ],
    ['[string, number]', '[string, number]'],
    ['fun(a: string, b?: User): boolean', '(a: string, b?: User) => boolean'],
    ['fun(...: number)', '(...args: number[]) => void'],
    ['"a"|"b"|1', '"a" | "b" | 1'],
    ['any', 'unknown'],
    ['Nobody', 'unknown'],
    ['string|Nobody', 'unknown'],
  ] as const) {
    t.equal(typeText(lua, known), typescript, lua);
  }
});

t.test('modules', async (t) => {
  const names = ['app', 'boxes', 'counter', 'single'];
  const modules = names.map((name) => ({
    name,
    text: fs.readFileSync(path.join(here, 'lua', `${name}.lua`), 'utf8'),
  }));
  const unknown: string[] = [];
  for (const { name, text } of declare(modules, (module, type) =>
    unknown.push(`${module} ${type}`),
  )) {
    const file = path.join(here, 'expected', `${name}.d.ts`);
    if (process.env['UPDATE_TYPES'] === '1') fs.writeFileSync(file, text);
    t.equal(text, fs.readFileSync(file, 'utf8'), name);
  }
  t.same(unknown, ['counter NoSuchType']);
});

t.test('tsc takes them, and users of them', async (t) => {
  const dir = t.testdir({
    'package.json': '{"type":"module"}',
    'use.ts': `
import type * as app from './app.js';
import type * as boxes from './boxes.js';
import type * as counter from './counter.js';
declare const a: typeof app;
declare const c: typeof counter;
const user: Promise<app.User | undefined> = a.user(1, { deep: true, level: 'low' });
const found: number | undefined = a.find([1, 2], (item) => item > 1);
const text: string = a.get('x');
const many: number = a.get(1);
const n: number = c.new().add();
c.delete('x');
const plain: unknown = a.plain();
declare const b: typeof boxes;
const key: 'x' | 'y' = b.keys({ x: 1, y: 2 });
const value: string | undefined = b.pick({ x: 'text' }, 'x');
declare const box: boxes.Box<string, number>;
const item: number | undefined = box.items['x'];
declare const style: boxes.Style;
const width: number = style.width;
const other: string | number | boolean | undefined = b.style['other'] as string;
void [key, value, item, width, other];
type Single = typeof import('./single.js').default;
declare const single: Single;
const said: string = single('x');
// @ts-expect-error no such level
void a.user(1, { deep: true, level: 'none' });
void [user, found, text, many, n, plain, said];
`,
  });
  for (const name of ['app', 'boxes', 'counter', 'single']) {
    fs.copyFileSync(path.join(here, 'expected', `${name}.d.ts`), path.join(dir, `${name}.d.ts`));
  }
  const flags = ['--noEmit', '--strict', '--typeRoots', './none', '--target', 'es2022'];
  for (const resolution of ['node16', 'bundler']) {
    const module = resolution === 'bundler' ? 'esnext' : 'node16';
    const result = spawnSync(
      ...plainNode(tsc, ...flags, '--module', module, '--moduleResolution', resolution, 'use.ts'),
      { cwd: dir, encoding: 'utf8' },
    );
    t.equal(result.stdout, '', resolution);
  }
});

t.test('the command', async (t) => {
  const dir = t.testdir({ lua: { 'a.lua': 'return { f = function(x) end }\n' } });
  const run = (...args: string[]) =>
    spawnSync(...plainNode(path.join(root, 'bin/moonphase'), 'types', ...args), {
      cwd: dir,
      encoding: 'utf8',
    });
  t.equal(run('lua', '--check').status, 1);
  t.match(run('lua'), { status: 0, stdout: 'lua/a.d.ts\n' });
  t.ok(fs.readFileSync(path.join(dir, 'lua/a.d.ts'), 'utf8').startsWith(HEADER));
  t.match(run('lua', '--check'), { status: 0, stdout: '' });
  fs.writeFileSync(path.join(dir, 'lua/a.d.ts'), 'export const mine: 1;\n');
  t.match(run('lua'), { status: 1, stderr: /stays as it is/ });
  t.equal(run('nowhere').status, 1);
  // what Lua cannot read gets no declarations, the other files do
  fs.writeFileSync(path.join(dir, 'lua/broken.lua'), '#!/usr/bin/lua\nlocal x = {\nreturn x\n');
  fs.writeFileSync(path.join(dir, 'lua/c.lua'), '#!/usr/bin/lua\nreturn { g = 1 }\n');
  t.match(run('lua'), {
    status: 1,
    stdout: 'lua/c.d.ts\n',
    stderr: /^moonphase: lua\/broken\.lua:3: .* near 'return'$/m,
  });
  t.notOk(fs.existsSync(path.join(dir, 'lua/broken.d.ts')));
});
