// Written by `moonphase types`; change the annotations of the Lua file instead.

export type Side = "left" | "right";

export interface Box<K, V> {
  items: Record<K & PropertyKey, V>;
  get(key: K): V;
  delete(key: K): void;
}

export interface Shape {
  sides: number;
  [key: string]: unknown;
}

export interface Style extends Shape {
  width: number;
  margins: Record<Side & PropertyKey, number>;
  next?: Style;
  [key: string]: string | Style["width"] | Style["margins"] | Style["next"] | Shape[keyof Shape];
}

export interface Border {
  size: number;
  [key: string]: ((a: number) => string) | Border["size"] | Border["thick"];
  thick(): boolean;
}

export function keys<K, V>(map: Record<K & PropertyKey, V>): K;

export function pick<K, V>(map: Record<K & PropertyKey, V>, key: K): V;

export const style: Style;

export const items: Box<unknown, unknown>["items"];

export const get: Box<unknown, unknown>["get"];

declare const _delete: Box<unknown, unknown>["delete"];
export { _delete as delete };

