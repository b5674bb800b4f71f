/** What children that were started before they are needed do to the rules of a real kernel. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { ChildFailed, childRunner, type RunChild } from '../../../agent/drivers/child.js';
import { openSpawner, type Spawner } from '../../../agent/drivers/spawner/client.js';
import { inNamespace, processesIn, removeNamespaces } from '../../support/netns.js';
import { argvOf } from '../../support/processes.js';
import { eventually } from '../../support/wait.js';

const WITHIN = { withinMs: 5_000, everyMs: 2 };
const ARGV = ['--noflush', '--wait'];

for (const tool of ['iptables', 'ip6tables', 'iptables-legacy', 'ip6tables-legacy']) {
  describe(`${tool}-restore that is kept ready`, function () {
    this.timeout(30_000);
    const name = `plready-${process.pid}-${tool}`;
    const outside = childRunner({ lockFd: undefined });
    const others: RunChild = (file, argv, options) => outside('nsenter', inNamespace(name, [file, ...argv]).slice(1), options);
    const command = { file: 'nsenter', argv: inNamespace(name, [`${tool}-restore`, ...ARGV]).slice(1) };
    const left: ChildProcess[] = [];
    let run: Spawner;

    const restore = (script: string): ReturnType<RunChild> => run(command.file, command.argv, { stdin: script });
    const rules = async (): Promise<string[]> => (await others(`${tool}-save`, [])).stdout.split('\n').filter(line => /^-A|^:X/.test(line));
    const isReady = (pid: number): boolean => argvOf(pid)?.join(' ') === [`${tool}-restore`, ...ARGV].join(' ');

    /** The process that waits for its input. */
    function ready(): Promise<number> {
      return eventually('a ready child', () => {
        const [pid, ...more] = processesIn(name).filter(isReady);
        assert.equal(more.length, 0);
        return pid;
      }, WITHIN);
    }

    /** By the child that is ready, and no other. */
    async function byReady(script: string): ReturnType<RunChild> {
      const pid = await ready();
      try {
        return await restore(script);
      } finally {
        assert.equal(argvOf(pid)?.length ?? 0, 0);
      }
    }

    beforeEach(async () => {
      await outside('ip', ['netns', 'add', name]);
      run = openSpawner({ lockFd: undefined, keepReady: [command] });
      await restore('*nat\n:X-OLD - [0:0]\n-A X-OLD -j RETURN\nCOMMIT\n');
      await ready();
    });
    afterEach(async () => {
      for (const child of left.splice(0)) child.kill('SIGKILL');
      await run.close();
      removeNamespaces([name]);
    });
    after(() => outside.close());

    it('sees chains and rules that were made after its start', async () => {
      await others(`${tool}-restore`, ['--noflush'], { stdin: '*nat\n:X-NEW - [0:0]\n-A X-NEW -p tcp -j RETURN\nCOMMIT\n' });
      await byReady('*nat\n-A X-NEW -p udp -j RETURN\n-A X-OLD -j X-NEW\nCOMMIT\n');
      assert.deepEqual(await rules(), [':X-NEW - [0:0]', ':X-OLD - [0:0]', '-A X-NEW -p tcp -j RETURN', '-A X-NEW -p udp -j RETURN', '-A X-OLD -j RETURN', '-A X-OLD -j X-NEW']);
      await others(tool, ['-t', 'nat', '-I', 'X-NEW', '-p', 'icmp', '-j', 'RETURN']);
      await byReady('*nat\n-D X-NEW 1\n-D X-NEW -p tcp -j RETURN\nCOMMIT\n');
      assert.deepEqual((await rules()).filter(line => line.startsWith('-A X-NEW')), ['-A X-NEW -p udp -j RETURN']);
    });

    it('fails as a whole, and changes nothing, when a chain was deleted after its start', async () => {
      await others(tool, ['-t', 'nat', '-F', 'X-OLD']);
      await others(tool, ['-t', 'nat', '-X', 'X-OLD']);
      const before = await rules();
      await assert.rejects(byReady('*nat\n:X-OTHER - [0:0]\n-A X-OLD -p tcp -j RETURN\nCOMMIT\n'), ChildFailed);
      assert.deepEqual(await rules(), before);
    });

    it('adds what was asked once when everything was flushed in between', async () => {
      await others(`${tool}-restore`, [], { stdin: '*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n' });
      await byReady('*nat\n:X-OLD - [0:0]\n-A X-OLD -p tcp -j RETURN\nCOMMIT\n');
      assert.deepEqual(await rules(), [':X-OLD - [0:0]', '-A X-OLD -p tcp -j RETURN']);
    });

    it('changes nothing when its spawner is killed, and ends', async () => {
      const before = await rules();
      const pid = await ready();
      process.kill(run.pid()!, 'SIGKILL');
      await eventually('its end', () => !isReady(pid), WITHIN);
      assert.deepEqual(await rules(), before);
    });

    /** As when the process that writes is killed meanwhile: all that was written, and then the end of the input. */
    async function given(part: string): Promise<number> {
      const child = spawn(command.file, command.argv, { stdio: ['pipe', 'ignore', 'ignore'] });
      left.push(child);
      const ended = once(child, 'exit') as Promise<[number]>;
      child.stdin.end(part);
      return (await ended)[0];
    }

    it('changes nothing when its input ends before COMMIT', async () => {
      const before = await rules();
      const script = '*nat\n:X-HALF - [0:0]\n-A X-HALF -p tcp -j RETURN\n-A X-OLD -j X-HALF\nCOMMIT';
      for (let length = 0; length < script.length; length += 7) {
        await given(script.slice(0, length));
        assert.deepEqual(await rules(), before, JSON.stringify(script.slice(0, length)));
      }
      await given(script.slice(0, -1));
      assert.deepEqual(await rules(), before);
      assert.equal(await given(`${script}\n`), 0);
      assert.equal((await rules()).length, before.length + 3);
    });

    it('has changed the tables before, each as a whole, when its input ends in a later one', async () => {
      await given('*mangle\n:X-FIRST - [0:0]\n-A X-FIRST -j RETURN\nCOMMIT\n*nat\n:X-SECOND - [0:0]\n-A X-SECOND -j RET');
      assert.deepEqual((await rules()).filter(line => !line.includes('X-OLD')), [':X-FIRST - [0:0]', '-A X-FIRST -j RETURN']);
    });
  });
}
