// Written by `moonphase types`; change the annotations of the Lua file instead.
import type { Color, User } from './app.js';

export interface Counter {
  count: number;
  add(by?: number): number;
  same(other: Counter): boolean;
}

/** Begins at 0. */
declare function _new(): Counter;
export { _new as new };

export function describe(user: User, color: Color, missing: unknown): void;

declare function _delete(key?: unknown): unknown;
export { _delete as delete };

