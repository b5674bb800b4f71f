/** The tables, as an operator reads them with the sqlite3 shell. A released version is never edited: changes are new steps. */

import { FIRST, NAMES_PORT, OWNS_PORT } from './first-schema.js';

/** Brings a database from version - 1 to `version`, in one transaction. */
export type MigrationStep = { version: number; description: string; sql: string };

const DUTY = `
ALTER TABLE host ADD COLUMN duty TEXT NOT NULL DEFAULT 'open' CHECK (duty IN ('open','cordoned','draining','drained','forgetting'));
ALTER TABLE host ADD COLUMN kept_until_ms INTEGER NOT NULL DEFAULT 0; -- nothing is reclaimed from it before while it is lost
`;

const RESTORE = `
ALTER TABLE gateway ADD COLUMN restoring TEXT NOT NULL DEFAULT 'no' CHECK (restoring IN ('no','reporting','resting'));
ALTER TABLE host ADD COLUMN waived INTEGER NOT NULL DEFAULT 0 CHECK (waived IN (0, 1)); -- a restore goes on without its report

-- When each epoch began: tells whether what an agent knows was decided on this database, or on a newer one that it is a copy of.
CREATE TABLE epoch (
  gateway  TEXT NOT NULL REFERENCES gateway ON DELETE CASCADE,
  epoch    INTEGER NOT NULL,
  sequence INTEGER NOT NULL,                                 -- first book sequence in it
  PRIMARY KEY (gateway, epoch)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER epoch_begins AFTER UPDATE OF epoch ON gateway WHEN NEW.epoch > OLD.epoch BEGIN
  INSERT INTO epoch VALUES (NEW.gateway, NEW.epoch, NEW.sequence);
END;
-- What agents knew beyond the copy has been read back: earlier epochs count as ended where this one begins.
CREATE TRIGGER restore_is_over AFTER UPDATE OF restoring ON gateway WHEN NEW.restoring = 'resting' AND OLD.restoring = 'reporting' BEGIN
  DELETE FROM epoch WHERE gateway = NEW.gateway AND epoch < NEW.epoch;
END;
`;

const FORGOTTEN = `
-- Hosts that were removed after they had a session: the next one of the name goes on with their number.
CREATE TABLE forgotten_host (
  gateway TEXT NOT NULL REFERENCES gateway,
  host    TEXT NOT NULL,
  session INTEGER NOT NULL,                                  -- newest session number given out
  at_ms   INTEGER NOT NULL,
  PRIMARY KEY (gateway, host)
) STRICT, WITHOUT ROWID;

-- Where an operator lets reclaim go on in spite of a mass loss.
CREATE TABLE mass_loss_override (
  gateway  TEXT NOT NULL REFERENCES gateway,
  scope    TEXT NOT NULL,                                    -- 'gateway', or 'domain/NAME' for a failure domain
  until_ms INTEGER NOT NULL,
  PRIMARY KEY (gateway, scope)
) STRICT, WITHOUT ROWID;
`;

const FORMER_OWNERS = `
-- Who had a port: kept for as long as audit records, when events and mappings of that time are gone. Written by the purge.
CREATE TABLE former_owner (
  id             INTEGER PRIMARY KEY,
  mapping_id     TEXT NOT NULL UNIQUE,
  gateway        TEXT NOT NULL,
  space          TEXT NOT NULL,
  port           INTEGER NOT NULL,
  protocol       TEXT NOT NULL,
  environment    TEXT NOT NULL,
  tenant         TEXT NOT NULL,
  name           TEXT NOT NULL,                              -- of the port inside the environment
  host           TEXT NOT NULL,
  created_at_ms  INTEGER NOT NULL,
  released_at_ms INTEGER NOT NULL                            -- end of its quarantine
) STRICT;
CREATE INDEX former_owner_by_port ON former_owner (space, port, released_at_ms);
CREATE INDEX former_owner_by_time ON former_owner (released_at_ms);
`;

const CONTAINER_TARGETS = `
-- Mappings may lead to containers. SQLite changes no CHECK of a table, so the table is made anew.
ALTER TABLE mapping RENAME TO mapping_before;
DROP INDEX mapping_tcp_port;
DROP INDEX mapping_udp_port;
DROP INDEX mapping_name;
CREATE TABLE mapping (
  mapping_id        TEXT PRIMARY KEY,
  gateway           TEXT NOT NULL,
  environment       TEXT NOT NULL,
  tenant            TEXT NOT NULL,
  name              TEXT NOT NULL,                           -- of the port inside the environment
  idx               INTEGER NOT NULL,                        -- position among the ports of that name, from 0
  space             TEXT NOT NULL,
  pool              TEXT NOT NULL,
  host              TEXT NOT NULL,
  port              INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
  protocol          TEXT NOT NULL CHECK (protocol IN ('tcp','udp','tcp+udp')),
  target_kind       TEXT NOT NULL CHECK (target_kind IN ('address','container','published')),
  target            TEXT NOT NULL,                           -- 'ADDRESS', or 'CONTAINER@NETWORK/FAMILY' with what was said of it
  internal_port     INTEGER NOT NULL CHECK (internal_port BETWEEN 1 AND 65535),
  state             TEXT NOT NULL CHECK (state IN ('pending','live','blocked','held','releasing','quarantined','released')),
  reason            TEXT NOT NULL,                           -- why it is in this state; '' when live
  epoch             INTEGER NOT NULL,
  generation        INTEGER NOT NULL,
  created_at_ms     INTEGER NOT NULL,
  until_ms          INTEGER NOT NULL,                        -- held: reclaimed first from then on; quarantined: reusable from then on
  released_sequence INTEGER NOT NULL                         -- book sequence at which the release was confirmed, 0 before
) STRICT, WITHOUT ROWID;
INSERT INTO mapping SELECT * FROM mapping_before;
DROP TABLE mapping_before;
CREATE UNIQUE INDEX mapping_tcp_port ON mapping (space, port) WHERE protocol IN ('tcp','tcp+udp') AND ${OWNS_PORT};
CREATE UNIQUE INDEX mapping_udp_port ON mapping (space, port) WHERE protocol IN ('udp','tcp+udp') AND ${OWNS_PORT};
CREATE UNIQUE INDEX mapping_name ON mapping (environment, name, idx) WHERE ${NAMES_PORT};
`;

const LIMITS = `
ALTER TABLE mapping ADD COLUMN client_networks TEXT NOT NULL DEFAULT '[]';   -- JSON: ["198.51.100.0/24"]; []: everybody
ALTER TABLE mapping ADD COLUMN max_connections INTEGER NOT NULL DEFAULT 0;   -- at once; 0: no limit
ALTER TABLE host ADD COLUMN hides_clients INTEGER NOT NULL DEFAULT 0 CHECK (hides_clients IN (0, 1)); -- gateway role: snat
`;

const CONFLICTS = `
-- When a foreign process listens on the port of a mapping.
ALTER TABLE pool ADD COLUMN on_conflict TEXT NOT NULL DEFAULT 'block' CHECK (on_conflict IN ('block','renumber'));
ALTER TABLE mapping ADD COLUMN on_conflict TEXT NOT NULL DEFAULT 'pool' CHECK (on_conflict IN ('pool','block','renumber')); -- pool: as its pool says
`;

const IDLE_WARNING = `
ALTER TABLE pool ADD COLUMN idle_warning_ms INTEGER NOT NULL DEFAULT 3600000; -- before an idle port is released
`;

const TLS = `
ALTER TABLE pool ADD COLUMN tls TEXT NOT NULL DEFAULT 'none' CHECK (tls IN ('none','terminate','passthrough')); -- where TLS of clients ends
`;

const WORKLOADS = `
-- Containers that portlease runs for environments. Generated credentials are in no table.
CREATE TABLE workload (
  environment          TEXT PRIMARY KEY,
  gateway              TEXT NOT NULL REFERENCES gateway,
  tenant               TEXT NOT NULL,
  host                 TEXT NOT NULL,
  container            TEXT NOT NULL,                        -- JSON: its spec
  credentials          TEXT NOT NULL,                        -- JSON: names and variables of what is generated, no values
  body_hash            TEXT NOT NULL,                        -- of the request; '' not known
  phase                TEXT NOT NULL CHECK (phase IN ('creating','ready','undoing','deleting')),
  generation           INTEGER NOT NULL,
  rotation             INTEGER NOT NULL,
  credentials_returned INTEGER NOT NULL CHECK (credentials_returned IN (0, 1)),
  start_timeout_ms     INTEGER NOT NULL,
  removes_volumes      INTEGER NOT NULL CHECK (removes_volumes IN (0, 1)),
  failure              TEXT NOT NULL,                        -- JSON: step, reason, message; '' none
  container_id         TEXT NOT NULL                         -- '' until its host has told
) STRICT, WITHOUT ROWID;
`;

const TUNNELS = `
-- SSH connections that hosts keep: made over RPC, or ordered for one of a host's own config. How they are is in no table.
CREATE TABLE tunnel (
  tunnel        TEXT PRIMARY KEY,                            -- 'HOST/NAME'
  gateway       TEXT NOT NULL REFERENCES gateway,
  host          TEXT NOT NULL,
  spec          TEXT NOT NULL,                               -- JSON
  restart       INTEGER NOT NULL,                            -- book sequence of its creation, or of the newest restart
  is_stopped    INTEGER NOT NULL CHECK (is_stopped IN (0, 1)),
  is_of_config  INTEGER NOT NULL CHECK (is_of_config IN (0, 1)), -- only orders for the one in the host's config
  created_at_ms INTEGER NOT NULL,
  revision      INTEGER NOT NULL,
  told          TEXT NOT NULL CHECK (told IN ('nothing','up','down','blocked')), -- by the newest event
  told_flapping INTEGER NOT NULL CHECK (told_flapping IN (0, 1))
) STRICT, WITHOUT ROWID;
`;

const TUNNEL_KEY = `
ALTER TABLE host ADD COLUMN tunnel_key TEXT NOT NULL DEFAULT '';   -- a host behind NAT: with it the host comes to the gateway; '' it is reached at its addresses
`;

export const MIGRATIONS: readonly MigrationStep[] = [
  { version: 1, description: 'first tables', sql: FIRST },
  { version: 2, description: 'hosts that are cordoned, drained or kept', sql: DUTY },
  { version: 3, description: 'restore mode, and when epochs began', sql: RESTORE },
  { version: 4, description: 'hosts that are forgotten, mass losses that are overridden', sql: FORGOTTEN },
  { version: 5, description: 'who had a port long ago', sql: FORMER_OWNERS },
  { version: 6, description: 'mappings that lead to containers', sql: CONTAINER_TARGETS },
  { version: 7, description: 'mappings that are limited to clients and connections', sql: LIMITS },
  { version: 8, description: 'what follows when a foreign process has a port', sql: CONFLICTS },
  { version: 9, description: 'how long before its release an idle port is warned of', sql: IDLE_WARNING },
  { version: 10, description: 'containers of environments', sql: WORKLOADS },
  { version: 11, description: 'tunnels of hosts', sql: TUNNELS },
  { version: 12, description: 'where TLS of clients ends', sql: TLS },
  { version: 13, description: 'hosts behind NAT', sql: TUNNEL_KEY },
];
