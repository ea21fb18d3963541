import { ConfigError } from '../errors.js';
import type { Conf } from './conf.js';
import type { Directive, Level, Merge, Values } from './directive.js';
import type { LocationTree, ServerName, ServerPlan, LocationConf } from './plan.js';
import type { Scope } from './scope.js';
import { MODULES } from './table.js';

/** Inheritance: http → server → location → nested location → `if` and `limit_except`. */

interface Field {
  readonly name: string;
  readonly init: unknown;
  readonly inherit: boolean;
}

function fieldsOf(rows: readonly Directive[], level: Level): Field[] {
  const fields = new Map<string, Field>();
  for (const { field, init, inherit, hidden, level: of } of rows) {
    if (of === level && hidden !== true && !fields.has(field))
      fields.set(field, { name: field, init, inherit });
  }
  return [...fields.values()];
}

const ALL_ROWS = MODULES.flatMap((m) => m.rows);
const FIELDS: Readonly<Record<Level, Field[]>> = {
  process: fieldsOf(ALL_ROWS, 'process'),
  main: fieldsOf(ALL_ROWS, 'main'),
  upstream: fieldsOf(ALL_ROWS, 'upstream'),
  srv: fieldsOf(ALL_ROWS, 'srv'),
  loc: fieldsOf(ALL_ROWS, 'loc'),
};

function inherit(level: Level, own: Values, parent: Values | undefined): Values {
  const conf: Values = {};
  for (const { name, init, inherit: inherits } of FIELDS[level]) {
    const value = own[name] ?? (inherits ? parent?.[name] : undefined) ?? init;
    if (value !== undefined) conf[name] = value;
  }
  return conf;
}

/** The fields of a level without children: what is set, and defaults. */
export function settle(level: 'process' | 'main', own: Values): Values {
  return inherit(level, own, undefined);
}

/** What a location configuration comes to, with the fields of all modules. */
export function mergeLocation(cf: Conf, scope: Scope, parent: Values | undefined): Values {
  const own = scope.loc;
  const conf = inherit('loc', own, parent);
  // an `if` takes over its location's handler; other levels have none but their own
  const content = own['content'] ?? (scope.kind === 'if' ? parent?.['content'] : undefined);
  if (content !== undefined) conf['content'] = content;
  const merge: Merge = { own, parent, conf, scope };
  for (const module of MODULES) module.mergeLocation?.(cf, merge);
  return conf;
}

export function mergeServer(cf: Conf, scope: Scope, parent: Values): Values {
  const conf = inherit('srv', scope.srv, parent);
  const merge: Merge = { own: scope.srv, parent, conf, scope };
  for (const module of MODULES) module.mergeServer?.(cf, merge);
  return conf;
}

/** Modules whose fields go into an object of their own, with the names of these fields. */
function groupsOf(
  level: Level,
): { name: string; used: (conf: Values) => boolean; fields: string[] }[] {
  return MODULES.flatMap(({ group: name, used = () => true, rows }) => {
    const fields = name === undefined ? [] : fieldsOf(rows, level).map((f) => f.name);
    return name === undefined || fields.length === 0 ? [] : [{ name, used, fields }];
  });
}

const GROUPS = { loc: groupsOf('loc'), srv: groupsOf('srv') };
const GROUPED = {
  loc: new Set(GROUPS.loc.flatMap((g) => g.fields)),
  srv: new Set(GROUPS.srv.flatMap((g) => g.fields)),
};

/** Moves the fields of modules with a group into an object, or drops those of unused ones. */
function group(conf: Values, level: 'loc' | 'srv', plan: Values): Values {
  const grouped = GROUPED[level];
  for (const field in conf) {
    if (!grouped.has(field)) plan[field] = conf[field];
  }
  for (const { name, used, fields } of GROUPS[level]) {
    if (!used(conf)) continue;
    const part: Values = {};
    // the directive that switches a module on has the name of the group
    for (const field of fields) {
      if (conf[field] !== undefined && field !== name) part[field] = conf[field];
    }
    plan[name] = part;
  }
  return plan;
}

/** The plan's form of a location configuration. */
export function planLocation(scope: Scope, conf: Values): LocationConf {
  const { limitExcept } = scope;
  const locations = locationTree(scope);
  const content = conf['content'] as { kind: string } | undefined;
  const plan = group(conf, 'loc', {
    name: scope.name,
    where: scope.where,
    kind: scope.kind,
    noregex: scope.noregex,
    auto_redirect: scope.autoRedirect,
    rewrite: scope.kind === 'server' || scope.isLocation ? scope.rewrite : [],
  });
  if (locations !== undefined) plan['locations'] = locations;
  if (limitExcept !== undefined) {
    plan['limit_except'] = { methods: limitExcept.methods, conf: limitExcept.scope.conf };
  }
  // kept through inheritance for `if` blocks, and of no use without their handler
  if (content?.kind !== 'lua') delete plan['content_by_lua'];
  if (content?.kind !== 'echo') delete plan['echo_cmds'];
  return plan as unknown as LocationConf;
}

export function planServer(cf: Conf, index: number, conf: Values): ServerPlan {
  const { scope, names } = cf.servers[index] as Conf['servers'][number];
  const ssl = cf.listens.isSsl(index);
  const plan = group(conf, 'srv', {
    where: scope.where,
    names: names.length === 0 ? [{ name: '', kind: 'exact' }] : names.flatMap(serverNames),
    conf: scope.conf,
    rewrite: scope.rewrite,
  });
  if (!ssl) delete plan['ssl'];
  return plan as unknown as ServerPlan;
}

function serverNames({ name, regex }: Conf['servers'][number]['names'][number]): ServerName[] {
  if (regex !== undefined) return [{ name: `~${name}`, kind: 'regex', regex }];
  if (name.startsWith('*.')) return [{ name, kind: 'head' }];
  if (name.startsWith('.')) {
    return [
      { name: name.slice(1), kind: 'exact' },
      { name: `*${name}`, kind: 'head' },
    ];
  }
  return [{ name, kind: name.endsWith('.*') ? 'tail' : 'exact' }];
}

/** Two prefix locations, or two exact ones, of the same name. */
export function checkLocations(scope: Scope): void {
  const seen = new Set<string>();
  for (const child of scope.children) {
    checkLocations(child);
    if (child.kind !== 'prefix' && child.kind !== 'exact') continue;
    const key = `${child.kind} ${child.name}`;
    if (seen.has(key)) {
      const { file, line } = child.where;
      throw new ConfigError(`duplicate location "${child.name}"`, {
        file,
        line,
        directive: 'location',
      });
    }
    seen.add(key);
  }
}

/** Locations inside a server or location. */
function locationTree(scope: Scope): LocationTree | undefined {
  const children = scope.children.filter((c) => c.isLocation);
  if (children.length === 0) return undefined;
  return {
    static: children
      .filter((c) => c.kind === 'prefix' || c.kind === 'exact')
      .map((c) => ({ name: c.name, exact: c.kind === 'exact', noregex: c.noregex, conf: c.conf })),
    regex: children
      .filter((c) => c.kind === 'regex')
      .map((c) => ({ regex: c.regex as NonNullable<typeof c.regex>, conf: c.conf })),
    named: children.filter((c) => c.kind === 'named').map((c) => ({ name: c.name, conf: c.conf })),
  };
}
