export interface Peers {
  readonly at: Readonly<Record<string, { readonly port: number; readonly path?: string }>>;
  stop(): void;
}
export function startPeers(dir: string): Promise<Peers>;
