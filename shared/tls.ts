/** Mutual TLS from files, who the other side is, and where plaintext is allowed. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { credentials, ServerCredentials, type ChannelCredentials } from '@grpc/grpc-js';
import { endpointAddress, type Endpoint } from './grpc.js';
import { cidrContains, isDnsLabel, parseCidr } from './names.js';

/** Paths of PEM files. */
export type TlsFiles = { certificate: string; key: string; ca: string };

/** Contents of those files. */
export type TlsMaterial = { certificate: Buffer; key: Buffer; ca: Buffer };

const WORLD = 0o007;

/** Reads and checks the files: the key is closed to others and belongs to the certificate. Errors name the file and the remedy. */
export function loadTls(files: TlsFiles): TlsMaterial {
  const material = { certificate: readPem(files.certificate), key: readPem(files.key), ca: readPem(files.ca) };
  if ((statSync(files.key).mode & WORLD) !== 0) throw new Error(`tls.key: everybody may use ${files.key}: chmod o-rwx ${files.key}`);
  const certificate = parsed(files.certificate, () => new X509Certificate(material.certificate));
  parsed(files.ca, () => new X509Certificate(material.ca));
  const key = parsed(files.key, () => createPrivateKey(material.key));
  if (!certificate.checkPrivateKey(key)) throw new Error(`tls: the key ${files.key} does not belong to the certificate ${files.certificate}`);
  return material;
}

function readPem(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Error(`tls: ${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'}): correct the path or the owner`, { cause: error });
  }
}

function parsed<T>(path: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new Error(`tls: ${path} is not what it should be, PEM is expected: ${(error as Error).message}`, { cause: error });
  }
}

/** Plaintext when `tls` is undefined: ask listenPolicy before. Clients must show a certificate of the CA. */
export function serverCredentials(tls: TlsMaterial | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  return ServerCredentials.createSsl(tls.ca, [{ cert_chain: tls.certificate, private_key: tls.key }], true);
}

export function clientCredentials(tls: TlsMaterial | undefined): ChannelCredentials {
  return tls === undefined ? credentials.createInsecure() : credentials.createSsl(tls.ca, tls.key, tls.certificate);
}

const ROLES = ['host', 'scheduler', 'operator', 'viewer'] as const;

/** Who a certificate speaks for. `id` is a DNS label; of a host it is the host id. */
export type Identity = { role: (typeof ROLES)[number]; id: string };

/**
 * Role and id of the certificate's one URI SAN portlease://ROLE/ID, or undefined when it has none or several.
 * Node quotes a SAN that holds separators (CVE-2021-44532); portlease's never need that, so such a certificate is nobody's.
 */
export function identityOf(certificate: { subjectaltname?: string | undefined }): Identity | undefined {
  const names = certificate.subjectaltname ?? '';
  if (names.includes('"')) return undefined;
  const [uri, ...others] = names.split(', ').filter((name) => name.startsWith('URI:portlease:'));
  if (uri === undefined || others.length > 0) return undefined;
  const [, roleText, id = ''] = /^URI:portlease:\/\/([a-z]+)\/([^/]+)$/.exec(uri) ?? [];
  const role = ROLES.find((known) => known === roleText);
  return role !== undefined && isDnsLabel(id) ? { role, id } : undefined;
}

export type ListenVerdict = { kind: 'allowed' } | { kind: 'warned'; warning: string } | { kind: 'refused'; message: string };

const LOOPBACK = ['127.0.0.0/8', '::1/128'].map(parseCidr);

/** Plaintext is for unix sockets and loopback; elsewhere it takes `insecure`, and a warning at every start. */
export function listenPolicy({ endpoint, tls, insecure }: { endpoint: Endpoint; tls: boolean; insecure: boolean }): ListenVerdict {
  if (tls || isLocal(endpoint)) return { kind: 'allowed' };
  const address = endpointAddress(endpoint);
  if (insecure) return { kind: 'warned', warning: `${address} is served without TLS: whoever reaches it can do everything` };
  return { kind: 'refused', message: `${address} is not on loopback and tls is not set: set tls.certificate, tls.key and tls.ca, or insecure: true` };
}

function isLocal(endpoint: Endpoint): boolean {
  if (endpoint.kind === 'unix' || endpoint.host === 'localhost') return true;
  return LOOPBACK.some((network) => network !== undefined && cidrContains(network, endpoint.host));
}
