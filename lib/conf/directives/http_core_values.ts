import type { Conf } from '../conf.js';
import type { Merge, Setter } from '../directive.js';
import { parseUrl } from '../inet.js';
import { DUPLICATE } from '../kinds.js';
import { parseNumber, parseSeconds } from '../numbers.js';
import type { Complex, ErrorPage } from '../plan.js';

/** `root` and `alias` are one value: where files lie. */
interface Root {
  readonly root: Complex;
  readonly alias: boolean;
  readonly alias_length: number;
}

function setRoot(isAlias: boolean): Setter {
  return (cf, [text = ''], row) => {
    const { scope } = cf;
    const old = scope.loc['root'] as Root | undefined;
    if (old !== undefined) {
      if (old.alias === isAlias) return DUPLICATE;
      const earlier = old.alias ? 'alias' : 'root';
      throw cf.error(
        `"${row.name}" directive is duplicate, "${earlier}" directive was specified earlier`,
      );
    }
    if (isAlias && scope.kind === 'named') {
      throw cf.error('the "alias" directive cannot be used inside the named location');
    }
    for (const name of ['document_root', 'realpath_root']) {
      if (text.includes(`$${name}`) || text.includes(`\${${name}}`)) {
        throw cf.error(`the $${name} variable cannot be used in the "${row.name}" directive`);
      }
    }
    const path = isAlias ? text : text.replace(/\/$/, '');
    const value: Root = {
      root: cf.complex(path.startsWith('$') ? path : cf.fullName(path)),
      alias: isAlias,
      alias_length: !isAlias ? 0 : scope.kind === 'regex' ? -1 : scope.name.length,
    };
    scope.loc['root'] = value;
  };
}

export const root = setRoot(false);
export const alias = setRoot(true);

export function mergeRoot(cf: Conf, { own, parent, conf }: Merge): void {
  const inherited = parent as unknown as Root | undefined;
  const value = (own['root'] as Root | undefined) ?? inherited;
  conf['root'] = value?.root ?? cf.fullName('html');
  conf['alias'] = value?.alias ?? false;
  conf['alias_length'] = value?.alias_length ?? 0;
}

export const types: Setter = (cf, _, row) => {
  const types = (cf.scope.loc[row.field] ??= {}) as Record<string, string>;
  cf.entries(([type = '', ...extensions]) => {
    if (type === 'include') {
      if (extensions.length !== 1)
        throw cf.error('invalid number of arguments in "include" directive');
      cf.include(extensions[0] as string);
      return;
    }
    for (const text of extensions) {
      const extension = text.toLowerCase();
      if (Object.hasOwn(types, extension)) {
        const old = types[extension] as string;
        cf.warn(
          `duplicate extension "${extension}", content type: "${type}", previous content type: "${old}"`,
        );
      }
      types[extension] = type;
    }
  });
};

/** Statuses of nginx's own that clients get as 400, unless the page says otherwise. */
const BAD_REQUESTS = [494, 495, 496, 497];

export const errorPage: Setter = (cf, args, row) => {
  const texts = args.slice(0, -1);
  const overwriteText = (texts.at(-1) ?? '').startsWith('=') ? (texts.pop() as string) : undefined;
  let overwrite = -1;
  if (overwriteText !== undefined) {
    const n = overwriteText === '=' ? 0 : parseNumber(overwriteText.slice(1));
    if (n === undefined || texts.length === 0) throw cf.error(`invalid value "${overwriteText}"`);
    overwrite = n;
  }
  const target = cf.complex(args.at(-1) as string);
  const pages = cf.list<ErrorPage>(row);
  const plain: number[] = [];
  for (const text of texts) {
    const code = parseNumber(text);
    if (code === undefined || code === 499) throw cf.error(`invalid value "${text}"`);
    if (code < 300 || code > 599) throw cf.error(`value "${text}" must be between 300 and 599`);
    if (overwrite === -1 && BAD_REQUESTS.includes(code))
      pages.push({ codes: [code], overwrite: 400, target });
    else plain.push(code);
  }
  if (plain.length > 0) pages.push({ codes: plain, overwrite, target });
};

export const resolver: Setter = (cf, args, row) => {
  const values = cf.values(row.level);
  if (row.field in values) return DUPLICATE;
  values[row.field] = parseResolver(cf, args);
};

export function parseResolver(cf: Conf, args: string[]): unknown {
  const plan = {
    servers: [] as { address: string; port: number }[],
    valid: undefined as number | undefined,
    ipv4: true,
    ipv6: true,
    local: false,
  };
  for (const text of args) {
    const [key = '', value = ''] = text.split(/=(.*)/s);
    const onOff = (): boolean => {
      if (value !== 'on' && value !== 'off') throw cf.error(`invalid parameter: ${text}`);
      return value === 'on';
    };
    if (key === 'valid' && text !== key) {
      plan.valid = parseSeconds(value);
      if (plan.valid === undefined) throw cf.error(`invalid parameter: ${text}`);
    } else if ((key === 'ipv4' || key === 'ipv6' || key === 'local') && text !== key) {
      plan[key] = onOff();
    } else if (key === 'status_zone' && text !== key) {
      throw cf.error(`invalid parameter: ${text}`);
    } else {
      const url = parseUrl(text, { defaultPort: 53 });
      if (typeof url === 'string') throw cf.error(`${url} in resolver "${text}"`);
      for (const { host, port } of url.addresses) plan.servers.push({ address: host, port });
    }
  }
  if (!plan.ipv4 && !plan.ipv6) throw cf.error('"ipv4" and "ipv6" cannot both be "off"');
  if (plan.servers.length === 0 && !plan.local) throw cf.error('no name servers defined');
  const { valid, ...rest } = plan;
  return valid === undefined ? rest : { ...rest, valid };
}
