// What cannot be run here, a container engine and a cluster, is checked by the tools that read such files.
import fs from 'node:fs';
import path from 'node:path';
import { validate, type ValidatorSettings } from 'dockerfile-utils';
import t from 'tap';
import { parseAllDocuments } from 'yaml';
import { startExample } from '../helpers/example.js';
import { request } from '../helpers/http.js';
import { root } from '../helpers/server.js';

const dir = path.join(root, 'examples/deploy');
const read = (name: string): string => fs.readFileSync(path.join(dir, name), 'utf8');

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly [name: string]: unknown;
}

t.test('Dockerfiles are valid and agree with the configuration', async (t) => {
  for (const name of ['Dockerfile', 'Dockerfile.distroless']) {
    const settings: ValidatorSettings = {};
    t.same(validate(read(name), settings), [], name);
    t.match(read(name), 'EXPOSE 8080 9145');
    t.match(read(name), 'STOPSIGNAL SIGQUIT');
    for (const [, from] of read(name).matchAll(/^COPY (conf|lua) /gm)) {
      t.ok(fs.existsSync(path.join(dir, from ?? '')), `${name} copies ${from}`);
    }
  }
  const broken = read('Dockerfile').replace('FROM', 'FRUM');
  t.not(validate(broken, {}).length, 0, 'the linter finds what is wrong');
});

t.test('manifests follow the schemas of Kubernetes', async (t) => {
  const documents = parseAllDocuments(read('kubernetes.yaml'));
  const kinds: string[] = [];
  for (const document of documents) {
    t.same(document.errors, []);
    const manifest = document.toJS() as Manifest;
    kinds.push(manifest.kind);
    await t.resolves(check(manifest), manifest.kind);
  }
  t.same(kinds, ['Deployment', 'Service', 'HorizontalPodAutoscaler', 'PodDisruptionBudget']);
  const wrong = documents[0]?.toJS() as { spec: { replicas?: unknown } } & Manifest;
  wrong.spec.replicas = 'many';
  await t.rejects(check(wrong), 'a wrong one is found');
});

async function check(manifest: Manifest): Promise<void> {
  const models = (await import(`kubernetes-models/${manifest.apiVersion}`)) as unknown as Record<
    string,
    new (data: unknown) => { validate(): void }
  >;
  const Model = models[manifest.kind];
  if (Model === undefined) throw new Error(`no schema for ${manifest.kind}`);
  new Model(manifest).validate();
}

t.test('the configuration serves what probes and metrics ask for', async (t) => {
  const conf = read('conf/nginx.conf');
  const manifests = read('kubernetes.yaml');
  t.match(conf, 'listen 8080;');
  t.match(conf, 'listen 9145;');
  t.match(manifests, 'path: /ready');
  t.match(manifests, 'name: moonphase_http_requests_per_second');

  const server = await startExample('deploy');
  t.teardown(() => server.stop());
  t.equal((await request(server.port, '/ready')).status, 200);
  for (let i = 0; i < 3; ++i) await request(server.port, '/');
  const metrics = await request(server.ports[1] ?? 0, '/metrics');
  t.equal(metrics.status, 200);
  t.match(metrics.raw, /content-type: text\/plain; version=0\.0\.4/i);
  t.match(metrics.body, 'moonphase_http_requests_total{code="2xx"} 4\n');
  t.match(metrics.body, 'moonphase_http_request_duration_seconds_bucket{le="+Inf"} 4\n');
  for (const line of metrics.body.trim().split('\n')) {
    t.match(line, /^(# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]+"\})? [\d.]+)$/);
  }
});
