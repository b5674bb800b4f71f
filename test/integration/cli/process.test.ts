import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT } from '../../../cli/exit.js';
import { mapping, statusAnswer } from './answers.js';
import { silence, startCoordinator, type FakeCoordinator } from './coordinator.js';

const MAIN = join(import.meta.dirname, '../../../cli/main.ts');
const TSX = import.meta.resolve('tsx');
const ALLOCATE = ['allocate', 'env-1', '--host=host-a', '--tenant=acme', '--want=name=ssh,pool=ssh,target=10.88.1.2', '--request-id=retry-1'];

type Finished = { code: number | null; out: string; err: string };

describe('the program portlease', () => {
  let coordinator: FakeCoordinator;
  let children: ChildProcess[];
  beforeEach(async () => {
    children = [];
    coordinator = await startCoordinator({ getStatus: () => statusAnswer() });
  });
  afterEach(() => {
    for (const child of children) if (child.exitCode === null) child.kill('SIGKILL');
    coordinator.close();
  });

  function start(argv: readonly string[], env: Record<string, string> = {}): { child: ChildProcess; finished: Promise<Finished> } {
    const child = spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env['PATH'], ...env } });
    children.push(child);
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => { out += text; });
    child.stderr.setEncoding('utf8').on('data', (text: string) => { err += text; });
    return { child, finished: once(child, 'close').then(([code]) => ({ code: code as number | null, out, err })) };
  }

  const portlease = (...argv: string[]) => [process.execPath, '--import', TSX, MAIN, ...argv];

  it('asks the coordinator that the environment names', async () => {
    const { finished } = start(portlease('status', '--json'), { PORTLEASE_CLI_SERVER: coordinator.address });
    const { code, out, err } = await finished;
    assert.deepEqual([code, err], [EXIT.ok, '']);
    assert.equal((JSON.parse(out) as { journal: string }).journal, 'ok');
  });

  it('has its version from package.json', async () => {
    assert.match((await start(portlease('--version')).finished).out, /^\d+\.\d+\.\d+\n$/);
  });

  it('ends with its exit code when nobody answers', async () => {
    const { code, out } = await start(portlease('status', '--server', 'unix:/nonexistent/c.sock')).finished;
    assert.deepEqual([code, out], [EXIT.unreachable, '']);
  });

  it('stops on Ctrl-C with 130 and says how to go on waiting', async () => {
    const asked = new Promise<void>((resolve) => {
      coordinator.answers['allocatePorts'] = () => { resolve(); return silence(); };
    });
    const { child, finished } = start(portlease(...ALLOCATE, '--server', coordinator.address));
    await asked;
    child.kill('SIGINT');
    const { code, out, err } = await finished;
    assert.deepEqual([code, out], [EXIT.interrupted, '']);
    assert.match(err, /^next: {3}what was recorded goes on; .*--request-id retry-1$/m);
  });

  it('writes a list of 20,000 mappings into a pipe whole', async () => {
    const mappings = Array.from({ length: 1_000 }, (_, i) => mapping({ mappingId: `m-${i}` }));
    coordinator.answers['listMappings'] = (request: { pageToken: string }) => {
      const page = Number(request.pageToken || '1');
      return { mappings, nextPageToken: page < 20 ? String(page + 1) : '', revisions: {} };
    };
    const { code, out } = await start(portlease('mappings', '--json', '--server', coordinator.address)).finished;
    assert.equal(code, EXIT.ok);
    assert.equal((JSON.parse(out) as { mappings: object[] }).mappings.length, 20_000);
  });

  it('does not mind a reader that goes away', async () => {
    const mappings = Array.from({ length: 1_000 }, () => mapping());
    const { child, finished } = start(portlease('mappings', '--server', coordinator.address));
    coordinator.answers['listMappings'] = () => {
      child.stdout?.destroy();
      return { mappings, nextPageToken: '', revisions: {} };
    };
    const { code, err } = await finished;
    assert.deepEqual([code, err], [EXIT.ok, '']);
  });

  describe('in a shell', () => {
    let folder: string;
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'portlease-completion-'));
      writeFileSync(join(folder, 'portlease'), `#!/bin/sh\nexec ${process.execPath} --import ${TSX} ${MAIN} "$@"\n`);
      chmodSync(join(folder, 'portlease'), 0o755);
    });
    afterEach(() => rmSync(folder, { recursive: true }));

    it('completes what was typed in bash', async () => {
      const script = 'source <(portlease completion bash); COMP_WORDS=(portlease pools create --protocol t); COMP_CWORD=4; _portlease; printf "%s\\n" "${COMPREPLY[@]}"; complete -p portlease';
      const { code, out, err } = await start(['bash', '--norc', '-c', script], { PATH: `${folder}:${process.env['PATH']}` }).finished;
      assert.deepEqual([code, err], [0, '']);
      assert.deepEqual(out.split('\n'), ['tcp', 'tcp+udp', 'complete -o default -F _portlease portlease', '']);
    });
  });
});
