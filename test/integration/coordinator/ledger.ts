/** All that callers and agents were shown. What is in it must stay true, and be in the database after any kill. */
import assert from 'node:assert/strict';
import type { AllocatePortsRequest, AllocatePortsResponse, DeepPartial, Mapping } from '../../../shared/gen/portlease/v1/ports.js';
import type { Daemon } from './daemon.js';

export type Body = DeepPartial<AllocatePortsRequest> & { requestId: string; environment: string };

type Identity = { mappingId: string; environment: string; port: number };
type MappingRow = { mapping_id: string; environment: string; port: number; state: string };
type RequestRow = { request_id: string; environment: string; mapping_ids: string };

export class Ledger {
  /** Every mapping that was ever seen; number and environment never change. */
  readonly seen = new Map<string, Identity>();
  /** By request id: the ids of the mappings that it was answered with. */
  readonly answers = new Map<string, { body: Body; mappingIds: string[] }>();
  /** Environments whose end was asked for: their ports may go to others from then on. */
  readonly leaving = new Set<string>();
  /** Environments whose end was answered. */
  readonly left = new Set<string>();
  /** What a request without an answer had come to when the coordinator was killed: its mappings, or nothing. */
  readonly expected = new Map<string, string[] | undefined>();
  /** Changes of a pool's description, counted: sent, and answered. */
  readonly described = { asked: 0, answered: 0 };
  readonly #holders = new Map<number, Identity>();
  #revision = 0;

  /** S2 and S6 at the moment of an answer. */
  answered(body: Body, { requestId, mappings, replayed }: AllocatePortsResponse): void {
    assert.equal(requestId, body.requestId);
    const mappingIds = mappings.map(({ mappingId }) => mappingId);
    const before = this.answers.get(requestId);
    if (before !== undefined) assert.deepEqual(mappingIds, before.mappingIds, `S6: ${requestId} got another answer`);
    if (this.expected.has(requestId)) {
      const expected = this.expected.get(requestId);
      assert.deepEqual([replayed, expected ?? mappingIds], [expected !== undefined, mappingIds], `S5: ${requestId} is not what was durable when the coordinator was killed`);
      this.expected.delete(requestId);
    }
    this.answers.set(requestId, { body, mappingIds });
    for (const mapping of mappings) this.saw(mapping);
    if (!this.leaving.has(body.environment)) for (const { mappingId } of mappings) this.#hold(mappingId);
  }

  saw({ mappingId, environment, publicPort }: Pick<Mapping, 'mappingId' | 'environment' | 'publicPort'>): void {
    const identity = { mappingId, environment, port: publicPort };
    assert.deepEqual(this.seen.get(mappingId) ?? identity, identity, `${mappingId} has changed`);
    this.seen.set(mappingId, identity);
  }

  sawRevision(revision: number): void {
    this.#revision = Math.max(this.#revision, revision);
  }

  #hold(mappingId: string): void {
    const mine = this.seen.get(mappingId);
    assert.ok(mine !== undefined);
    const other = this.#holders.get(mine.port);
    const isFree = other === undefined || other.environment === mine.environment || this.leaving.has(other.environment);
    assert.ok(isFree, `S2: port ${mine.port} was answered to ${mine.environment} while ${other?.environment} has it`);
    this.#holders.set(mine.port, mine);
  }

  /** S5: everything that was shown is stored. */
  async compare(daemon: Daemon): Promise<void> {
    const mappings = new Map((await daemon.select<MappingRow>('SELECT mapping_id, environment, port, state FROM mapping')).map((row) => [row.mapping_id, row]));
    for (const identity of this.seen.values()) this.#compareMapping(identity, mappings.get(identity.mappingId));
    const requests = new Map((await daemon.select<RequestRow>('SELECT request_id, environment, mapping_ids FROM request')).map((row) => [row.request_id, row]));
    for (const [requestId, { mappingIds }] of this.answers) {
      assert.deepEqual(JSON.parse(requests.get(requestId)?.mapping_ids ?? 'null'), mappingIds, `S5: the answer to ${requestId} is not stored so`);
    }
    const [changed] = await daemon.select<{ description: string }>(`SELECT description FROM pool WHERE description LIKE 'change %'`);
    const change = Number(changed?.description.slice('change '.length) ?? 0);
    assert.ok(this.described.answered <= change && change <= this.described.asked, `S5: change ${change} of a pool is stored, ${JSON.stringify(this.described)}`);
    const [{ sequence } = { sequence: 0 }] = await daemon.select<{ sequence: number }>('SELECT sequence FROM gateway');
    assert.ok(this.#revision <= sequence, `S5: revision ${this.#revision} was shown, ${sequence} is stored`);
  }

  #compareMapping({ mappingId, environment, port }: Identity, row: MappingRow | undefined): void {
    assert.deepEqual([row?.environment, row?.port], [environment, port], `S5: ${mappingId} was shown and is not stored so`);
    const state = row?.state ?? '';
    if (!this.leaving.has(environment)) assert.ok(['pending', 'live', 'held'].includes(state), `${mappingId} is ${state}, and nobody released it`);
    if (this.left.has(environment)) assert.ok(['releasing', 'quarantined', 'released'].includes(state), `${mappingId} is ${state} after its release was answered`);
  }

  /** Notes what the unanswered `bodies` came to, and that each is wholly there or wholly absent. */
  async noteUnanswered(daemon: Daemon, bodies: readonly Body[]): Promise<void> {
    for (const body of bodies) {
      const { requestId, environment, wants = [] } = body;
      const [request] = await daemon.select<RequestRow>('SELECT request_id, environment, mapping_ids FROM request WHERE request_id = ?', requestId);
      const mappings = await daemon.select<{ mapping_id: string }>('SELECT mapping_id FROM mapping WHERE environment = ? ORDER BY mapping_id', environment);
      const audits = await daemon.select(`SELECT id FROM audit WHERE request_id = ? AND outcome = 'ok'`, requestId);
      const mappingIds = request === undefined ? undefined : JSON.parse(request.mapping_ids) as string[];
      const ports = wants.reduce((sum, want) => sum + Math.max(1, want?.count ?? 1), 0);
      assert.equal(mappings.length, mappingIds === undefined ? 0 : ports, `S5: ${requestId} is there by half`);
      assert.deepEqual([mappingIds?.toSorted(), audits.length > 0], [mappingIds && mappings.map((row) => row.mapping_id), mappingIds !== undefined], requestId);
      this.expected.set(requestId, mappingIds);
    }
  }
}
