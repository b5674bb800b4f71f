import assert from 'node:assert/strict';
import fc from 'fast-check';
import { proxyTarget, redactedCommand } from '../../../agent/drivers/holders/command.js';
import { containerOf } from '../../../agent/drivers/holders/container.js';
import { LineReader } from '../../../agent/drivers/holders/messages.js';
import { parseStat } from '../../../agent/drivers/holders/process.js';
import { parsePasswd } from '../../../agent/drivers/holders/users.js';

const ID = '4f0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e';
const POD = 'kubepods-besteffort-pod2c48913c_b29f_11e7_9350_020968147796.slice';

describe('the container of a process', () => {
  const cases: [string, string, string][] = [
    ['Docker, cgroup v1', `12:pids:/docker/${ID}\n11:cpu:/docker/${ID}\n`, ID],
    ['Docker, cgroup v2 with systemd', `0::/system.slice/docker-${ID}.scope\n`, ID],
    ['Docker, cgroup v2 without systemd', `0::/docker/${ID}\n`, ID],
    ['Docker inside of Docker: the one that this machine has', `0::/docker/${ID}/docker/${'a'.repeat(64)}\n`, ID],
    ['a process in a group of its own inside of the container', `0::/system.slice/docker-${ID}.scope/init\n`, ID],
    ['containerd of Kubernetes, v2', `0::/kubepods.slice/kubepods-besteffort.slice/${POD}/cri-containerd-${ID}.scope\n`, ID],
    ['containerd of Kubernetes, v1', `1:name=systemd:/kubepods/besteffort/pod2c48913c-b29f-11e7-9350-020968147796/${ID}\n`, ID],
    ['containerd with its prefix', `5:memory:/system.slice/containerd.service/${POD}:cri-containerd:${ID}\n`, ID],
    ['CRI-O', `0::/kubepods.slice/${POD}/crio-${ID}.scope/container\n`, ID],
    ['Podman', `0::/machine.slice/libpod-${ID}.scope/container\n`, ID],
    ['LXC, v1', '4:cpu:/lxc/web-1\n', 'web-1'],
    ['LXC, v2', '0::/lxc.payload.web-1/init.scope\n', 'web-1'],
    ['a service of the host', '0::/system.slice/nginx.service\n', ''],
    ['a session of a user', '0::/user.slice/user-1000.slice/session-3.scope\n', ''],
    ['the root group', '0::/\n', ''],
    ['an id that is too short', `0::/docker/${ID.slice(1)}\n`, ''],
    ['nothing', '', ''],
  ];
  for (const [what, text, id] of cases) it(`is found: ${what}`, () => assert.equal(containerOf(text), id));

  it('is an id or a name, whatever the text', () => {
    fc.assert(fc.property(fc.string(), (text) => { assert.match(containerOf(text), /^(?:[0-9a-f]{64}|[A-Za-z0-9._-]{0,64})$/); }));
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom('/', ':', '-', 'a', '0', '.scope', 'docker', ID, '\n') }), (text) => { assert.match(containerOf(text), /^(?:[0-9a-f]{64}|[A-Za-z0-9._-]{0,64})$/); }));
  });
});

describe('a command line', () => {
  it('is shown by its program and the number of its arguments: these may be secrets', () => {
    assert.equal(redactedCommand('/usr/bin/python3\0-m\0http.server\x000\0'), '/usr/bin/python3 (+3 arguments)');
    assert.equal(redactedCommand('mysqld\0--password=hunter2\0'), 'mysqld (+1 argument)');
    assert.equal(redactedCommand('/usr/sbin/sshd\0'), '/usr/sbin/sshd');
  });

  it('that the process wrote itself is shown up to the first blank', () => {
    assert.equal(redactedCommand('nginx: master process /usr/sbin/nginx -g token=abc'), 'nginx:');
    assert.equal(redactedCommand('  postgres: writer\n'), 'postgres:');
  });

  it('of a process of the kernel is empty', () => assert.equal(redactedCommand(''), ''));

  it('never shows an argument, and fits on one short line, whatever is in it', () => {
    const word = fc.string({ minLength: 1 }).map((text) => text.replaceAll('\0', ''));
    fc.assert(fc.property(word, fc.array(fc.uuid(), { minLength: 1, maxLength: 5 }), (program, secrets) => {
      const shown = redactedCommand(`${[program, ...secrets].join('\0')}\0`);
      assert.ok(shown.length <= 160 && !/\p{C}/u.test(shown), JSON.stringify(shown));
      for (const secret of secrets) assert.ok(!shown.includes(secret));
    }));
  });

  it('of docker-proxy says where it passes on to', () => {
    const argv = ['/usr/bin/docker-proxy', '-proto', 'tcp', '-host-ip', '0.0.0.0', '-host-port', '30001', '-container-ip', '172.17.0.2', '-container-port', '80', '-use-listen-fd'];
    assert.equal(proxyTarget(`${argv.join('\0')}\0`), '172.17.0.2:80');
    assert.equal(proxyTarget('docker-proxy\0-container-ip=fd00::2\0-container-port=80\0'), '[fd00::2]:80');
    assert.equal(proxyTarget('docker-proxy\0-container-ip\0$(id)\0-container-port\x0080\0'), '');
    assert.equal(proxyTarget('docker-proxy\0-container-ip\0'), '');
  });
});

describe('the state of a process', () => {
  const fields = ['S', ...Array.from({ length: 18 }, (_, i) => `${i}`), '123456', '0', '0'].join(' ');

  it('has its program and its start, also when the program has blanks and parentheses in its name', () => {
    assert.deepEqual(parseStat(`812 (nginx) ${fields}`), { program: 'nginx', startTicks: 123_456 });
    assert.deepEqual(parseStat(`812 (a) b (c) ${fields}`), { program: 'a) b (c', startTicks: 123_456 });
    assert.deepEqual(parseStat(`812 (a\n\u001b[2J) ${fields}`), { program: 'a [2J', startTicks: 123_456 });
  });

  it('is undefined when it is cut off', () => {
    for (const text of ['', '812', '812 (nginx', '812 (nginx) S 1 2']) assert.equal(parseStat(text), undefined);
  });
});

describe('/etc/passwd', () => {
  it('names users by their number; the first line of a number counts, and other lines are passed over', () => {
    const names = parsePasswd('root:x:0:0:root:/root:/bin/sh\n# comment\n+::::::\ntoor:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:/bin/false\nbad name:x:34:34::/:\nbob:x:-1:1::/:\n');
    assert.deepEqual([...names], [[0, 'root'], [33, 'www-data']]);
  });
});

describe('lines between agent and helper', () => {
  it('are put together from chunks of any size', () => {
    fc.assert(fc.property(fc.array(fc.jsonValue()), fc.integer({ min: 1, max: 7 }), (values, size) => {
      const reader = new LineReader();
      const text = values.map((value) => `${JSON.stringify(value)}\n`).join('');
      const found: unknown[] = [];
      for (let at = 0; at < text.length; at += size) found.push(...reader.push(text.slice(at, at + size)));
      assert.deepEqual(JSON.stringify(found), JSON.stringify(values));
    }));
  });
});
