/**
 * The ipsets that keep ended connections ended. The rules that ask them stand already.
 * - cut: former targets, for the time that a cut names. Whatever they send that begins a connection is dropped (a SYN excepted).
 * - flow: the connections that were in the table when they were ended, for much longer, and anew with each packet dropped.
 * - wide: as cut, for as long as flows, when the flows found no room: it takes one member a target port instead of one a client.
 */
import { rangeText } from '../../../shared/ports.js';
import { ChildFailed, type RunChild } from '../child.js';
import { readFailure, RulesError } from '../rules/errors.js';
import { CUT_SET, FLOW_SET, FLOW_TIMEOUT_S, WIDE_SET } from '../rules/layout.js';
import { familyOf } from '../rules/spec.js';
import type { Flow, Source } from './cut.js';

/** The kernel keeps ipset timeouts in milliseconds in 32 bits. */
const MAX_TIMEOUT_S = 2_147_483;

/** Input for ipset restore: each source with its ports, until its time is over; what is there already gets the new time. */
export function cutLines(sources: readonly Source[]): string {
  return sources.map(({ address, transport, ports, dropMs }) => {
    const seconds = Math.min(MAX_TIMEOUT_S, Math.max(1, Math.ceil(dropMs / 1000)));
    const set = CUT_SET[familyOf(address)];
    return `add ${set} ${address},${transport}:${rangeText(ports)} timeout ${seconds}\n`;
  }).join('');
}

export function flowLines(flows: readonly Flow[]): string {
  return flows.map(({ address, transport, port, client }) =>
    `add ${FLOW_SET[familyOf(address)]} ${address},${transport}:${port},${client} timeout ${FLOW_TIMEOUT_S[transport]}\n`).join('');
}

/** The servers of these flows, towards everybody. */
export function wideLines(flows: readonly Flow[]): string {
  const lines = flows.map(({ address, transport, port }) => `add ${WIDE_SET[familyOf(address)]} ${address},${transport}:${port} timeout ${FLOW_TIMEOUT_S[transport]}\n`);
  return [...new Set(lines)].join('');
}

/** Throws when the sources cannot be kept. */
export async function dropNewFrom(run: RunChild, sources: readonly Source[]): Promise<void> {
  if (sources.length > 0) await restore(run, cutLines(sources));
}

/** 'wide': there was no room for all of the flows, and their servers are kept from everybody instead. Throws when there is no room for that either. */
export async function keepEnded(run: RunChild, flows: readonly Flow[]): Promise<'each' | 'wide'> {
  if (flows.length === 0) return 'each';
  try {
    await restore(run, flowLines(flows));
    return 'each';
  } catch (error) {
    if (!isFull(error)) throw error;
    await restore(run, wideLines(flows));
    return 'wide';
  }
}

async function restore(run: RunChild, stdin: string): Promise<void> {
  await run('ipset', ['restore', '-exist'], { stdin });
}

function isFull(error: unknown): boolean {
  const read = error instanceof ChildFailed ? readFailure(error, 'ipset') : error;
  return read instanceof RulesError && read.problem === 'setFull';
}
