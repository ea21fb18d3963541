import { ANY, process, type Directive, type Module } from './directive.js';
import { coreModule, errorLogModule } from './directives/core.js';
import { davModule } from './directives/dav.js';
import { echoModule } from './directives/echo.js';
import { filesModule } from './directives/files.js';
import { filtersModule, gzipModule } from './directives/filters.js';
import { grpcModule } from './directives/grpc.js';
import { headersModule } from './directives/headers.js';
import { headersMoreModule } from './directives/headers_more.js';
import { httpCoreModule } from './directives/http_core.js';
import { logModule } from './directives/log.js';
import { limitConnModule, limitReqModule } from './directives/limits.js';
import { luaModule, luaSslModule } from './directives/lua.js';
import { mapsModule } from './directives/maps.js';
import { memcModule } from './directives/memc.js';
import { mirrorModule } from './directives/mirror.js';
import { proxyModule } from './directives/proxy.js';
import { realIpModule } from './directives/real_ip.js';
import { refererModule } from './directives/referer.js';
import { rewriteModule } from './directives/rewrite.js';
import { setMiscModule } from './directives/set_misc.js';
import { http2Module } from './directives/http2.js';
import { sslModule } from './directives/ssl.js';
import { upstreamModule } from './directives/upstream.js';

const confModule: Module = {
  name: 'conf',
  rows: [process('include', ANY, '1', (cf, [name = '']) => cf.include(name), { hidden: true })],
};

export const MODULES: readonly Module[] = [
  confModule,
  coreModule,
  errorLogModule,
  httpCoreModule,
  rewriteModule,
  logModule,
  headersModule,
  filesModule,
  davModule,
  mapsModule,
  upstreamModule,
  proxyModule,
  grpcModule,
  sslModule,
  http2Module,
  gzipModule,
  filtersModule,
  realIpModule,
  limitReqModule,
  limitConnModule,
  mirrorModule,
  refererModule,
  luaModule,
  luaSslModule,
  echoModule,
  headersMoreModule,
  setMiscModule,
  memcModule,
];

/** All directives by name; a name has several rows when it means different things in different places. */
export const TABLE: ReadonlyMap<string, readonly Directive[]> = (() => {
  const table = new Map<string, Directive[]>();
  for (const { rows } of MODULES) {
    for (const row of rows) {
      const list = table.get(row.name);
      if (list === undefined) table.set(row.name, [row]);
      else list.push(row);
    }
  }
  return table;
})();
