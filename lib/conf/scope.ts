import type { Regex, RewriteOp, Where } from './plan.js';
import type { Values } from './directive.js';

export type ScopeKind =
  | 'main'
  | 'events'
  | 'http'
  | 'upstream'
  | 'server'
  | 'prefix'
  | 'exact'
  | 'regex'
  | 'named'
  | 'if'
  | 'limit_except'
  /** `if` in a server: it has no configuration of its own. */
  | 'server_if';

/** One block of the configuration while it is read: the values that stand in it, by level and field. */
export class Scope {
  /** Values of this level only. */
  readonly loc: Values = Object.create(null) as Values;
  readonly srv: Values;
  readonly main: Values;
  readonly upstream: Values;
  readonly children: Scope[] = [];
  /** Index in `HttpPlan.confs`; -1 for blocks without a configuration. */
  conf = -1;
  /** Index in `HttpPlan.servers`, for everything inside a server. */
  server = -1;
  name = '';
  noregex = false;
  autoRedirect = false;
  regex: Regex | undefined;
  /** Where `set`, `if`, `rewrite`… of this block go. */
  rewrite: RewriteOp[] = [];
  limitExcept: { methods: string[]; scope: Scope } | undefined;

  constructor(
    readonly kind: ScopeKind,
    /** The context bit that directives are checked against. */
    readonly context: number,
    readonly where: Where,
    readonly parent: Scope | undefined,
  ) {
    const own = (): Values => Object.create(null) as Values;
    this.main = kind === 'http' ? own() : (parent?.main ?? own());
    this.srv = kind === 'http' || kind === 'server' ? own() : (parent?.srv ?? own());
    this.upstream = kind === 'upstream' ? own() : (parent?.upstream ?? own());
  }

  /** A location or something inside one. */
  get isLocation(): boolean {
    return ['prefix', 'exact', 'regex', 'named'].includes(this.kind);
  }

  /** Whether it takes a URI part of `proxy_pass` and has a name to match. */
  get noname(): boolean {
    return this.kind === 'if' || this.kind === 'limit_except';
  }
}
