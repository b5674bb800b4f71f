/** Asks a resolver whether the records are there and lead to their gateways. */
import { Resolver } from 'node:dns/promises';
import { canonicalAddress } from '../../shared/names.js';
import { probeName, type DnsRecord } from './records.js';

/** `asked`: the name that was looked up. `answers`: what it leads to; `wanted`: where it should. */
export type Checked = { record: DnsRecord; asked: string; verdict: 'ok' | 'missing' | 'elsewhere' | 'unknown'; answers: string[]; wanted: string[]; detail: string };

export type Asks = {
  /** "203.0.113.53", "203.0.113.53:5353", "[2001:db8::1]:53"; undefined: what this machine uses. */
  resolver: string | undefined;
  /** Label that no environment has: only a wildcard answers for it. */
  label: string;
  /** Aborted when the caller gives up. */
  signal: AbortSignal;
};

const TIMEOUT_MS = 2_000;
const TRIES = 2;
/** The name or a record of this type is not there: an answer. */
const NOTHING: ReadonlySet<string | undefined> = new Set(['ENOTFOUND', 'ENODATA']);

export async function checkRecords(records: readonly DnsRecord[], { resolver: server, label, signal }: Asks): Promise<Checked[]> {
  const resolver = new Resolver({ timeout: TIMEOUT_MS, tries: TRIES });
  if (server !== undefined) resolver.setServers([server]);
  signal.addEventListener('abort', () => { resolver.cancel(); }, { once: true });
  return Promise.all(records.map((record) => check(resolver, record, label)));
}

async function check(resolver: Resolver, record: DnsRecord, label: string): Promise<Checked> {
  const asked = probeName(record, label);
  try {
    const wanted = record.type === 'CNAME' ? await addressesOf(resolver, record.value) : [canonicalAddress(record.value) ?? record.value];
    const answers = await addressesOf(resolver, asked);
    return { record, asked, answers, wanted, ...verdictOf(record, answers, wanted) };
  } catch (error) {
    const { code = 'ECONNREFUSED' } = error as NodeJS.ErrnoException;
    return { record, asked, answers: [], wanted: [], verdict: 'unknown', detail: `the resolver gave no answer (${code})` };
  }
}

function verdictOf({ value }: DnsRecord, answers: readonly string[], wanted: readonly string[]): Pick<Checked, 'verdict' | 'detail'> {
  if (wanted.length === 0) return { verdict: 'missing', detail: `${value} itself has no address` };
  if (answers.length === 0) return { verdict: 'missing', detail: 'there is no such name' };
  const strange = answers.filter((address) => !wanted.includes(address));
  return strange.length === 0 ? { verdict: 'ok', detail: '' } : { verdict: 'elsewhere', detail: `leads to ${strange.join(', ')}, not to ${wanted.join(', ')}` };
}

/** Of both families; CNAMEs are followed by the resolver. Throws what it fails with. */
async function addressesOf(resolver: Resolver, name: string): Promise<string[]> {
  const answers = await Promise.all([resolver.resolve4(name).catch(noneOf), resolver.resolve6(name).catch(noneOf)]);
  return answers.flat().map((address) => canonicalAddress(address) ?? address);
}

function noneOf(error: NodeJS.ErrnoException): string[] {
  if (NOTHING.has(error.code)) return [];
  throw error;
}
