// Certificates for a test, made with openssl.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Test } from 'tap';

export function openssl(command: string): void {
  execFileSync('openssl', command.split(' '), { stdio: 'ignore' });
}

/** A directory with an authority (ca.crt), and a certificate of it for each name. */
export function certificates(t: Test, ...names: string[]): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'mp-'));
  t.teardown(() => fs.rmSync(dir, { recursive: true }));
  const ec = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes';
  openssl(`req -x509 ${ec} -days 2 -subj /CN=authority -keyout ${dir}/ca.key -out ${dir}/ca.crt`);
  for (const name of names) {
    const files = `-keyout ${dir}/${name}.key -out ${dir}/${name}.csr`;
    openssl(`req ${ec} -subj /CN=${name} -addext subjectAltName=DNS:${name} ${files}`);
    openssl(
      `x509 -req -in ${dir}/${name}.csr -CA ${dir}/ca.crt -CAkey ${dir}/ca.key -CAcreateserial -copy_extensions copy -days 2 -out ${dir}/${name}.crt`,
    );
  }
  return dir;
}
