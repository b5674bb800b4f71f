/** The programs that the agent drives the kernel with: whether they are there and work, and what is lost without them. */
import { ChildFailed, type RunChild } from '../child.js';

type Tool = {
  name: string;
  /** Debian package that brings it. */
  debianPackage: string;
  /** Reads something from the kernel, so that a program which cannot reach it is found as well. Changes nothing. */
  probe: readonly string[];
  /** What cannot be kept without it. */
  loses: string;
};

export type MissingTool = { name: string; debianPackage: string; loses: string; problem: string };

const TOOLS: readonly Tool[] = [
  { name: 'timeout', debianPackage: 'coreutils', probe: ['--version'], loses: 'deadlines of children' },
  { name: 'flock', debianPackage: 'util-linux', probe: ['--version'], loses: 'one writer on this host' },
  { name: 'iptables', debianPackage: 'iptables', probe: ['-t', 'nat', '-S', 'PREROUTING'], loses: 'IPv4 mappings' },
  { name: 'iptables-save', debianPackage: 'iptables', probe: ['-t', 'nat'], loses: 'IPv4 mappings, drift repair' },
  { name: 'iptables-restore', debianPackage: 'iptables', probe: ['--version'], loses: 'IPv4 mappings' },
  { name: 'ip6tables-save', debianPackage: 'iptables', probe: ['-t', 'nat'], loses: 'IPv6 mappings, drift repair' },
  { name: 'ip6tables-restore', debianPackage: 'iptables', probe: ['--version'], loses: 'IPv6 mappings' },
  { name: 'ipset', debianPackage: 'ipset', probe: ['list', '-n'], loses: 'the guard of leased ports, and connections that stay ended' },
  { name: 'conntrack', debianPackage: 'conntrack', probe: ['-C'], loses: 'ending connections: no release could be confirmed' },
  { name: 'ss', debianPackage: 'iproute2', probe: ['-H', '-l', '-t', '-n'], loses: 'ending connections to this host itself' },
];

/** What is missing or does not work, in a fixed order; empty when all is well. */
export async function missingTools(run: RunChild): Promise<MissingTool[]> {
  const checked = await Promise.all(TOOLS.map(async ({ name, debianPackage, probe, loses }) => {
    try {
      await run(name, probe);
      return [];
    } catch (error) {
      return [{ name, debianPackage, loses, problem: problemOf(error) }];
    }
  }));
  return checked.flat();
}

function problemOf(error: unknown): string {
  if (error instanceof ChildFailed && error.missing) return 'not installed';
  return error instanceof Error ? error.message : String(error);
}

/** For people: one line a tool, the remedy last. */
export function describeMissing(missing: readonly MissingTool[]): string {
  const lines = missing.map(({ name, loses, problem }) => `${name}: ${problem}; without it is lost: ${loses}`);
  const packages = [...new Set(missing.map(tool => tool.debianPackage))].join(' ');
  return [...lines, `Install: apt-get install ${packages}`].join('\n');
}
