export { ConfigError, LuaError, MoonphaseError, errorTable } from './errors.js';
export type { ErrorCode } from './errors.js';
export { createGateway } from './gateway/gateway.js';
export type { Gateway, GatewayInput, GatewayOptions, StopOptions } from './gateway/gateway.js';
export type { ListenOptions, Listening } from './gateway/listen.js';
export type { Next, NodeRequest, NodeResponse } from './adapters/node.js';
export type {
  ExpressHandler,
  ExpressOptions,
  FastifyOptions,
  FastifyPlugin,
  KoaContext,
  KoaMiddleware,
} from './adapters/frameworks.js';
export type {
  ArgValue,
  CaptureOptions,
  CaptureResult,
  Handler,
  HeaderValue,
  Headers,
  LogLevel,
  Ngx,
  Output,
  PhaseName,
  PhaseRequest,
  SetHandler,
} from './phases/request.js';
export { LuaVM } from './luavm.js';
export type { EvalOptions, Lua, LuaVMOptions } from './luavm.js';
export type {
  GatewayStats,
  LuaFunction,
  SharedChange,
  SharedDict,
  SharedStats,
  SharedValue,
  StoredValue,
} from './binding.js';
export type {
  DirectiveOptions,
  GatewayPlanOptions,
  LocationOptions,
  LuaCode,
  PhaseOptions,
  ServerOptions,
} from './conf/options.js';
