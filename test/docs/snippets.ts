// What stands in a Markdown file as code, to be run. Each section (`##`) is a directory of its own:
//   - a block whose first line is a comment with a path (`-- lua/app.lua`) is that file
//   - another `ts` or `js` block is a module; `expression; // value` is compared, up to a colon after the value
//   - `<!-- test … -->` behind it is JavaScript that runs with it, in its scope; `<!-- file PATH … -->` a file
//   - an `sh` block is run; a server in it stays until another starts or a module runs; a `text` block behind it is what it prints
// Port 8080 becomes a free one.
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import ts from 'typescript';
import { connects, freePorts, plainEnv, root, sleep } from '../helpers/server.js';

export interface Block {
  readonly kind: string;
  readonly text: string;
  readonly line: number;
  /** What `<!-- test -->` adds, or the output that is expected. */
  extra?: string;
}
export interface Section {
  readonly title: string;
  readonly blocks: Block[];
}

export function sections(markdown: string): Section[] {
  const all: Section[] = [{ title: 'top', blocks: [] }];
  const pattern = /^## (.*)$|^( *)```(\w*)\n([^]*?)\n *```$|^<!-- (test|file \S+)\n([^]*?)-->$/gm;
  for (const match of markdown.matchAll(pattern)) {
    const [, title, indent = '', kind = '', code, hidden, hiddenText = ''] = match;
    const line = markdown.slice(0, match.index).split('\n').length;
    const blocks = (all.at(-1) as Section).blocks;
    if (title !== undefined) {
      all.push({ title, blocks: [] });
    } else if (code !== undefined) {
      const text = code.replace(new RegExp(`^${indent}`, 'gm'), '');
      const last = blocks.at(-1);
      if (kind === 'text' && last?.kind === 'sh') last.extra = `${text}\n`;
      else blocks.push({ kind, text, line });
    } else if (hidden === 'test') {
      (blocks.at(-1) as Block).extra = hiddenText;
    } else {
      const file = (hidden as string).slice(5);
      blocks.push({ kind: 'file', text: `# ${file}\n${hiddenText}`, line });
    }
  }
  return all.filter((section) => section.blocks.length > 0);
}

const FILE = /^(?:\/\/|--|#) ([\w./-]+\.\w+)$/;
const VALUE =
  /^(\s*)(?!const |let |var |return |import |export |type )(.+); \/\/ ((?:'(?:[^'\\]|\\.)*'|"[^"]*"|-?[\d.]+n?|true|false|undefined|null|\[.*\]|\{.*\}))(?:: .*)?$/;

/** A snippet as a module that checks what it says. */
export function asModule({ text, extra }: Block): string {
  const checked = text.split('\n').map((line) => {
    const [, indent = '', expression, value = ''] = VALUE.exec(line) ?? [];
    if (expression === undefined) return line;
    const shown = /^console\.log\((.*)\)$/.exec(expression)?.[1] ?? expression;
    return `${indent}$same(${shown}, ${JSON.stringify(value)}, ${JSON.stringify(shown)});`;
  });
  const source = `
import { inspect as $inspect } from 'node:util';
import { equal } from 'node:assert';
const $same = (value: unknown, shown: string, what: string) => equal($inspect(value, { sorted: true }), shown, what);
${checked.join('\n')}
${extra ?? ''}
process.exit(0);
`;
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
  });
  return outputText;
}

const SERVER = /^(?:npx )?(?:moonphase serve|node server)/;

/** A directory in which the blocks of a section are run. */
export class Place {
  private readonly servers: ChildProcess[] = [];
  private constructor(
    readonly dir: string,
    private readonly port: number,
  ) {}

  static async make(): Promise<Place> {
    const [port = 0] = await freePorts(1);
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mp-docs-'));
    const modules = path.join(dir, 'node_modules');
    fs.mkdirSync(path.join(modules, '.bin'), { recursive: true });
    fs.mkdirSync(path.join(dir, 'logs'));
    fs.symlinkSync(root, path.join(modules, 'moonphase'));
    for (const name of ['express', 'fastify', 'koa'])
      fs.symlinkSync(path.join(root, 'node_modules', name), path.join(modules, name));
    for (const name of fs.readdirSync(path.join(root, 'bin')))
      fs.symlinkSync(path.join(root, 'bin', name), path.join(modules, '.bin', name));
    return new Place(dir, port);
  }

  private fill(text: string): string {
    return text.replace(/\b8080\b/g, String(this.port));
  }

  /** Undefined: it did what it says; else what went wrong. */
  async run(block: Block): Promise<string | undefined> {
    const name = FILE.exec(block.text.split('\n', 1)[0] as string)?.[1];
    if (name !== undefined) return this.write(name, block.text);
    switch (block.kind) {
      case 'ts':
      case 'js': {
        await this.stopServers();
        const file = path.join(this.dir, `snippet-${block.line}.mjs`);
        fs.writeFileSync(file, this.fill(asModule(block)));
        const { code, out } = await this.command(process.execPath, [file]);
        return code === 0 ? undefined : out;
      }
      case 'sh':
        return this.shell(block);
      case '':
        return undefined; // a drawing
      default:
        return `a block of kind "${block.kind}" that says not which file it is`;
    }
  }

  private write(name: string, text: string): undefined {
    const file = path.join(this.dir, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    const rest = text.startsWith('--') || text.startsWith('//') ? text : text.replace(/^.*\n/, '');
    fs.writeFileSync(file, this.fill(rest));
  }

  private async shell({ text, extra }: Block): Promise<string | undefined> {
    const lines = text.split('\n').map((line) => line.replace(/\s+# .*$/, ''));
    // what the packages' own tests do
    const commands = lines.filter((line) => !/^npm install( |$)/.test(line));
    const server = commands.filter((line) => SERVER.test(line));
    const rest = commands.filter((line) => !SERVER.test(line));
    if (/moonphase-nginx|moonphase serve|node server/.test(text)) await this.stopServers();
    const { code, out } = await this.command('bash', ['-ec', this.fill(rest.join('\n'))]);
    if (code !== 0) return out;
    for (const line of server) {
      const failure = await this.serve(this.fill(line));
      if (failure !== undefined) return failure;
    }
    return extra === undefined || out === extra ? undefined : `it has printed:\n${out}`;
  }

  private async serve(line: string): Promise<string | undefined> {
    const child = spawn(
      'bash',
      ['-ec', `exec env -u NODE_OPTIONS ${line.replace(/^npx /, '')}`],
      this.options(),
    );
    this.servers.push(child);
    let out = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (data) => (out += String(data)));
    for (let i = 0; i < 400; i++) {
      if (child.exitCode !== null) return out;
      if (await connects(this.port)) return undefined;
      await sleep(50);
    }
    return `no server after 20 s: ${out}`;
  }

  private command(name: string, args: string[]): Promise<{ code: number | null; out: string }> {
    return new Promise((done) => {
      const child = spawn('/usr/bin/env', ['-u', 'NODE_OPTIONS', name, ...args], this.options());
      const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
      let [out, errors] = ['', ''];
      child.stdout?.on('data', (data) => (out += String(data)));
      child.stderr?.on('data', (data) => (errors += String(data)));
      child.on('close', (code) => {
        clearTimeout(timer);
        done({ code, out: code === 0 ? out : `${out}${errors}` });
      });
    });
  }

  private options() {
    const bin = path.join(this.dir, 'node_modules/.bin');
    const env = { ...plainEnv(), PATH: `${bin}:${process.env['PATH'] ?? ''}` };
    return { cwd: this.dir, env, stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'] };
  }

  /** Those that were started here, daemons by their pid files. */
  private async stopServers(): Promise<void> {
    for (const child of this.servers.splice(0)) {
      const ended = new Promise((done) => child.once('exit', done));
      if (child.exitCode !== null) continue;
      child.kill('SIGTERM');
      await ended;
    }
    for (const dir of ['.', 'myapp']) {
      const file = path.join(this.dir, dir, 'logs/nginx.pid');
      const pid = fs.existsSync(file) ? Number(fs.readFileSync(file, 'utf8')) : 0;
      if (!(pid > 1)) continue; // `-t` leaves an empty file
      process.kill(pid, 'SIGTERM');
      for (let i = 0; i < 200 && fs.existsSync(file); i++) await sleep(25);
    }
  }

  async close(): Promise<void> {
    await this.stopServers();
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}
