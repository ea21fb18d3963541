import type { Bytes, Complex, ComplexPart } from './plan.js';

const NAME = /[A-Za-z0-9_]*/y;

/**
 * Compiles a text with `$name`, `${name}` and `$1`…`$9`. `variable` gives the index for a name; `fail` throws an error
 * with nginx's sentence.
 */
export function compileComplex(
  text: Bytes,
  variable: (name: string) => number,
  fail: (sentence: string) => never,
): Complex {
  const parts: ComplexPart[] = [];
  let literal = '';
  let i = 0;
  const push = (part: ComplexPart): void => {
    if (literal !== '') parts.push(literal);
    literal = '';
    parts.push(part);
  };
  while (i < text.length) {
    if (text[i] !== '$') {
      const end = text.indexOf('$', i);
      literal += text.slice(i, end < 0 ? text.length : end);
      i = end < 0 ? text.length : end;
      continue;
    }
    const next = text.charAt(++i);
    if (next >= '1' && next <= '9') {
      push({ cap: Number(next) });
      i++;
      continue;
    }
    const bracket = next === '{';
    if (bracket) i++;
    if (i >= text.length) fail('invalid variable name');
    NAME.lastIndex = i;
    const name = (NAME.exec(text) as RegExpExecArray)[0];
    i += name.length;
    if (bracket) {
      if (text[i] !== '}') fail(`the closing bracket in "${name}" variable is missing`);
      i++;
    }
    if (name === '') fail('invalid variable name');
    push({ var: variable(name) });
  }
  if (parts.length === 0) return literal;
  if (literal !== '') parts.push(literal);
  return parts;
}

export function hasVariables(text: Bytes): boolean {
  return text.includes('$');
}
