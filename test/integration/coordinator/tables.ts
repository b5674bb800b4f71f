/** What the tables must say at any instant at which the coordinator may be killed: nothing half done. */
import assert from 'node:assert/strict';
import type { Daemon } from './daemon.js';

const IN_FORCE = `m.state IN ('pending','live','blocked','held')`;

/** Each finds the rows that break the rule. */
const RULES: Record<string, string> = {
  'a mapping in force has its environment, on the same host':
    `SELECT m.* FROM mapping m LEFT JOIN environment e USING (environment) WHERE ${IN_FORCE} AND (e.environment IS NULL OR e.host <> m.host OR e.tenant <> m.tenant)`,
  'a mapping that is being released has its environment':
    `SELECT m.* FROM mapping m LEFT JOIN environment e USING (environment) WHERE m.state = 'releasing' AND e.environment IS NULL`,
  'an environment has a mapping':
    `SELECT * FROM environment e WHERE NOT EXISTS (SELECT 1 FROM mapping m WHERE m.environment = e.environment AND (${IN_FORCE} OR m.state = 'releasing'))`,
  'a mapping in force has a lease of its host (S1)':
    `SELECT m.* FROM mapping m WHERE ${IN_FORCE} AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.space = m.space AND m.port BETWEEN l.first AND l.last
       AND l.host = m.host AND l.pool = m.pool AND l.state <> 'withdrawing')`,
  'leases do not overlap (S2)':
    `SELECT a.*, b.* FROM lease a JOIN lease b ON a.space = b.space AND a.lease_id < b.lease_id AND a.first <= b.last AND b.first <= a.last`,
  'a port has one owner (S2)':
    `SELECT space, port FROM mapping WHERE state <> 'released' GROUP BY space, port HAVING count(*) > 1`,
  'a request names mappings of its environment':
    `SELECT r.request_id, j.value FROM request r JOIN json_each(r.mapping_ids) j LEFT JOIN mapping m ON m.mapping_id = j.value
       WHERE m.mapping_id IS NULL OR m.environment <> r.environment`,
  'a request names a mapping': `SELECT * FROM request WHERE mapping_ids = '[]'`,
  'a mapping was asked for by a request':
    `SELECT m.* FROM mapping m WHERE m.mapping_id NOT IN (SELECT j.value FROM request r JOIN json_each(r.mapping_ids) j)`,
  'a request has one audit record of its success (S11)':
    `SELECT r.request_id FROM request r LEFT JOIN audit a ON a.request_id = r.request_id AND a.outcome = 'ok' AND a.action = 'AllocatePorts' AND a.sequence <= (SELECT max(sequence) FROM gateway)
       GROUP BY r.request_id HAVING count(DISTINCT a.sequence) < 1`,
  'an audit record of a success has its request':
    `SELECT a.* FROM audit a WHERE a.action = 'AllocatePorts' AND a.outcome = 'ok' AND a.request_id NOT IN (SELECT request_id FROM request)`,
  'a mapping has an event of its allocation':
    `SELECT m.mapping_id FROM mapping m LEFT JOIN event v ON v.mapping_id = m.mapping_id AND v.kind = 'PortAllocated' GROUP BY m.mapping_id HAVING count(v.id) <> 1`,
  'an allocation that an event tells of is there':
    `SELECT * FROM event v WHERE v.kind = 'PortAllocated' AND v.mapping_id NOT IN (SELECT mapping_id FROM mapping)`,
  'nothing is newer than its gateway':
    `SELECT 'event', v.sequence FROM event v JOIN gateway g USING (gateway) WHERE v.sequence > g.sequence
     UNION ALL SELECT 'audit', a.sequence FROM audit a JOIN gateway g USING (gateway) WHERE a.sequence > g.sequence
     UNION ALL SELECT 'environment', e.revision FROM environment e JOIN gateway g USING (gateway) WHERE e.revision > g.sequence
     UNION ALL SELECT 'lease', l.generation FROM lease l JOIN gateway g USING (gateway) WHERE l.generation > g.sequence OR l.epoch > g.epoch
     UNION ALL SELECT 'mapping', m.generation FROM mapping m JOIN gateway g USING (gateway) WHERE m.generation > g.sequence OR m.epoch > g.epoch`,
  'what refers to something finds it': 'PRAGMA foreign_key_check',
};

/** Throws with the first rows that break a rule. */
export async function checkTables(daemon: Daemon): Promise<void> {
  for (const [rule, sql] of Object.entries(RULES)) assert.deepEqual((await daemon.select(sql)).slice(0, 3), [], rule);
  assert.deepEqual(await daemon.select('PRAGMA quick_check'), [{ quick_check: 'ok' }]);
}

const TOO_SOON = `
  WITH use AS MATERIALIZED (SELECT id, kind, environment, at_ms, detail ->> '$.space' AS space, detail ->> '$.port' AS port
    FROM event WHERE kind IN ('PortReleased', 'PortAllocated'))
  SELECT use.*, later.environment AS later, later.at_ms - use.at_ms AS after_ms FROM use
    JOIN use later ON later.port = use.port AND later.space = use.space AND later.kind = 'PortAllocated' AND later.id > use.id AND later.environment <> use.environment
    WHERE use.kind = 'PortReleased' AND later.at_ms < use.at_ms + ?`;

/** S12: throws when a port went to another environment earlier than `quarantineMs` after its release was confirmed. */
export async function checkQuarantine(daemon: Daemon, quarantineMs: number): Promise<void> {
  assert.deepEqual((await daemon.select(TOO_SOON, quarantineMs)).slice(0, 3), [], 'a port rests before another environment gets it (S12)');
}
