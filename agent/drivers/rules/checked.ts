/** Specs that can be brought about. */
import { Forwards } from './forwards.js';
import { addressProblem, canonicalAddress, FAMILIES, familyOf, isRange, refuse, type RulesSpec } from './spec.js';

/** A spec with addresses as the kernel prints them, each once. */
export type CheckedSpec = RulesSpec & { readonly forwards: Forwards };

/** Throws RangeError on the first thing that cannot be brought about. */
export function checkedSpec(spec: RulesSpec): CheckedSpec {
  for (const address of spec.addresses) refuse(addressProblem(address), 'lease address');
  for (const { ports } of spec.leased) refuse(isRange(ports) ? undefined : `${ports.first}-${ports.last} is not a range`, 'leased ports');
  const forwards = Forwards.of(spec.forwards);
  for (const family of FAMILIES) {
    const isServed = spec.addresses.some(address => familyOf(address) === family);
    refuse(isServed || !forwards.hasAny(family) ? undefined : `this machine has no lease address of the family of ${firstOf(forwards, family)}`, 'forwards');
  }
  return { ...spec, forwards, addresses: [...new Set(spec.addresses.map(canonicalAddress))] };
}

function firstOf(forwards: Forwards, family: 'v4' | 'v6'): string {
  for (const { to } of forwards) if (familyOf(to) === family) return to;
  return family;
}
