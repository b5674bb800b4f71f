/** Specs for tests: by hand and at random. */
import fc from 'fast-check';
import type { Transport } from '../../../shared/ports.js';
import type { Forward, RulesSpec } from '../../../agent/drivers/rules/spec.js';

export function forward(fields: Partial<Forward> & { port?: number } = {}): Forward {
  const { port = 30_001, ...rest } = fields;
  return { id: 'm-1', generation: 5, transport: 'tcp', ports: { first: port, last: port }, to: '10.0.0.2', toPort: 80, hairpin: false, ...rest };
}

export function spec(fields: Partial<RulesSpec> = {}): RulesSpec {
  const leased = (['tcp', 'udp'] as const).map(transport => ({ transport, ports: { first: 30_000, last: 30_255 } }));
  return { addresses: ['10.1.1.1'], leased, forwards: [], snat: false, ...fields };
}

/** Disjoint forwards: ports between cuts, every other gap empty. */
function forwards(transport: Transport, to: string): fc.Arbitrary<Forward[]> {
  const size = fc.constantFrom(1, 1, 1, 2, 15, 16, 17, 256, 300, 4_096, 5_000);
  const networks = transport === 'tcp' && to.includes(':') ? ['2001:db8::/32', 'fd00::/8', '2001:db8::1/128'] : ['198.51.100.0/24', '10.0.0.0/8', '192.0.2.1/32'];
  const limits = fc.option(fc.record({ networks: fc.option(fc.subarray(networks, { minLength: 1 }), { nil: undefined }), maxConnections: fc.nat({ max: 2 }), uncounted: fc.nat({ max: 1 }) }), { nil: undefined });
  const piece = fc.record({ skip: fc.nat({ max: 700 }), size, generation: fc.nat({ max: 3 }), host: fc.integer({ min: 1, max: 5 }), limits });
  return fc.tuple(fc.integer({ min: 1, max: 30_000 }), fc.array(piece, { maxLength: 12 })).map(([start, pieces]) => {
    const made: Forward[] = [];
    let next = start;
    for (const { skip, size, generation, host, limits } of pieces) {
      const ports = { first: next + skip, last: next + skip + size - 1 };
      if (ports.last > 65_535) break;
      made.push({ ...(size === 1 && limits !== undefined ? { limits } : {}), id: `m-${ports.first}`, generation, transport, ports, to: `${to}${host}`, toPort: size === 1 ? 80 : undefined, hairpin: host > 3 });
      next = ports.last + 1;
    }
    return made;
  });
}

export const anySpec: fc.Arbitrary<RulesSpec> = fc.record({
  addresses: fc.subarray(['10.1.1.1', '10.1.1.2', 'fd01::1']),
  tcp: forwards('tcp', '10.0.0.'), udp: forwards('udp', '10.0.0.'), tcp6: forwards('tcp', 'fd00::'),
  leased: fc.array(fc.record({ first: fc.integer({ min: 1, max: 60_000 }), size: fc.integer({ min: 1, max: 5_000 }), transport: fc.constantFrom<Transport>('tcp', 'udp') }), { maxLength: 4 }),
  snat: fc.boolean(),
}).map(({ addresses, tcp, udp, tcp6, leased, snat }) => ({
  addresses, snat,
  forwards: [...tcp, ...udp, ...tcp6].filter(({ to }) => addresses.some(address => address.includes(':') === to.includes(':'))),
  leased: leased.map(({ first, size, transport }) => ({ transport, ports: { first, last: Math.min(65_535, first + size - 1) } })),
}));
