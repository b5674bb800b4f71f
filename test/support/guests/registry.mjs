// A registry of images in memory, as far as `docker push` and `docker pull` ask for it: node registry.mjs PORT.
import { createHash, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

/** By digest, and manifests also by "NAME:TAG". */
const blobs = new Map();
const manifests = new Map();

const digestOf = (bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const uploads = new Map();

createServer(async (request, response) => {
  const url = new URL(request.url, 'http://localhost');
  const [, name, kind, reference] = /^\/v2\/(.+)\/(blobs|manifests|blobs\/uploads)\/([^/]*)$/.exec(url.pathname) ?? [];
  const answer = (status, headers = {}, body = undefined) => response.writeHead(status, headers).end(request.method === 'HEAD' ? undefined : body);
  const body = await bodyOf(request);
  if (url.pathname === '/v2/') return answer(200);
  if (kind === 'blobs/uploads' && request.method === 'POST') {
    const id = randomUUID();
    uploads.set(id, Buffer.alloc(0));
    return answer(202, { location: `/v2/${name}/blobs/uploads/${id}`, range: '0-0' });
  }
  if (kind === 'blobs/uploads') {
    const all = Buffer.concat([uploads.get(reference) ?? Buffer.alloc(0), body]);
    uploads.set(reference, all);
    if (request.method === 'PATCH') return answer(202, { location: url.pathname, range: `0-${all.length - 1}` });
    blobs.set(digestOf(all), all);
    return answer(201, { location: `/v2/${name}/blobs/${digestOf(all)}`, 'docker-content-digest': digestOf(all) });
  }
  if (kind === 'manifests' && request.method === 'PUT') {
    const manifest = { body, type: request.headers['content-type'] };
    for (const key of [`${name}:${reference}`, `${name}:${digestOf(body)}`]) manifests.set(key, manifest);
    return answer(201, { 'docker-content-digest': digestOf(body) });
  }
  if (kind === 'manifests') {
    const found = manifests.get(`${name}:${reference}`);
    if (found !== undefined) return answer(200, { 'content-type': found.type, 'content-length': found.body.length, 'docker-content-digest': digestOf(found.body) }, found.body);
  }
  const blob = kind === 'blobs' ? blobs.get(reference) : undefined;
  if (blob === undefined) return answer(404, { 'content-type': 'application/json' }, JSON.stringify({ errors: [{ code: 'MANIFEST_UNKNOWN', message: 'not here' }] }));
  return answer(200, { 'content-type': 'application/octet-stream', 'content-length': blob.length, 'docker-content-digest': reference }, blob);
}).listen(Number(process.argv[2]), '127.0.0.1', () => process.stdout.write('listening\n'));
