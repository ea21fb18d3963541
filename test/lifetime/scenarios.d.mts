export interface Place {
  readonly name: string;
  readonly target: string;
  readonly body?: string;
  readonly half?: boolean;
}
export const places: readonly Place[];
export const http: string;
export function leave(port: number, place: Place, ms: number, reset: boolean): Promise<void>;
export function get(port: number, target: string): Promise<string | undefined>;
export const extendedPlaces: readonly Place[];
export const extendedHttp: string;
