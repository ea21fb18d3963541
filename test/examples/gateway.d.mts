import type { Socket } from 'node:net';

export const TOKEN: string;

export interface Got {
  readonly status: number;
  readonly headers: Record<string, string | undefined>;
  readonly text: string;
}

export class Backend {
  constructor(name: string, port: number);
  delay: number;
  start(): Promise<void>;
  kill(): Promise<void>;
}

export function webSocket(
  port: number,
  target: string,
): Promise<{ user?: string; socket: Socket; send(text: string): Promise<string> }>;

export class Gateway {
  static start(): Promise<Gateway>;
  readonly port: number;
  readonly admin: number;
  readonly ports: readonly number[];
  get(
    target: string,
    options?: { port?: number; token?: string; method?: string; body?: string },
  ): Promise<Got>;
  put(name: string, servers: readonly unknown[]): Promise<Got>;
  reload(): void;
  errorLog(): string;
  accessLog(): { status: number; user: string; upstream: string; tries: string }[];
  stop(): Promise<void>;
}

export function chaos(options: { reloads: number; clients?: number }): Promise<{
  requests: number;
  failures: string[];
  lost: number;
  echoed: number;
  errors: string[];
  logged: number;
}>;
