// Written by `moonphase types`; change the annotations of the Lua file instead.

declare function module(name: string): string;
export default module;
