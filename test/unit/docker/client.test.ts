import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dockerClient, type DockerClient } from '../../../agent/drivers/docker/client.js';
import { dockerEngine } from '../../../agent/drivers/docker/engine.js';
import { MAX_LINE, type DockerEvent } from '../../../agent/drivers/docker/events.js';
import { eventually } from '../../support/wait.js';

const EVENT = JSON.stringify({ Type: 'container', Action: 'die', Actor: { ID: 'c1' } });
const CONTAINER = { Id: 'c1', Name: '/web', Config: {}, State: { Status: 'running' }, HostConfig: {}, NetworkSettings: {} };
const DEADLINE_MS = 300;
const SOON = { withinMs: 10_000, everyMs: 5 };

/** A server that answers as no Docker Engine should. */
describe('what an engine says that is out of order', () => {
  let folder: string;
  let server: Server;
  let client: DockerClient;
  let answer: (path: string, to: ServerResponse) => void;
  let events: DockerEvent[];
  let problems: string[];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'portlease-client-'));
    server = createServer(({ url = '' }, to) => { answer(url, to); });
    await new Promise<void>((resolve) => { server.listen(join(folder, 'docker.sock'), resolve); });
    client = dockerClient(join(folder, 'docker.sock'), DEADLINE_MS);
    events = [];
    problems = [];
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => { server.close(resolve); });
    rmSync(folder, { recursive: true });
  });

  /** Says it on the event stream, which stays open. */
  async function follow(...texts: string[]): Promise<void> {
    answer = (_, to) => {
      to.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
      for (const text of texts) to.write(text);
    };
    await client.follow({ onEvent: (event) => { events.push(event); }, onEnd: (problem) => { problems.push(problem); } });
  }

  for (const [what, line] of [['no JSON', '{"Type":"container"'], ['no object', 'null'], ['text between events', 'upstream timed out']]) {
    it(`ends the event stream at a line that is ${what}, after the events before it`, async () => {
      await follow(`${EVENT}\n${line}\n${EVENT}\n`);
      await eventually('the stream to end', () => problems.length > 0, SOON);
      assert.deepEqual([events, problems], [[{ kind: 'container', action: 'die', id: 'c1' }], ['the Docker Engine sent an event that cannot be read']]);
    });
  }

  it('ends the event stream at a line that does not end', async () => {
    await follow(`${EVENT}\n`, ...Array.from({ length: 20 }, () => 'x'.repeat(MAX_LINE / 16)));
    await eventually('the stream to end', () => problems.length > 0, SOON);
    assert.deepEqual([events.length, problems], [1, ['an event of the Docker Engine is too long']]);
  });

  it('leaves out events that say nothing of a container or a network', async () => {
    const other = [{}, { Type: 'container', Action: 'die', Actor: null }, { Type: 'container', Action: 'die', Actor: { ID: 7 } }, { Type: 'plugin', Action: 'enable', Actor: { ID: 'p' } }];
    const network = { Type: 'network', Action: 'connect', Actor: { ID: 'n', Attributes: { container: 'c2' } } };
    await follow(`${[...other, network].map((one) => JSON.stringify(one)).join('\n')}\n\n${EVENT.slice(0, 20)}`, `${EVENT.slice(20)}\n`);
    await eventually('the last event', () => events.length > 1, SOON);
    assert.deepEqual([events, problems], [[{ kind: 'network', action: 'connect', container: 'c2' }, { kind: 'container', action: 'die', id: 'c1' }], []]);
  });

  const never: [what: string, answer: typeof answer][] = [
    ['does not begin', () => undefined],
    ['breaks off', (_, to) => { to.writeHead(200, { 'content-length': 1_000 }).write('[', () => { to.destroy(); }); }],
    ['is never whole', (_, to) => {
      to.writeHead(200);
      const drip = setInterval(() => { to.write(' '); }, DEADLINE_MS / 10);
      to.on('close', () => { clearInterval(drip); });
    }],
  ];
  for (const [what, how] of never) {
    it(`does not wait for ever for an answer that ${what}`, async () => {
      answer = how;
      for (const ask of [() => client.containers(), () => client.container('c1'), () => client.networks(), () => client.isRootless(), () => client.pidOf('c1')]) {
        await assert.rejects(ask, /did not answer within 300 ms|socket hang up/);
      }
      const engine = dockerEngine(join(folder, 'docker.sock'), DEADLINE_MS);
      for (const ask of [() => engine.container('web'), () => engine.labelled('container', 'a'), () => engine.labelled('volume', 'a'), () => engine.hasImage('a')]) {
        await assert.rejects(ask, /did not answer within 300 ms|socket hang up/);
      }
      answer = (_, to) => { to.end(JSON.stringify(CONTAINER)); };
      assert.equal((await client.container('c1'))?.name, 'web');
    });
  }

  it('does not wait for ever for an event stream', async () => {
    answer = () => undefined;
    await assert.rejects(client.follow({ onEvent: () => undefined, onEnd: () => undefined }), /did not answer within 300 ms/);
  });
});
