/** Which connections end after a round. Pure. */
import type { Cut } from '../drivers/connections/connections.js';
import type { CutJob } from './cutter.js';
import type { End } from './ends.js';
import type { Plan } from './plan.js';
import { PortSet } from './portset.js';
import type { RoundResult } from './rounds.js';
import { changes, lostPlaces, type Serving } from './serving.js';

type Round = RoundResult & {
  dropMs: number;
  /** True for an end that is carried out already, or waits to be. */
  isKnown: (end: End) => boolean;
};

export function cutJobs({ plan, before, dropMs, isFirst, isKnown }: Round): CutJob[] {
  const cuts = changes(before, plan.serving, dropMs);
  const swept = isFirst ? sweepOf(plan, dropMs) : [];
  const ends = [...plan.ends.values()].filter(end => !isKnown(end)).map(end => ({ end, cuts: end.cuts.map(cut => withLostPlaces(cut, before, plan.serving)) }));
  const isLoss = lossesOf(plan);
  return [
    ...cuts.map(cut => ({ cuts: [cut], end: undefined, isLoss: isLoss(cut) })),
    // Where a port led before is not known: until its connections were looked at it may be somewhere else.
    ...swept.map(cut => ({ cuts: [cut], end: undefined, isLoss: true })),
    ...ends,
  ];
}

/** True for a cut of ports that led elsewhere, or there for others, before, unless their end is confirmed by itself. */
function lossesOf({ ends }: Plan): (cut: Cut) => boolean {
  let known: PortSet | undefined;
  return ({ transport, ports: { first, last }, from, isForClients }) => {
    if (isForClients === true) return true;
    if (from.length === 0) return false;
    known ??= confirmedPorts(ends.values());
    for (let port = first; port <= last; port++) if (!known.has(transport, port)) return true;
    return false;
  };
}

function confirmedPorts(ends: Iterable<End>): PortSet {
  const set = new PortSet();
  for (const { cuts } of ends) for (const { transport, ports } of cuts) set.add(transport, ports);
  return set;
}

/** Every guarded port: whatever does not lead where the plan says ends. */
function sweepOf({ rules: { leased } }: Plan, dropMs: number): Cut[] {
  return leased.map(({ transport, ports }) => ({ transport, ports, from: [], dropMs }));
}

function withLostPlaces(cut: Cut, before: Serving, after: Serving): Cut {
  const known = new Set(cut.from.map(({ address, port }) => `${address} ${port}`));
  const lost = lostPlaces(before, after, cut).filter(({ address, port }) => !known.has(`${address} ${port}`));
  return lost.length === 0 ? cut : { ...cut, from: [...cut.from, ...lost] };
}
