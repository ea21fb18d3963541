import type { Peers } from './peers.mjs';
export interface Held {
  readonly fds: number;
  readonly rss: number;
  readonly lua: number;
}
export interface Case {
  readonly index: string;
  readonly name: string;
  readonly peer: string;
  readonly heavy: boolean;
  readonly dns: boolean;
  readonly unix: boolean;
}
export function faultsHttp(port: number | string, peers: Peers): string;
export function holds(port: number, pid: number): Promise<Held>;
export function settled(port: number, pid: number, fds: number): Promise<Held>;
export function stuck(port: number): Promise<void>;
export function listCases(port: number): Promise<Case[]>;
export function runCase(
  port: number,
  peers: Peers,
  test: Case,
  rounds: number,
  clients: number,
): Promise<{ rounds: number; longest: number; wrong: string[] }>;
