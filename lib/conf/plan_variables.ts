/** The variables of a Plan: which there are, and what `map`, `geo` and `split_clients` make theirs of. */

import type { Bytes, Complex, Regex } from './plan.js';

/** One variable that the configuration mentions or defines. */
export interface Variable {
  /** Lower case, without `$`. */
  readonly name: Bytes;
  /**
   * `builtin`: nginx's own or a prefix variable (`arg_x`, `http_x`, …), found by name in the native table;
   * `set`: a plain slot that `set`, `set_by_lua`, `auth_request_set`… write;
   * `capture`: a slot as well, which a named group of a regular expression sets: not found until then, without the
   * warning that an uninitialized `set` variable gives;
   * others: computed on first use.
   *
   * A `set` operation may write variables of any kind: a builtin with a setter (`args`, `limit_rate`) through that, all
   * others as a slot that hides the computed value.
   */
  readonly kind: 'builtin' | 'set' | 'capture' | 'map' | 'geo' | 'split_clients' | 'js';
  readonly map?: MapPlan;
  readonly geo?: GeoPlan;
  readonly split?: SplitPlan;
}

export interface MapPlan {
  readonly source: Complex;
  readonly hostnames: boolean;
  readonly volatile: boolean;
  /** Exact keys in lower case, in order of definition; so are masks. The source is compared in lower case. */
  readonly exact: readonly (readonly [Bytes, Complex])[];
  /** `*.example.com` and `example.*` masks (with `hostnames`). */
  readonly masks: readonly (readonly [Bytes, Complex])[];
  readonly regex: readonly (readonly [Regex, Complex])[];
  readonly default: Complex;
}

export interface GeoPlan {
  readonly source: Complex;
  /** Networks in order of definition, each at most once; the longest prefix that holds the address wins. */
  readonly ranges: readonly { readonly cidr: Bytes; readonly value: Bytes }[];
  readonly default: Bytes;
  /** Networks whose `X-Forwarded-For` is believed. */
  readonly proxies: readonly Bytes[];
  readonly proxy_recursive: boolean;
  readonly volatile: boolean;
}

export interface SplitPlan {
  readonly source: Complex;
  /** Upper bounds in 1/10000 of the hash range; the `*` part has 10000. */
  readonly parts: readonly { readonly upto: number; readonly value: Bytes }[];
}
