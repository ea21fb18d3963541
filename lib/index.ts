export { ConfigError, LuaError, MoonphaseError, errorTable } from './errors.js';
export type { ErrorCode } from './errors.js';
export { createGateway } from './gateway/gateway.js';
export type { Gateway, GatewayOptions, StopOptions } from './gateway/gateway.js';
export { LuaVM } from './luavm.js';
export type { EvalOptions, Lua, LuaVMOptions } from './luavm.js';
export type { GatewayStats, LuaFunction } from './binding.js';
