import type { Conf } from '../conf.js';
import { LOCATION, type Setter } from '../directive.js';
import { DUPLICATE } from '../kinds.js';
import type { ScopeKind } from '../scope.js';

interface Name {
  kind: ScopeKind;
  name: string;
  noregex: boolean;
  caseless: boolean;
}

function nameOf(cf: Conf, args: string[]): Name {
  const plain = (kind: ScopeKind, name: string): Name => ({
    kind,
    name,
    noregex: false,
    caseless: false,
  });
  if (args.length === 2) {
    const [modifier = '', name = ''] = args;
    switch (modifier) {
      case '=':
        return plain('exact', name);
      case '^~':
        return { ...plain('prefix', name), noregex: true };
      case '~':
        return plain('regex', name);
      case '~*':
        return { ...plain('regex', name), caseless: true };
      default:
        throw cf.error(`invalid location modifier "${modifier}"`);
    }
  }
  const [text = ''] = args;
  if (text.startsWith('=')) return plain('exact', text.slice(1));
  if (text.startsWith('^~')) return { ...plain('prefix', text.slice(2)), noregex: true };
  if (text.startsWith('~*')) return { ...plain('regex', text.slice(2)), caseless: true };
  if (text.startsWith('~')) return plain('regex', text.slice(1));
  return plain(text.startsWith('@') ? 'named' : 'prefix', text);
}

export const location: Setter = (cf, args) => {
  const { kind, name, noregex, caseless } = nameOf(cf, args);
  const regex = kind === 'regex' ? cf.regex(name, caseless) : undefined;
  const outer = cf.scope;
  if (outer.context === LOCATION) {
    if (outer.kind === 'exact') {
      throw cf.error(`location "${name}" cannot be inside the exact location "${outer.name}"`);
    }
    if (outer.kind === 'named') {
      throw cf.error(`location "${name}" cannot be inside the named location "${outer.name}"`);
    }
    if (kind === 'named')
      throw cf.error(`named location "${name}" can be on the server level only`);
    if (kind !== 'regex' && !name.startsWith(outer.name)) {
      throw cf.error(`location "${name}" is outside location "${outer.name}"`);
    }
  }
  cf.inside(kind, (scope) => {
    scope.name = name;
    scope.noregex = noregex;
    scope.regex = regex;
  });
};

const METHODS =
  `GET HEAD POST PUT DELETE MKCOL COPY MOVE OPTIONS PROPFIND PROPPATCH LOCK UNLOCK PATCH`.split(
    ' ',
  );

export const limitExcept: Setter = (cf, args) => {
  const outer = cf.scope;
  if (outer.limitExcept !== undefined) return DUPLICATE;
  const methods = new Set<string>();
  for (const text of args) {
    const method = text.toUpperCase();
    if (!METHODS.includes(method)) throw cf.error(`invalid method "${text}"`);
    methods.add(method);
  }
  if (methods.has('GET')) methods.add('HEAD');
  cf.inside('limit_except', (scope) => {
    scope.name = outer.name;
    outer.limitExcept = { methods: [...methods], scope };
  });
};
