/** Of a Lua file, what its types need: the statements outside of functions, with the annotations before them. */

export interface Token {
  readonly kind: 'name' | 'string' | 'number' | 'op';
  readonly text: string;
  readonly line: number;
}

/** `---` lines that stand together. */
export interface Comment {
  readonly lines: readonly string[];
  readonly first: number;
  readonly last: number;
}

export interface LuaFunction {
  readonly parameters: readonly string[];
  /** `function M:name()`. */
  readonly method: boolean;
}

export type Value =
  | { readonly kind: 'function'; readonly fn: LuaFunction }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'table'; readonly fields: readonly Field[] }
  | { readonly kind: 'literal'; readonly type: string; readonly text: string }
  | { readonly kind: 'other' };

export interface Field {
  readonly name: string;
  readonly value: Value;
  readonly comment: Comment | undefined;
}

/** `path = value`, in whatever form. */
export interface Assignment {
  readonly path: readonly string[];
  readonly local: boolean;
  readonly value: Value;
  readonly comment: Comment | undefined;
}

export interface LuaSource {
  readonly assignments: readonly Assignment[];
  readonly returned: Value | undefined;
  readonly returnComment: Comment | undefined;
  readonly comments: readonly Comment[];
}

const LONG = /\[(=*)\[/y;
const WORD = /[A-Za-z_]\w*/y;
const NUMBER =
  /0[xX][\da-fA-F.]+(?:[pP][+-]?\d+)?[UuLl]*|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[UuLl]*/y;
const OPERATOR = /\.\.\.|\.\.|==|~=|<=|>=|::|[^\s]/y;

function tokenize(text: string): { tokens: Token[]; comments: Comment[] } {
  const tokens: Token[] = [];
  const comments: Comment[] = [];
  let block: { lines: string[]; first: number; last: number } | undefined;
  let at = 0;
  let line = 1;
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(text)?.[0];
  };
  const long = (): string | undefined => {
    const open = match(LONG);
    if (open === undefined) return undefined;
    const close = `]${open.slice(1, -1)}]`;
    const end = text.indexOf(close, at + open.length);
    return text.slice(at, end < 0 ? text.length : end + close.length);
  };
  const skip = (length: number): void => {
    for (let i = at; i < at + length; i++) if (text[i] === '\n') line++;
    at += length;
  };
  if (text.startsWith('#')) at = Math.max(0, text.indexOf('\n'));
  while (at < text.length) {
    const ch = text[at] as string;
    if (/\s/.test(ch)) {
      skip(1);
      continue;
    }
    if (text.startsWith('--', at)) {
      at += 2;
      const body = long();
      if (body !== undefined) {
        skip(body.length);
        continue;
      }
      const end = text.indexOf('\n', at);
      const content = text.slice(at, end < 0 ? text.length : end);
      if (content.startsWith('-')) {
        if (block === undefined || block.last !== line - 1) {
          block = { lines: [], first: line, last: line };
          comments.push(block);
        }
        block.lines.push(content.slice(1).trim());
        block.last = line;
      }
      at += content.length;
      continue;
    }
    const start = line;
    let kind: Token['kind'] = 'op';
    let found: string | undefined;
    if ((found = match(WORD)) !== undefined) kind = 'name';
    else if ((found = long()) !== undefined) kind = 'string';
    else if (ch === '"' || ch === "'") {
      let end = at + 1;
      while (end < text.length && text[end] !== ch && text[end] !== '\n') {
        end += text[end] === '\\' ? 2 : 1;
      }
      found = text.slice(at, end + 1);
      kind = 'string';
    } else if ((found = match(NUMBER)) !== undefined) kind = 'number';
    else found = match(OPERATOR) ?? ch;
    tokens.push({ kind, text: found, line: start });
    skip(found.length);
  }
  return { tokens, comments };
}

export function readLua(text: string): LuaSource {
  const { tokens, comments } = tokenize(text);
  return new Reader(tokens, comments).file();
}

const OPENERS = new Set(['function', 'do', 'then', 'repeat']);
const BLOCKS = new Set(['if', 'for', 'while', 'do']);

class Reader {
  private at = 0;
  private readonly assignments: Assignment[] = [];
  private returned: Value | undefined;
  private returnComment: Comment | undefined;

  constructor(
    private readonly tokens: readonly Token[],
    private readonly comments: readonly Comment[],
  ) {}

  file(): LuaSource {
    while (this.at < this.tokens.length) this.statement();
    const { assignments, returned, returnComment, comments } = this;
    return { assignments, returned, returnComment, comments };
  }

  private statement(): void {
    const from = this.at;
    const comment = this.commentAt();
    if (this.take('return')) {
      this.returned = this.value();
      this.returnComment = comment;
    } else if (this.take('local')) {
      if (this.take('function')) this.named(true, comment);
      else this.locals(comment);
    } else if (this.take('function')) {
      this.named(false, comment);
    } else if (BLOCKS.has(this.text)) {
      while (!OPENERS.has(this.text) && this.at < this.tokens.length) this.at++;
      this.at++;
      this.block(1);
    } else if (this.take('repeat')) {
      this.block(1);
    } else if (this.kind === 'name') {
      const path = this.path();
      if (path !== undefined && this.take('=')) {
        this.assignments.push({ path, local: false, value: this.value(), comment });
      }
    }
    if (this.at === from) this.at++;
  }

  /** Behind `function`: `a.b:c(…) … end`. */
  private named(local: boolean, comment: Comment | undefined): void {
    const path = [this.next()];
    let method = false;
    while (this.text === '.' || this.text === ':') {
      method = this.next() === ':';
      path.push(this.next());
    }
    const parameters = this.parameters();
    this.block(1);
    const fn = { parameters, method };
    this.assignments.push({ path, local, value: { kind: 'function', fn }, comment });
  }

  private locals(comment: Comment | undefined): void {
    const names = [this.next()];
    while (this.take(',')) names.push(this.next());
    if (this.take('<')) this.at += 2;
    if (!this.take('=')) return;
    names.forEach((name, i) => {
      const value: Value = i === 0 || this.take(',') ? this.value() : { kind: 'other' };
      this.assignments.push({
        path: [name],
        local: true,
        value,
        comment: i === 0 ? comment : undefined,
      });
    });
  }

  /** `a.b["c"]`; undefined: something else, such as a call. */
  private path(): string[] | undefined {
    const path = [this.next()];
    for (;;) {
      if (this.take('.')) path.push(this.next());
      else if (
        this.text === '[' &&
        this.tokens[this.at + 1]?.kind === 'string' &&
        this.tokens[this.at + 2]?.text === ']'
      ) {
        path.push((this.tokens[this.at + 1] as Token).text.slice(1, -1));
        this.at += 3;
      } else return this.text === '=' ? path : undefined;
    }
  }

  private parameters(): string[] {
    const names: string[] = [];
    if (!this.take('(')) return names;
    while (this.at < this.tokens.length && !this.take(')')) {
      const name = this.next();
      if (name !== ',') names.push(name);
    }
    return names;
  }

  /** To the end of so many blocks. */
  private block(depth: number): void {
    while (depth > 0 && this.at < this.tokens.length) {
      const word = this.next();
      if (word === 'elseif')
        depth--; // its `then` counts again
      else if (OPENERS.has(word)) depth++;
      else if (word === 'end' || word === 'until') depth--;
    }
  }

  /** An expression, as far as it is one that says its type by itself. */
  private value(): Value {
    const value = this.simple();
    const complete = this.endsHere();
    this.restOfExpression();
    if (complete) return value;
    return value.kind === 'name' && value.name === 'setmetatable' ? this.inner : { kind: 'other' };
  }

  /** The first argument of the setmetatable() that was read last. */
  private inner: Value = { kind: 'other' };

  private simple(): Value {
    const token = this.tokens[this.at];
    if (token === undefined) return { kind: 'other' };
    if (token.text === 'function' && token.kind === 'name') {
      this.at++;
      const parameters = this.parameters();
      this.block(1);
      return { kind: 'function', fn: { parameters, method: false } };
    }
    if (token.text === '{') return this.table();
    this.at++;
    if (token.kind === 'string') return { kind: 'literal', type: 'string', text: token.text };
    if (token.kind === 'number') {
      const long = /(?:LL|ll)$/.test(token.text);
      return { kind: 'literal', type: long ? 'bigint' : 'number', text: token.text };
    }
    if (token.text === '-' && this.kind === 'number') {
      return { kind: 'literal', type: 'number', text: `-${this.next()}` };
    }
    if (token.text === 'true' || token.text === 'false') {
      return { kind: 'literal', type: 'boolean', text: token.text };
    }
    if (token.kind !== 'name' || token.text === 'nil' || token.text === 'not')
      return { kind: 'other' };
    if (token.text === 'setmetatable' && this.text === '(') {
      const from = this.at++;
      this.inner = this.simple();
      this.at = from;
    }
    return { kind: 'name', name: token.text };
  }

  private table(): Value {
    const fields: Field[] = [];
    this.at++;
    while (this.at < this.tokens.length && this.text !== '}') {
      const comment = this.commentAt();
      const [, second, third] = this.tokens.slice(this.at, this.at + 4);
      let name: string | undefined;
      if (this.kind === 'name' && second?.text === '=') {
        name = this.next();
        this.at++;
      } else if (this.text === '[' && third?.text === ']') {
        if (second?.kind === 'string') name = second.text.slice(1, -1);
        this.at += 4;
      }
      const value = this.value();
      if (name !== undefined) fields.push({ name, value, comment });
      if (this.text !== '}' && !this.take(',') && !this.take(';')) this.at++;
    }
    this.at++;
    return { kind: 'table', fields };
  }

  /** Whether an expression is over: nothing continues it. */
  private endsHere(): boolean {
    const token = this.tokens[this.at];
    if (token === undefined) return true;
    if (token.kind === 'string') return false;
    return !CONTINUES.has(token.text);
  }

  private restOfExpression(): void {
    while (this.at < this.tokens.length && !this.endsHere()) {
      const word = this.text;
      if (word === '(' || word === '{' || word === '[') this.brackets();
      else {
        this.at++;
        if (BINARY.has(word)) this.simple();
      }
    }
  }

  private brackets(): void {
    let depth = 0;
    do {
      const word = this.next();
      if (word === '(' || word === '{' || word === '[') depth++;
      else if (word === ')' || word === '}' || word === ']') depth--;
      else if (word === 'function') this.block(1);
    } while (depth > 0 && this.at < this.tokens.length);
  }

  /** The comment that ends on the line before this token. */
  private commentAt(): Comment | undefined {
    const line = this.tokens[this.at]?.line ?? 0;
    return this.comments.find(({ last }) => last === line - 1);
  }

  private get text(): string {
    return this.tokens[this.at]?.text ?? '';
  }
  private get kind(): Token['kind'] | undefined {
    return this.tokens[this.at]?.kind;
  }
  private next(): string {
    return this.tokens[this.at++]?.text ?? '';
  }
  private take(text: string): boolean {
    if (this.text !== text || this.kind === 'string') return false;
    this.at++;
    return true;
  }
}

const BINARY = new Set([
  '+',
  '-',
  '*',
  '/',
  '%',
  '^',
  '..',
  '==',
  '~=',
  '<',
  '>',
  '<=',
  '>=',
  'and',
  'or',
  '.',
  ':',
]);
const CONTINUES = new Set([...BINARY, '(', '{', '[']);
