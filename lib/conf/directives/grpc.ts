import { loc, type Module, type Setter } from '../directive.js';
import { DUPLICATE } from '../kinds.js';
import { hasVariables } from '../complex.js';
import type { PassTarget } from '../plan.js';
import { NEXT_UPSTREAM, PASS, checkPass, inheritPass, passRows } from './pass.js';

/** grpc_pass: HTTP/2 to the server. */

const pass: Setter = (cf, [url = ''], row) => {
  const { scope } = cf;
  if (row.field in scope.loc) return DUPLICATE;
  cf.content('grpc');
  if (!scope.noname && scope.name.endsWith('/')) scope.autoRedirect = true;
  if (hasVariables(url)) {
    scope.loc[row.field] = { url: cf.complex(url) } satisfies PassTarget;
    return;
  }
  const scheme = /^grpcs?:\/\//i.exec(url)?.[0] ?? '';
  const target = checkPass(cf, url.slice(scheme.length), 0);
  scope.loc[row.field] = { url, ssl: scheme.length === 8, ...target } satisfies PassTarget;
};

export const grpcModule: Module = {
  name: 'http_grpc',
  group: 'grpc',
  used: (conf) => conf['grpc_pass'] !== undefined,
  rows: [loc('grpc_pass', PASS, '1', pass, { inherit: false }), ...passRows('grpc', NEXT_UPSTREAM)],
  mergeLocation: (_, merge) => {
    inheritPass('grpc', merge);
  },
};
