// Written by `moonphase types`; change the annotations of the Lua file instead.
import type { Counter } from './counter.js';

export type Level = "low" | "high";

export type Callback<T> = (value: T, err?: string) => boolean;

export type Color = 1 | 2;

/** The application. */
export interface app_Module {
}

/** Who is asked for. */
export interface User {
  /** its number */
  id: number;
  name: string;
  mail?: string;
  tags: string[];
  "odd-name": boolean;
  [key: string]: unknown;
}

export const colors: { readonly RED: 1; readonly GREEN: 2 };

/**
 * Looks somebody up.
 * @param id the number
 * @returns user who was found
 * Lua returns more, JavaScript gets the first: string?.
 */
export function user(id: number, options?: { deep: boolean; level?: Level }): Promise<User | undefined>;

export function users(...args: string[]): Record<string, User>;

export function find<T>(list: T[], fn: (item: T) => boolean): T | undefined;

export function get(key: string): string;
export function get(key: number): number;

export function plain(a?: unknown, b?: unknown, ...args: unknown[]): unknown;

export function middle(a: string | undefined, b: number): void;

declare function _new(): Counter;
export { _new as new };

export const version: string;

export const limit: number;

export const big: bigint;

export const levels: Record<number, Level>;

