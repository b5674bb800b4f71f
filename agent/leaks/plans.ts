/** What is to be done about a leak, and how it is told. Pure. */
import type { Leak as ReportedLeak, LeakRepair } from '../../shared/leak.js';
import { hasLostContainer, type Finding } from './findings.js';

export type LeakPolicy = {
  /** Scans in a row that must see a leak. */
  sightings: number;
  tunnelProcesses: 'report' | 'repair';
  /** Left out: report. */
  containers?: 'report' | 'repair';
};

/** `served`: mappings whose container was there in an earlier scan. */
export type Plans = { readonly policy: LeakPolicy; readonly served: ReadonlySet<string> };

export function repairOf(finding: Finding): LeakRepair {
  switch (finding.kind) {
    case 'mappingWithoutContainer': return 'release';
    case 'containerWithoutEnvironment': return finding.kept === '' ? 'removeContainer' : 'none';
    case 'tunnelProcess': return 'endProcess';
    case 'publishedPort':
    case 'listener':
    case 'foreignRule': return 'none';
    default: return finding satisfies never;
  }
}

/** It is repaired without being asked for: here, or, of a mapping, by the coordinator, if its policy says so. */
export function isAutomatic(finding: Finding, { policy, served }: Plans): boolean {
  switch (finding.kind) {
    case 'mappingWithoutContainer': return hasLostContainer(finding, served);
    case 'containerWithoutEnvironment': return finding.kept === '' && policy.containers === 'repair';
    case 'tunnelProcess': return policy.tunnelProcesses === 'repair';
    default: return false;
  }
}

/** In words, for the log. */
export function planOf(finding: Finding, plans: Plans): string {
  if (finding.kind === 'containerWithoutEnvironment' && finding.kept !== '') return `none: ${finding.kept}`;
  switch (repairOf(finding)) {
    case 'none': return 'none: it is not portlease\'s, and left as it is';
    case 'release': return 'left to the coordinator';
    case 'removeContainer': return isAutomatic(finding, plans) ? 'remove the container' : 'none: leaks.containers is report; repair would remove the container';
    case 'endProcess': return isAutomatic(finding, plans) ? 'end the process' : 'none: leaks.tunnelProcesses is report; repair would end the process';
  }
}

/** The number of sightings is that of the policy: a report changes only with the leaks. */
export function reportOf(finding: Finding, plans: Plans): ReportedLeak {
  const { mappingId, generation } = finding.kind === 'mappingWithoutContainer' ? finding : { mappingId: '', generation: 0 };
  return {
    id: finding.id, kind: finding.kind, message: finding.text, sightings: plans.policy.sightings, repair: repairOf(finding), isAutomatic: isAutomatic(finding, plans),
    mappingId, generation, at: finding.at,
  };
}
