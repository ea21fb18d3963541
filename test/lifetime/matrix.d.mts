export const operations: readonly string[];
export const LONG: number;
export const lua: string;
export const thread: string;
export function http(codeCache: boolean): string;
