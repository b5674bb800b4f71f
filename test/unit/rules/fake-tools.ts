/** iptables and ipset as the driver calls them, over models of the kernel. A test can hold calls back, and look at each. */
import type { RunChild } from '../../../agent/drivers/child.js';
import { KernelModel } from './kernel-model.js';

export type Call = { file: string; argv: readonly string[]; stdin: string };

type Set_ = { type: string; members: Set<string> };

export class FakeTools {
  readonly models = { v4: new KernelModel(), v6: new KernelModel() };
  readonly sets = new Map<string, Set_>();
  readonly calls: Call[] = [];
  /** Waited for before the call has an effect or sees anything. */
  before: (call: Call) => Promise<void> = () => Promise.resolve();
  /** Waited for after the call had its effect, or has seen what it says. */
  after: (call: Call) => Promise<void> = () => Promise.resolve();

  readonly run: RunChild = async (file, argv, { stdin = '' } = {}) => {
    const call = { file, argv, stdin };
    this.calls.push(call);
    await this.before(call);
    const stdout = this.#perform(call);
    await this.after(call);
    return { stdout, stderr: '' };
  };

  /** Restores since the last time that this was asked. */
  takeWrites(): Call[] {
    return this.calls.splice(0).filter(({ file, argv }) => file.endsWith('-restore') || argv.includes('restore'));
  }

  #perform({ file, argv, stdin }: Call): string {
    switch (file) {
      case 'iptables-save': return this.models.v4.save();
      case 'ip6tables-save': return this.models.v6.save();
      case 'iptables-restore': this.models.v4.restore(stdin); return '';
      case 'ip6tables-restore': this.models.v6.restore(stdin); return '';
      case 'ipset': return this.#ipset(argv, stdin);
      default: throw new Error(`no ${file}`);
    }
  }

  #ipset(argv: readonly string[], stdin: string): string {
    if (argv[0] === 'list') return [...this.sets].map(([name, { type, members }]) => `Name: ${name}\nType: ${type}\nNumber of entries: ${members.size}\n`).join('\n');
    if (argv[0] === 'save') {
      const [name = ''] = argv.slice(1);
      const { type, members } = this.#set(name);
      const order = [...members].sort((a, b) => Number(a) - Number(b) || (a < b ? -1 : 1));
      return [`create ${name} ${type}`, ...order.map(member => `add ${name} ${member}`), ''].join('\n');
    }
    for (const line of stdin.split('\n').filter(each => each !== '')) this.#line(line);
    return '';
  }

  #line(line: string): void {
    const [word, name = '', what = ''] = line.split(' ');
    switch (word) {
      case 'create': if (!this.sets.has(name)) this.sets.set(name, { type: what, members: new Set() }); break;
      case 'destroy': this.sets.delete(name); break;
      case 'add': for (const member of membersOf(what)) this.#set(name).members.add(member); break;
      case 'del': for (const member of membersOf(what)) this.#set(name).members.delete(member); break;
      default: throw new Error(`not understood: ${line}`);
    }
  }

  #set(name: string): Set_ {
    const set = this.sets.get(name);
    if (set === undefined) throw new Error(`Set ${name} doesn't exist`);
    return set;
  }
}

function membersOf(text: string): string[] {
  const [, first, last] = /^(\d+)-(\d+)$/.exec(text) ?? [];
  return first === undefined ? [text] : Array.from({ length: Number(last) - Number(first) + 1 }, (_, index) => String(Number(first) + index));
}
