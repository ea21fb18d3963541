/**
 * A type of LuaLS' annotations as TypeScript writes it. `name` says what a class or alias is called; undefined: unknown.
 * `keyed` says whether what has that name may be the key of an object: a type parameter or alias, but no class.
 */
export function typeText(
  text: string,
  name: (lua: string) => string | undefined,
  keyed: (lua: string) => boolean = () => false,
): string {
  const parser = new TypeParser(text, name, keyed);
  const result = parser.union();
  return parser.atEnd ? result : 'unknown';
}

/** Takes a type off the front of an annotation's text; what follows is its description. */
export function splitType(text: string): [type: string, rest: string] {
  const parser = new TypeParser(text, (lua) => lua);
  parser.union();
  return [text.slice(0, parser.used).trim(), text.slice(parser.used).trim()];
}

const BUILTIN: Readonly<Record<string, string>> = {
  nil: 'undefined',
  boolean: 'boolean',
  bool: 'boolean',
  number: 'number',
  integer: 'number',
  int: 'number',
  string: 'string',
  any: 'unknown',
  unknown: 'unknown',
  table: 'Record<string, unknown>',
  userdata: 'unknown',
  lightuserdata: 'unknown',
  thread: 'unknown',
  cdata: 'bigint',
  void: 'void',
  function: '(...args: unknown[]) => unknown',
  true: 'true',
  false: 'false',
  self: 'unknown',
};

const NAME = /[A-Za-z_][\w.*-]*/y;
const SPACE = /\s*/y;
const LITERAL = /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`|-?\d+(?:\.\d+)?/y;

const ANY_KEY = '[key: string]';

class TypeParser {
  used = 0;
  private at = 0;

  constructor(
    private readonly text: string,
    private readonly name: (lua: string) => string | undefined,
    private readonly keyed: (lua: string) => boolean = () => false,
  ) {}

  get atEnd(): boolean {
    return this.text.slice(this.used).trim() === '';
  }

  /** `A|B?`. */
  union(): string {
    const parts = [this.postfix()];
    while (this.take('|')) parts.push(this.postfix());
    return unionOf(parts);
  }

  private postfix(): string {
    let type = this.atom();
    for (;;) {
      if (this.take('[]')) type = `${wrap(type)}[]`;
      else if (this.take('?'))
        type = type === 'unknown' ? type : `${wrapFunction(type)} | undefined`;
      else return type;
    }
  }

  private atom(): string {
    if (this.take('(')) {
      const inner = this.union();
      this.take(')');
      return /[|]|=>/.test(inner) ? `(${inner})` : inner;
    }
    if (this.take('{')) return this.table();
    if (this.take('[')) {
      const items = this.list(']', () => this.union());
      return `[${items.join(', ')}]`;
    }
    const literal = this.match(LITERAL);
    if (literal !== undefined) {
      if (literal.startsWith('`')) return this.named(literal.slice(1, -1));
      return literal.startsWith("'") ? JSON.stringify(literal.slice(1, -1)) : literal;
    }
    const word = this.match(NAME);
    if (word === undefined) return 'unknown';
    if (word === 'fun' && this.take('(')) return this.fun();
    if (this.take('<')) {
      const from = this.at;
      const args = this.list('>', () => this.union());
      if (word === 'table') {
        const named = /^\s*([A-Za-z_][\w.*-]*)\s*,/.exec(this.text.slice(from))?.[1];
        const keyed = named !== undefined && this.keyed(named);
        return tableOf(args[0] ?? 'unknown', args[1] ?? 'unknown', keyed);
      }
      const known = this.name(word);
      return known === undefined ? 'unknown' : `${known}<${args.join(', ')}>`;
    }
    return this.named(word);
  }

  private named(word: string): string {
    return Object.hasOwn(BUILTIN, word)
      ? (BUILTIN[word] as string)
      : (this.name(word) ?? 'unknown');
  }

  /** Behind `fun(`. */
  private fun(): string {
    const parameters = this.list(')', () => {
      if (this.take('...')) return `...args: ${wrap(this.take(':') ? this.union() : 'unknown')}[]`;
      const name = parameterName(this.match(NAME) ?? 'arg');
      const optional = this.take('?') ? '?' : '';
      return `${name}${optional}: ${this.take(':') ? this.union() : 'unknown'}`;
    });
    let result = 'void';
    if (this.take(':')) {
      // Several results: JavaScript gets the first. A comma may also belong to what is around.
      const parenthesised = this.peek('(');
      result = this.postfix();
      while (this.take('|')) result += ` | ${wrapFunction(this.postfix())}`;
      if (!parenthesised && result === '') result = 'unknown';
    }
    return `(${requireBefore(parameters).join(', ')}) => ${result}`;
  }

  /** Behind `{`. */
  private table(): string {
    const named: string[] = [];
    let others: string[] = [];
    const items = this.list('}', () => {
      if (this.take('[')) {
        const key = this.union();
        this.take(']');
        this.take(':');
        const value = this.union();
        if (/^"/.test(key)) {
          named.push(value);
          return `${key}: ${value}`;
        }
        if (key === 'number') return `[key: number]: ${value}`;
        others = [value];
        return ANY_KEY;
      }
      const name = this.match(NAME) ?? this.match(LITERAL) ?? '';
      const optional = this.take('?') ? '?' : '';
      if (!this.take(':')) return '';
      const type = this.union();
      named.push(type, ...(optional === '' ? [] : ['undefined']));
      return `${propertyName(name)}${optional}: ${type}`;
    });
    // In TypeScript what has a name is one of the others, too.
    const any = unionOf([...others, ...named]);
    const all = items
      .filter((item) => item !== '')
      .map((item) => (item === ANY_KEY ? `${ANY_KEY}: ${any}` : item));
    return all.length === 0 ? 'Record<string, unknown>' : `{ ${all.join('; ')} }`;
  }

  private list(end: string, item: () => string): string[] {
    const items: string[] = [];
    for (let before = -1; !this.take(end) && this.at !== before;) {
      before = this.at;
      items.push(item());
      this.take(',');
      this.take(';');
    }
    return items;
  }

  private skip(): void {
    SPACE.lastIndex = this.at;
    SPACE.exec(this.text);
    this.at = SPACE.lastIndex;
  }

  private peek(token: string): boolean {
    const from = this.at;
    this.skip();
    const found = this.text.startsWith(token, this.at);
    this.at = from;
    return found;
  }

  private take(token: string): boolean {
    const from = this.at;
    this.skip();
    if (!this.text.startsWith(token, this.at)) {
      this.at = from;
      return false;
    }
    this.at += token.length;
    this.used = this.at;
    return true;
  }

  private match(pattern: RegExp): string | undefined {
    const from = this.at;
    this.skip();
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0];
    if (found === undefined) {
      this.at = from;
      return undefined;
    }
    this.at += found.length;
    this.used = this.at;
    return found;
  }
}

const KEY = /^(?:string|number|"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?)$/;

/** Tables with other keys than text and numbers are Maps. */
function tableOf(key: string, value: string, keyed: boolean): string {
  if (key === 'unknown') return `Record<string, ${value}>`;
  if (keyed) return `Record<${key} & PropertyKey, ${value}>`;
  if (key.split(' | ').every((one) => KEY.test(one))) return `Record<${key}, ${value}>`;
  return `Map<${key}, ${value}>`;
}

function unionOf(parts: readonly string[]): string {
  const flat = [...new Set(parts)];
  if (flat.length === 1) return flat[0] as string;
  return flat.includes('unknown') ? 'unknown' : flat.map(wrapFunction).join(' | ');
}

function wrap(type: string): string {
  return /\||=>/.test(type) && !/^[({[]/.test(type) ? `(${type})` : type;
}

export function wrapFunction(type: string): string {
  return type.includes('=>') && !type.startsWith('(') === false && !/^\(.*\)$/.test(type)
    ? `(${type})`
    : type;
}

/** TypeScript has no required parameter behind an optional one. */
export function requireBefore(parameters: string[]): string[] {
  let required = false;
  return parameters
    .slice()
    .reverse()
    .map((parameter) => {
      if (parameter.startsWith('...')) return parameter;
      const match = /^([\w$]+)\?: ([^]*)$/.exec(parameter);
      if (match === null) {
        required = true;
        return parameter;
      }
      return required ? `${match[1]}: ${match[2]} | undefined` : parameter;
    })
    .reverse();
}

const RESERVED = new Set(
  (
    'arguments await break case catch class const continue debugger default delete do else enum eval export extends ' +
    'false finally for function if implements import in instanceof interface let new null package private protected ' +
    'public return static super switch this throw true try typeof var void while with yield'
  ).split(' '),
);

export function isReserved(name: string): boolean {
  return RESERVED.has(name);
}

export function parameterName(name: string): string {
  return RESERVED.has(name) || name === 'this' ? `${name}_` : name.replace(/\W/g, '_');
}

export function propertyName(name: string): string {
  if (/^["']/.test(name)) return JSON.stringify(name.slice(1, -1));
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name);
}

/** A class of Lua may have dots in its name. */
export function typeName(lua: string): string {
  const name = lua.replace(/\W/g, '_');
  return RESERVED.has(name) || Object.hasOwn(BUILTIN, name) ? `${name}_` : name;
}
