import type { Comment } from './lua_source.js';
import { splitType } from './type_text.js';

export interface Typed {
  readonly name: string;
  readonly optional: boolean;
  readonly type: string;
  readonly text: string;
}

/** What the `---@…` lines of one comment say. */
export interface Annotations {
  readonly text: readonly string[];
  readonly classes: readonly ClassNote[];
  readonly aliases: readonly {
    name: string;
    parameters: string;
    type: string;
    text: readonly string[];
  }[];
  readonly enumName: string | undefined;
  readonly params: readonly Typed[];
  readonly returns: readonly { type: string; text: string }[];
  readonly generics: readonly { name: string; base: string | undefined }[];
  readonly overloads: readonly string[];
  readonly type: string | undefined;
  readonly async: boolean;
  readonly deprecated: boolean;
  readonly hidden: boolean;
}

export interface ClassNote {
  readonly name: string;
  readonly parameters: string;
  readonly parents: readonly string[];
  readonly text: readonly string[];
  readonly fields: Typed[];
  /** `---@field [K] V`. */
  readonly indexers: { readonly key: string; readonly value: string }[];
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer U)[] ? U[] : T[K] };

const NOTHING = /^$/;

export function readAnnotations(comment: Comment | undefined): Annotations {
  const notes: Mutable<Annotations> = {
    text: [],
    classes: [],
    aliases: [],
    enumName: undefined,
    params: [],
    returns: [],
    generics: [],
    overloads: [],
    type: undefined,
    async: false,
    deprecated: false,
    hidden: false,
  };
  let text: string[] = [];
  let alias: { name: string; parameters: string; type: string; text: string[] } | undefined;
  const takeText = (): string[] => {
    const taken = text;
    text = [];
    return taken;
  };
  for (const line of comment?.lines ?? []) {
    const option = /^\|\s*[+>]?\s*(.*)$/.exec(line);
    if (option !== null && alias !== undefined) {
      const [type] = splitType((option[1] ?? '').replace(/\s*#.*$/, ''));
      alias.type = alias.type === '' ? type : `${alias.type}|${type}`;
      continue;
    }
    const tag = /^@(\w+)\s*(.*)$/.exec(line);
    if (tag === null) {
      if (!NOTHING.test(line) || text.length > 0) text.push(line);
      continue;
    }
    alias = undefined;
    const [, kind = '', rest = ''] = tag;
    switch (kind) {
      case 'class': {
        const match = /^(?:\([^)]*\)\s*)?([\w.*-]+)\s*(<[^>]*>)?\s*(?::\s*(.*))?$/.exec(rest);
        if (match === null) break;
        notes.classes.push({
          name: match[1] as string,
          parameters: match[2] ?? '',
          parents: parentsOf(match[3] ?? ''),
          text: takeText(),
          fields: [],
          indexers: [],
        });
        break;
      }
      case 'field': {
        const owner = notes.classes.at(-1);
        const named = /^(private|protected|public|package)?\s*(.*)$/.exec(rest);
        const [visibility, body = ''] = [named?.[1], named?.[2]];
        const field = /^(?:\["([^"]+)"\]|(\w+))(\?)?\s+(.*)$/.exec(body);
        const indexer = /^\[([^\]"]+)\]\s+(.*)$/.exec(body);
        if (owner === undefined || visibility === 'private' || visibility === 'protected') break;
        if (indexer !== null) {
          owner.indexers.push({
            key: indexer[1] as string,
            value: splitType(indexer[2] as string)[0],
          });
        } else if (field !== null) {
          owner.fields.push(typed((field[1] ?? field[2]) as string, field[3], field[4] as string));
        }
        takeText();
        break;
      }
      case 'alias': {
        const match = /^([\w.*-]+)\s*(<[^>]*>)?\s*(.*)$/.exec(rest);
        if (match === null) break;
        alias = {
          name: match[1] as string,
          parameters: match[2] ?? '',
          type: splitType(match[3] ?? '')[0],
          text: takeText(),
        };
        notes.aliases.push(alias);
        break;
      }
      case 'enum':
        notes.enumName = rest.replace(/^\([^)]*\)\s*/, '').split(/\s/)[0];
        break;
      case 'param': {
        const match = /^(\.\.\.|\w+)(\?)?\s*(.*)$/.exec(rest);
        if (match !== null) notes.params.push(typed(match[1] as string, match[2], match[3] ?? ''));
        break;
      }
      case 'vararg':
        notes.params.push(typed('...', undefined, rest));
        break;
      case 'return': {
        const [type, more] = splitType(rest);
        notes.returns.push({ type, text: more.replace(/^(?:\w+\s*)?#\s*/, '') });
        break;
      }
      case 'generic':
        for (const one of rest.split(',')) {
          const [name = '', base] = one.split(':').map((word) => word.trim());
          if (name !== '') notes.generics.push({ name, base });
        }
        break;
      case 'overload':
        notes.overloads.push(rest);
        break;
      case 'type':
        notes.type = splitType(rest)[0];
        break;
      case 'async':
        notes.async = true;
        break;
      case 'deprecated':
        notes.deprecated = true;
        break;
      case 'private':
      case 'protected':
        notes.hidden = true;
        break;
      default:
        break; // @see, @source, @meta, …: nothing for types
    }
  }
  notes.text = text;
  return notes;
}

function typed(name: string, optional: string | undefined, rest: string): Typed {
  const [type, text] = splitType(rest);
  return {
    name,
    optional: optional === '?' || type.endsWith('?') || /^nil\||\|nil\b/.test(type),
    type: type === '' ? 'unknown' : type,
    text: text.replace(/^[#@]\s*/, ''),
  };
}

function parentsOf(text: string): string[] {
  const parents: string[] = [];
  for (let rest = text; rest !== '';) {
    const [type, more] = splitType(rest);
    if (type === '') break;
    parents.push(type);
    rest = more.startsWith(',') ? more.slice(1).trim() : '';
  }
  return parents;
}
