import { ConfigError } from '../errors.js';

/** nginx reads its configuration through a buffer of this size; no word and no long bracket may exceed it. */
const BUFFER = 4096;

/** Words up to the character that ends them; `eof` and `}` come without words. */
export interface Statement {
  readonly words: string[];
  readonly end: ';' | '{' | '}' | 'eof';
}

const LUA_TOKEN =
  /[{}]|\[=*\[|--\[=*\[|\]=*\]|--[^\n]*|"(?:\\[^\n]|[^"\n\\])*"|'(?:\\[^\n]|[^'\n\\])*'/g;

/**
 * Reads one configuration text: nginx's grammar and, inside `*_by_lua_block`, as much of Lua's as is needed to find
 * the closing brace. `line` is where the last character that was read stands, which is the line that nginx reports.
 */
export class Reader {
  line: number;
  /** Where the statement that was read last begins. */
  firstLine = 1;
  private pos = 0;
  /** End of the part of the text that nginx's buffer would hold now. */
  private filled = 0;

  /** `file` is undefined for the text of the `-g` option. */
  constructor(
    readonly file: string | undefined,
    private readonly text: string,
  ) {
    this.line = file === undefined ? 0 : 1;
    if (file === undefined) this.filled = text.length;
  }

  next(): Statement {
    const words: string[] = [];
    for (;;) {
      const ch = this.skipSpace();
      if (words.length === 0) this.firstLine = this.line;
      switch (ch) {
        case '':
          if (words.length > 0) throw this.unexpectedEnd();
          return { words, end: 'eof' };
        case ';':
        case '{':
          this.pos++;
          if (words.length === 0) throw this.error(`unexpected "${ch}"`);
          return { words, end: ch };
        case '}':
          this.pos++;
          if (words.length > 0) throw this.error('unexpected "}"');
          return { words, end: '}' };
        case '"':
        case "'":
          words.push(this.quoted(ch));
          break;
        default:
          words.push(this.bare());
      }
    }
  }

  /** The text of a Lua block, after its `{` and up to the matching `}`. */
  luaBlock(): string {
    const { text } = this;
    const begin = this.pos;
    let opened = this.line;
    let level = 1;
    for (;;) {
      // lua-nginx-module keeps its buffer at least half full
      if (this.filled - this.pos < BUFFER / 2)
        this.filled = Math.min(text.length, this.pos + BUFFER);
      LUA_TOKEN.lastIndex = this.pos;
      const token = LUA_TOKEN.exec(text);
      if (token === null) {
        this.line = opened;
        throw this.error(
          'unexpected end of file, expecting terminating characters for lua code block',
        );
      }
      const found = token[0];
      let end = token.index + found.length;
      this.advance(token.index);
      this.filled = Math.max(this.filled, end);
      if (/^(?:--)?\[=*\[$/.test(found)) {
        const close = found.replace(/^--/, '').replaceAll('[', ']');
        const at = text.indexOf(close, end);
        end = at + close.length;
        // nginx looks no further than its buffer, where an unclosed bracket would otherwise swallow the whole file
        if (at < 0 || end > this.filled) {
          throw this.error(
            `Lua code block missing the closing long bracket "${close}", the inlined Lua code may be too long`,
          );
        }
      }
      this.advance(end);
      if (found === '{') {
        opened = this.line;
        level++;
      } else if (found === '}' && --level === 0) {
        return text.slice(begin, this.pos - 1);
      }
    }
  }

  error(words: string, directive?: string): ConfigError {
    if (this.file === undefined)
      return new ConfigError(words, { origin: 'command line', directive });
    return new ConfigError(words, { file: this.file, line: this.line, directive });
  }

  private unexpectedEnd(): ConfigError {
    if (this.file === undefined) return this.error('unexpected end of parameter, expecting ";"');
    return this.error('unexpected end of file, expecting ";" or "}"');
  }

  /** Skips blanks and comments; returns the character that stands there, or '' at the end. */
  private skipSpace(): string {
    const { text } = this;
    for (;;) {
      const ch = text.charAt(this.pos);
      if (ch === '#') {
        const end = text.indexOf('\n', this.pos);
        this.pos = end < 0 ? text.length : end;
      } else if (ch === '\n') {
        this.line++;
        this.pos++;
      } else if (ch === ' ' || ch === '\t' || ch === '\r') {
        this.pos++;
      } else {
        this.fill(this.pos);
        return ch;
      }
    }
  }

  private bare(): string {
    const { text } = this;
    const start = this.pos;
    const line = this.line;
    let variable = false;
    for (;;) {
      if (this.pos >= this.filled) this.fill(start, line);
      const ch = text.charAt(this.pos);
      if (ch === '') throw this.unexpectedEnd();
      if (ch === '{' && variable) {
        this.pos++;
        continue;
      }
      if (ch === ' ' || ch === '\t' || ch === '\r' || ch === '\n' || ch === ';' || ch === '{')
        break;
      variable = ch === '$';
      this.pos++;
      if (ch === '\\') this.escaped(start, line);
    }
    return unescape(text.slice(start, this.pos));
  }

  private quoted(quote: string): string {
    const { text } = this;
    const start = ++this.pos;
    const line = this.line;
    for (;;) {
      if (this.pos >= this.filled) this.fill(start, line, quote);
      const ch = text.charAt(this.pos);
      if (ch === '') throw this.unexpectedEnd();
      this.pos++;
      if (ch === quote) break;
      if (ch === '\n') this.line++;
      if (ch === '\\') this.escaped(start, line, quote);
    }
    const word = unescape(text.slice(start, this.pos - 1));
    const after = text.charAt(this.pos);
    if (after === '') throw this.unexpectedEnd();
    if (!' \t\r\n;{)'.includes(after)) throw this.error(`unexpected "${after}"`);
    return word;
  }

  private escaped(start: number, line: number, quote?: string): void {
    if (this.pos >= this.filled) this.fill(start, line, quote);
    const ch = this.text.charAt(this.pos);
    if (ch === '') throw this.unexpectedEnd();
    if (ch === '\n') this.line++;
    this.pos++;
  }

  /** Moves the buffer on, as nginx does when it has read all of it: a word that fills it is too long. */
  private fill(start: number, line = this.line, quote?: string): void {
    while (this.pos >= this.filled && this.filled < this.text.length) {
      const length = Math.max(this.filled, start) - start;
      if (length >= BUFFER) {
        this.line = line;
        throw this.error(
          quote === undefined
            ? `too long parameter "${this.text.slice(start, start + 10)}..." started`
            : `too long parameter, probably missing terminating "${quote}" character`,
        );
      }
      this.filled = Math.min(this.text.length, Math.max(this.filled, start) + BUFFER - length);
    }
  }

  private advance(to: number): void {
    for (let i = this.pos; i < to; i++) if (this.text.charCodeAt(i) === 10) this.line++;
    this.pos = to;
  }
}

function unescape(word: string): string {
  if (!word.includes('\\')) return word;
  return word.replace(/\\(["'\\trn])/g, (_, ch: string) => {
    if (ch === 't') return '\t';
    if (ch === 'r') return '\r';
    return ch === 'n' ? '\n' : ch;
  });
}
