import type { Conf } from '../conf.js';
import {
  HSLI,
  LOCATION,
  LOCATION_IF,
  SERVER,
  SERVER_IF,
  loc,
  type Module,
  type Setter,
} from '../directive.js';
import { flag } from '../kinds.js';
import { parseNumber } from '../numbers.js';
import type { Condition } from '../plan.js';

const RUN = SERVER | SERVER_IF | LOCATION | LOCATION_IF;
const REDIRECT = /^(?:https?:\/\/|\$scheme)/;
const FLAGS = ['last', 'break', 'redirect', 'permanent'] as const;

const set: Setter = (cf, [target = '', value = '']) => {
  const name = cf.variableName(target);
  cf.define(name, { kind: 'set', weak: true });
  const index = cf.variable(name);
  cf.scope.rewrite.push({ op: 'set', var: index, value: cf.complex(value) });
};

const rewrite: Setter = (cf, [pattern = '', text = '', flagText]) => {
  if (text === '') throw cf.error('empty replacement');
  const regex = cf.regex(pattern);
  const bare = text.endsWith('?');
  const flag = FLAGS.find((f) => f === flagText);
  if (flagText !== undefined && flag === undefined)
    throw cf.error(`invalid parameter "${flagText}"`);
  cf.scope.rewrite.push({
    op: 'rewrite',
    regex,
    replacement: cf.complex(bare ? text.slice(0, -1) : text),
    add_args: !bare,
    absolute: REDIRECT.test(text),
    flag: flag ?? '',
  });
};

const doReturn: Setter = (cf, [code = '', text]) => {
  const status = parseNumber(code);
  if (status === undefined && text === undefined && REDIRECT.test(code)) {
    cf.scope.rewrite.push({ op: 'return', status: 302, text: cf.complex(code) });
    return;
  }
  if (status === undefined || status > 999) throw cf.error(`invalid return code "${code}"`);
  cf.scope.rewrite.push(
    text === undefined
      ? { op: 'return', status }
      : { op: 'return', status, text: cf.complex(text) },
  );
};

const doIf: Setter = (cf, args) => {
  const { rewrite: ops, context } = cf.scope;
  const inServer = context === SERVER;
  const outer = cf.scope;
  let cond: Condition | undefined;
  const scope = cf.inside(inServer ? 'server_if' : 'if', (block) => {
    block.name = outer.name;
    cond = condition(cf, args);
  });
  const then = scope.rewrite;
  scope.rewrite = [];
  ops.push(
    inServer
      ? { op: 'if', cond: cond as Condition, then }
      : { op: 'if', cond: cond as Condition, then, conf: scope.conf },
  );
};

const FILE_TESTS: Readonly<Record<string, 'file' | 'dir' | 'exists' | 'exec'>> = {
  f: 'file',
  d: 'dir',
  e: 'exists',
  x: 'exec',
};

/** The words of an `if`, with its brackets. */
function condition(cf: Conf, args: string[]): Condition {
  const words = [...args];
  const invalid = (word: string): Error => cf.error(`invalid condition "${word}"`);
  const first = words[0] as string;
  if (!first.startsWith('(')) throw invalid(first);
  if (first === '(') words.shift();
  else words[0] = first.slice(1);
  const last = words.at(-1) ?? first;
  if (!last.endsWith(')')) throw invalid(last);
  if (last === ')') words.pop();
  else words[words.length - 1] = last.slice(0, -1);

  const [subject = last, operator = '', value = ''] = words;
  if (subject.length > 1 && subject.startsWith('$')) {
    if (words.length !== 1 && words.length !== 3) throw invalid(subject);
    const index = cf.variable(subject.slice(1));
    if (words.length === 1) return { kind: 'var', var: index };
    const negate = operator.startsWith('!');
    switch (negate ? operator.slice(1) : operator) {
      case '=':
        return { kind: 'equal', var: index, value: cf.complex(value), negate };
      case '~':
        return { kind: 'match', var: index, regex: cf.regex(value), negate };
      case '~*':
        return { kind: 'match', var: index, regex: cf.regex(value, true), negate };
      default:
        throw cf.error(`unexpected "${operator}" in condition`);
    }
  }
  const test = /^(!?)-(.)$/s.exec(subject);
  if (test === null || words.length !== 2) throw invalid(subject);
  const path = cf.complex(operator);
  const kind = FILE_TESTS[test[2] ?? ''];
  if (kind === undefined) throw invalid(subject);
  return { kind, path, negate: test[1] === '!' };
}

export const rewriteModule: Module = {
  name: 'http_rewrite',
  rows: [
    loc('rewrite', RUN, '23', rewrite, { hidden: true }),
    loc('return', RUN, '12', doReturn, { hidden: true }),
    loc('break', RUN, '0', (cf) => void cf.scope.rewrite.push({ op: 'break' }), { hidden: true }),
    loc('if', SERVER | LOCATION, '1+', doIf, { hidden: true, block: '{}' }),
    loc('set', RUN, '2', set, { hidden: true }),
    loc('rewrite_log', HSLI | SERVER_IF, 'flag', flag(), { init: false }),
    loc('uninitialized_variable_warn', HSLI | SERVER_IF, 'flag', flag(), { init: true }),
  ],
};
