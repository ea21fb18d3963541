import { readAnnotations, type Annotations, type ClassNote, type Typed } from './annotations.js';
import {
  readLua,
  type Assignment,
  type Comment,
  type LuaFunction,
  type LuaSource,
  type Value,
} from './lua_source.js';
import {
  isReserved,
  parameterName,
  propertyName,
  requireBefore,
  typeName,
  typeText,
  wrapFunction,
} from './type_text.js';

/** A Lua module: its name as a relative path without `.lua`, and its text. */
export interface LuaModule {
  readonly name: string;
  readonly text: string;
}
export interface Declarations {
  readonly name: string;
  readonly text: string;
}

/** Which of the first lines says that a file is ours. */
export const HEADER =
  '// Written by `moonphase types`; change the annotations of the Lua file instead.';

/** The declarations of modules that may use each other's classes. `unknown` is called for names that nobody declares. */
export function declare(
  modules: readonly LuaModule[],
  unknown: (module: string, type: string) => void = () => undefined,
): Declarations[] {
  const sources = modules.map(({ name, text }) => ({ name, source: readLua(text) }));
  const owners = new Map<string, string>();
  const classes = new Set<string>();
  const parents = new Set<string>();
  for (const { name, source } of sources) {
    for (const comment of source.comments) {
      const notes = readAnnotations(comment);
      const names = [...notes.classes, ...notes.aliases].map((one) => one.name);
      for (const one of notes.classes) {
        classes.add(one.name);
        for (const parent of one.parents) parents.add(parent.replace(/<[^]*/, ''));
      }
      if (notes.enumName !== undefined) names.push(notes.enumName);
      for (const one of names) if (!owners.has(one)) owners.set(one, name);
    }
  }
  return sources.map(({ name, source }) => ({
    name,
    text: new Writer(name, source, { owners, classes, parents }, (type) =>
      unknown(name, type),
    ).write(),
  }));
}

/** What all modules declare. */
interface Names {
  /** Of classes, aliases and enums: the module. */
  readonly owners: ReadonlyMap<string, string>;
  readonly classes: ReadonlySet<string>;
  /** Classes that others extend. */
  readonly parents: ReadonlySet<string>;
}

interface ClassParts {
  readonly note: ClassNote;
  readonly members: Map<string, string>;
}

class Writer {
  private readonly out: string[] = [];
  private readonly imports = new Map<string, Set<string>>();
  private generics = new Set<string>();
  /** Classes by the variable that has their methods. */
  private readonly variables = new Map<string, ClassParts>();
  private readonly classes = new Map<string, ClassParts>();

  constructor(
    private readonly module: string,
    private readonly source: LuaSource,
    private readonly names: Names,
    private readonly unknown: (type: string) => void,
  ) {}

  write(): string {
    this.collectClasses();
    for (const comment of this.source.comments) this.aliases(comment);
    this.enums();
    const exported = this.exports();
    for (const { note, members } of this.classes.values()) this.interface(note, members);
    this.out.push(...exported);
    const imports = [...this.imports].map(
      ([from, names]) =>
        `import type { ${[...names].sort().join(', ')} } from '${relative(this.module, from)}.js';`,
    );
    const body = this.out.length === 0 ? ['export {};'] : this.out;
    return [HEADER, ...imports, '', ...body, ''].join('\n');
  }

  // --- types ---

  private type(lua: string): string {
    const { owners, classes } = this.names;
    const nameOf = (name: string): string | undefined => {
      if (this.generics.has(name)) return typeName(name);
      const owner = owners.get(name);
      if (owner === undefined) {
        this.unknown(name);
        return undefined;
      }
      const known = typeName(name);
      if (owner !== this.module) {
        const names = this.imports.get(owner) ?? new Set();
        this.imports.set(owner, names.add(known));
      }
      return known;
    };
    const keyed = (name: string): boolean =>
      this.generics.has(name) || (owners.has(name) && !classes.has(name));
    return typeText(lua, nameOf, keyed);
  }

  private parameters(text: string): string {
    for (const name of text.match(/\w+/g) ?? []) this.generics.add(name);
    return text;
  }

  private collectClasses(): void {
    const add = (note: ClassNote): ClassParts => {
      const old = this.classes.get(note.name);
      if (old !== undefined) {
        old.note.fields.push(...note.fields);
        return old;
      }
      const parts = { note, members: new Map<string, string>() };
      this.classes.set(note.name, parts);
      return parts;
    };
    const bound = new Map<Comment, string>();
    for (const { path, comment } of this.source.assignments) {
      if (comment !== undefined && path.length === 1) bound.set(comment, path[0] as string);
    }
    for (const comment of this.source.comments) {
      const { classes } = readAnnotations(comment);
      const variable = bound.get(comment);
      classes.forEach((note, i) => {
        const parts = add(note);
        if (variable !== undefined && i === classes.length - 1) this.variables.set(variable, parts);
      });
    }
  }

  private aliases(comment: Comment): void {
    for (const { name, parameters, type, text } of readAnnotations(comment).aliases) {
      this.generics = new Set();
      const generic = this.parameters(parameters);
      this.doc(text, '');
      this.out.push(`export type ${typeName(name)}${generic} = ${this.type(type)};`, '');
    }
    this.generics = new Set();
  }

  private enums(): void {
    for (const { value, comment } of this.source.assignments) {
      const { enumName } = readAnnotations(comment);
      if (enumName === undefined || value.kind !== 'table') continue;
      const values = value.fields.flatMap((f) =>
        f.value.kind === 'literal' ? [literal(f.value)] : [],
      );
      const type = values.length === 0 ? 'unknown' : [...new Set(values)].join(' | ');
      this.out.push(`export type ${typeName(enumName)} = ${type};`, '');
    }
  }

  private interface(note: ClassNote, members: ReadonlyMap<string, string>): void {
    this.generics = new Set();
    const generic = this.parameters(note.parameters);
    const parents = note.parents
      .map((parent) => this.type(parent))
      .filter((type) => /^[A-Za-z_]\w*(?:<.*>)?$/.test(type) && type !== 'unknown');
    this.doc(note.text, '');
    const base = parents.length === 0 ? '' : ` extends ${parents.join(', ')}`;
    this.out.push(`export interface ${typeName(note.name)}${generic}${base} {`);
    const seen = new Set<string>();
    for (const field of note.fields) {
      if (seen.has(field.name)) continue;
      seen.add(field.name);
      this.doc(field.text === '' ? [] : [field.text], '  ');
      this.out.push(`  ${this.property(field)};`);
    }
    for (const { key, value } of note.indexers) {
      if (this.type(key) === 'number') {
        this.out.push(`  [key: number]: ${this.type(value)};`);
        continue;
      }
      // In TypeScript what has a name is one of the others, too: here, in the parents, and in what extends this class.
      const self = `${typeName(note.name)}${generic}`;
      const named = [...new Set([...seen, ...members.keys()])].map(
        (one) => `${self}[${JSON.stringify(one)}]`,
      );
      const inherited = parents.map((parent) => `${parent}[keyof ${parent}]`);
      const own = this.type(value);
      const type =
        own === 'unknown' || this.names.parents.has(note.name)
          ? 'unknown'
          : [wrapFunction(own), ...named, ...inherited].join(' | ');
      this.out.push(`  [key: string]: ${type};`);
    }
    for (const [name, text] of members) if (!seen.has(name)) this.out.push(text);
    this.out.push('}', '');
    this.generics = new Set();
  }

  private property({ name, optional, type }: Typed): string {
    return `${propertyName(name)}${optional ? '?' : ''}: ${this.type(type)}`;
  }

  // --- what the module returns ---

  private exports(): string[] {
    const { returned, assignments } = this.source;
    // Methods become part of their class, whether it is what the module returns or not.
    for (const assignment of assignments) this.member(assignment);
    if (returned === undefined) return [];
    if (returned.kind === 'table') {
      return returned.fields.flatMap(({ name, value, comment }) =>
        this.export(name, this.resolve(value), comment ?? this.commentOf(value)),
      );
    }
    if (returned.kind === 'function') {
      return this.whole(returned, this.source.returnComment);
    }
    if (returned.kind !== 'name') return [];
    const { name } = returned;
    const definition = this.definition(name);
    if (definition?.value.kind === 'function')
      return this.whole(definition.value, definition.comment);
    const own = this.variables.get(name);
    const lines: string[] = [];
    const seen = new Set<string>();
    const add = (field: string, value: Value, comment: Comment | undefined): void => {
      if (seen.has(field) || (own !== undefined && isMethod(value))) return;
      seen.add(field);
      lines.push(...this.export(field, this.resolve(value), comment ?? this.commentOf(value)));
    };
    if (definition?.value.kind === 'table') {
      for (const { name: field, value, comment } of definition.value.fields)
        add(field, value, comment);
    }
    for (const { path, value, comment } of assignments) {
      if (path.length === 2 && path[0] === name && !path[1]?.startsWith('__')) {
        add(path[1] as string, value, comment);
      }
    }
    // Fields of the class that the module is.
    for (const field of own?.note.fields ?? []) {
      if (seen.has(field.name)) continue;
      seen.add(field.name);
      lines.push(
        ...this.exportAs(
          field.name,
          (as) => [`const ${as}: ${this.fieldType(own?.note, field)};`],
          [],
        ),
      );
    }
    if (own !== undefined) {
      for (const [member, text] of own.members) {
        if (seen.has(member)) continue;
        lines.push(
          ...this.exportAs(member, (as) => [`const ${as}: ${anyOf(own.note)}["${member}"];`], []),
        );
        void text;
      }
    }
    return lines;
  }

  private fieldType(note: ClassNote | undefined, field: Typed): string {
    return note === undefined || note.parameters === ''
      ? this.type(field.type)
      : `${anyOf(note)}[${JSON.stringify(field.name)}]`;
  }

  /** `function Class:method()`, and fields that are assigned: members of the class. */
  private member({ path, value, comment }: Assignment): void {
    const parts = this.variables.get(path[0] as string);
    const name = path[1];
    if (parts === undefined || path.length !== 2 || name === undefined || !isMethod(value)) return;
    const notes = readAnnotations(comment);
    if (notes.hidden || name.startsWith('__')) return;
    const fn = (value as { fn: LuaFunction }).fn;
    this.generics = new Set(parts.note.parameters.match(/\w+/g) ?? []);
    const lines = this.signatures(fn, notes, '').map((s) => `  ${propertyName(name)}${s};`);
    parts.members.set(name, [...docLines(notes, '  '), ...lines].join('\n'));
    this.generics = new Set();
  }

  /** A module that is one function. */
  private whole(value: Value, comment: Comment | undefined): string[] {
    if (value.kind !== 'function') return [];
    const notes = readAnnotations(comment);
    const lines = this.signatures(value.fn, notes, '').map((s) => `declare function module${s};`);
    return [...docLines(notes, ''), ...lines, 'export default module;'];
  }

  private export(name: string, value: Value, comment: Comment | undefined): string[] {
    const notes = readAnnotations(comment);
    if (notes.hidden) return [];
    const docs = docLines(notes, '');
    if (value.kind === 'function') {
      const first = value.fn.method ? 'self: unknown' : '';
      const signatures = this.signatures(value.fn, notes, first);
      return this.exportAs(name, (as) => signatures.map((s) => `function ${as}${s};`), docs);
    }
    return this.exportAs(name, (as) => [`const ${as}: ${this.valueType(value, notes)};`], docs);
  }

  private exportAs(
    name: string,
    lines: (as: string) => string[],
    docs: readonly string[],
  ): string[] {
    if (/^[A-Za-z_]\w*$/.test(name) && !isReserved(name)) {
      return [...docs, ...lines(name).map((line) => `export ${line}`), ''];
    }
    const as = `_${name.replace(/\W/g, '_')}`;
    const known = /^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name);
    return [
      ...docs,
      ...lines(as).map((line) => `declare ${line}`),
      `export { ${as} as ${known} };`,
      '',
    ];
  }

  private valueType(value: Value, notes: Annotations): string {
    if (notes.type !== undefined) return this.type(notes.type);
    if (notes.enumName !== undefined && value.kind === 'table')
      return this.literalTable(value.fields);
    const note = notes.classes.at(-1);
    if (note !== undefined) return anyOf(note);
    switch (value.kind) {
      case 'literal':
        return value.type;
      case 'name': {
        const parts = this.variables.get(value.name);
        return parts === undefined ? 'unknown' : anyOf(parts.note);
      }
      case 'table': {
        if (value.fields.length === 0) return 'unknown';
        return this.objectType(value.fields);
      }
      default:
        return 'unknown';
    }
  }

  private literalTable(fields: readonly { name: string; value: Value }[]): string {
    const parts = fields.map(
      ({ name, value }) =>
        `readonly ${propertyName(name)}: ${value.kind === 'literal' ? literal(value) : 'unknown'}`,
    );
    return `{ ${parts.join('; ')} }`;
  }

  private objectType(
    fields: readonly { name: string; value: Value; comment: Comment | undefined }[],
  ): string {
    const parts = fields.map(({ name, value, comment }) => {
      const resolved = this.resolve(value);
      const notes = readAnnotations(comment ?? this.commentOf(value));
      if (resolved.kind !== 'function')
        return `${propertyName(name)}: ${this.valueType(resolved, notes)}`;
      return this.signatures(resolved.fn, notes, '')
        .map((s) => `${propertyName(name)}${s}`)
        .join('; ');
    });
    return `{ ${parts.join('; ')} }`;
  }

  // --- functions ---

  /** `(a: string, b?: number): string`, one for each overload. */
  private signatures(fn: LuaFunction, notes: Annotations, first: string): string[] {
    const outer = this.generics;
    this.generics = new Set([...outer, ...notes.generics.map(({ name }) => name)]);
    const generic =
      notes.generics.length === 0
        ? ''
        : `<${notes.generics
            .map(({ name, base }) =>
              base === undefined ? name : `${name} extends ${this.type(base)}`,
            )
            .join(', ')}>`;
    const annotated = notes.params.length > 0 || notes.returns.length > 0;
    const parameters = fn.parameters
      .filter((name, i) => !(i === 0 && name === 'self' && !fn.method && first === ''))
      .map((name) => {
        const note = notes.params.find((param) => param.name === name);
        if (name === '...') {
          const type = note === undefined ? 'unknown' : this.type(note.type);
          return `...args: ${/[|]|=>/.test(type) ? `(${type})` : type}[]`;
        }
        if (note === undefined) return `${parameterName(name)}?: unknown`;
        return `${parameterName(name)}${note.optional ? '?' : ''}: ${this.type(note.type)}`;
      });
    if (first !== '') parameters.unshift(first);
    const [result] = notes.returns;
    const plain = result !== undefined ? this.type(result.type) : annotated ? 'void' : 'unknown';
    const returns = notes.async ? `Promise<${plain}>` : plain;
    const all = [`${generic}(${requireBefore(parameters).join(', ')}): ${returns}`];
    for (const overload of notes.overloads) {
      const type = this.type(overload);
      const arrow = splitArrow(type);
      if (arrow !== undefined) all.push(`${generic}(${arrow[0]}): ${arrow[1]}`);
    }
    this.generics = outer;
    return all;
  }

  // --- names of the file ---

  private definition(name: string): Assignment | undefined {
    return this.source.assignments.findLast(({ path }) => path.length === 1 && path[0] === name);
  }

  /** What a name stands for, where it is one of the file's functions or literals. */
  private resolve(value: Value): Value {
    if (value.kind !== 'name') return value;
    const definition = this.definition(value.name);
    if (definition === undefined || this.variables.has(value.name)) return value;
    return definition.value.kind === 'name' ? value : definition.value;
  }

  private commentOf(value: Value): Comment | undefined {
    return value.kind === 'name' ? this.definition(value.name)?.comment : undefined;
  }

  private doc(text: readonly string[], indent: string): void {
    this.out.push(...docComment(text, indent));
  }
}

/** A class, of whatever its type parameters are. */
function anyOf({ name, parameters }: ClassNote): string {
  const count = parameters.match(/\w+/g)?.length ?? 0;
  return count === 0
    ? typeName(name)
    : `${typeName(name)}<${new Array(count).fill('unknown').join(', ')}>`;
}

function isMethod(value: Value): boolean {
  return value.kind === 'function' && (value.fn.method || value.fn.parameters[0] === 'self');
}

function literal(value: { readonly text: string; readonly type: string }): string {
  if (value.type !== 'string')
    return value.type === 'number' ? String(Number(value.text)) : value.text;
  return JSON.stringify(
    value.text.replace(/^\[=*\[|\]=*\]$/g, '').replace(/^(["'])(.*)\1$/s, '$2'),
  );
}

/** `(a) => b` in two. */
function splitArrow(type: string): [string, string] | undefined {
  let depth = 0;
  for (let i = 0; i < type.length; i++) {
    if (type[i] === '(') depth++;
    else if (type[i] === ')' && --depth === 0) {
      const rest = /^\s*=>\s*([^]*)$/.exec(type.slice(i + 1));
      return rest === null ? undefined : [type.slice(1, i), rest[1] as string];
    }
  }
  return undefined;
}

function docLines(notes: Annotations, indent: string): string[] {
  const text = [...notes.text];
  for (const { name, text: about } of notes.params) {
    if (about !== '') text.push(`@param ${name === '...' ? 'args' : parameterName(name)} ${about}`);
  }
  const [first, ...more] = notes.returns;
  if (first !== undefined && first.text !== '') text.push(`@returns ${first.text}`);
  if (more.length > 0) {
    text.push(
      `Lua returns more, JavaScript gets the first: ${more.map(({ type }) => type).join(', ')}.`,
    );
  }
  if (notes.deprecated) text.push('@deprecated');
  return docComment(text, indent);
}

function docComment(text: readonly string[], indent: string): string[] {
  const lines = text.map((line) => line.replaceAll('*/', '*\\/'));
  if (lines.length === 0) return [];
  if (lines.length === 1) return [`${indent}/** ${lines[0]} */`];
  return [`${indent}/**`, ...lines.map((line) => `${indent} * ${line}`.trimEnd()), `${indent} */`];
}

/** The path from one module to another. */
function relative(from: string, to: string): string {
  const here = from.split('/').slice(0, -1);
  const there = to.split('/');
  while (here.length > 0 && here[0] === there[0]) {
    here.shift();
    there.shift();
  }
  return `${here.length === 0 ? './' : '../'.repeat(here.length)}${there.join('/')}`;
}
