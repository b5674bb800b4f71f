/** The tables of the first version: what later steps begin with. Never edited. */

export const OWNS_PORT = `state IN ('pending','live','blocked','held','releasing','quarantined')`;
export const NAMES_PORT = `state IN ('pending','live','blocked','held')`;

/** Brings an empty database to version 1. */
export const FIRST = `
CREATE TABLE schema_version (
  version     INTEGER PRIMARY KEY,
  description TEXT NOT NULL,
  applied_at  TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP        -- UTC
) STRICT;

-- One lease book each. Names are DNS labels everywhere; *_ms are milliseconds, *_at_ms since 1970.
CREATE TABLE gateway (
  gateway     TEXT PRIMARY KEY,
  ordinal     INTEGER NOT NULL UNIQUE,                       -- part of the ids that its book makes
  scope       TEXT NOT NULL CHECK (scope IN ('shared','host')),
  public_host TEXT NOT NULL,
  epoch       INTEGER NOT NULL,                              -- grows at every start of the coordinator
  sequence    INTEGER NOT NULL                               -- book sequence of the last commit
) STRICT;

CREATE TABLE pool (
  gateway               TEXT NOT NULL REFERENCES gateway,
  pool                  TEXT NOT NULL,
  description           TEXT NOT NULL,
  service_type          TEXT NOT NULL,
  aliases               TEXT NOT NULL,                       -- JSON: ["name", ...]
  ranges                TEXT NOT NULL,                       -- JSON: [{"first":30000,"last":39999}, ...]
  protocol              TEXT NOT NULL CHECK (protocol IN ('tcp','udp','tcp+udp')),
  default_internal_port INTEGER NOT NULL CHECK (default_internal_port BETWEEN 0 AND 65535),  -- 0: every want names its own
  strategy              TEXT NOT NULL CHECK (strategy IN ('sequential','random','leastRecentlyUsed')),
  reserved              TEXT NOT NULL,                       -- JSON, as ranges: never leased
  quarantine_ms         INTEGER NOT NULL,
  hold_ms               INTEGER NOT NULL,
  idle_limit_ms         INTEGER NOT NULL,
  idle_action           TEXT NOT NULL CHECK (idle_action IN ('report','release')),
  connection_timeout_ms INTEGER NOT NULL,                    -- 0: no limit
  domain_template       TEXT NOT NULL,
  PRIMARY KEY (gateway, pool)
) STRICT, WITHOUT ROWID;

CREATE TABLE host (
  host           TEXT PRIMARY KEY,
  gateway        TEXT NOT NULL REFERENCES gateway,
  roles          TEXT NOT NULL,                              -- JSON: ["host", "gateway"]
  failure_domain TEXT NOT NULL,
  public_host    TEXT NOT NULL,
  addresses      TEXT NOT NULL,                              -- JSON: lease addresses
  session        INTEGER NOT NULL,                           -- newest session number given out, 0 before the first hello
  confirmed_session INTEGER NOT NULL,                        -- newest session that a machine has used
  boot_id        TEXT NOT NULL,
  agent_version  TEXT NOT NULL,
  replaceable    INTEGER NOT NULL CHECK (replaceable IN (0, 1)),
  lost_at_ms     INTEGER NOT NULL                            -- leases expired since then; 0: they are not
) STRICT, WITHOUT ROWID;

-- A host's right to serve ports first..last. A row exists only as long as it binds.
CREATE TABLE lease (
  lease_id      TEXT PRIMARY KEY,
  gateway       TEXT NOT NULL REFERENCES gateway,
  space         TEXT NOT NULL,                               -- gateway, or gateway/host
  pool          TEXT NOT NULL,
  host          TEXT NOT NULL,
  first         INTEGER NOT NULL CHECK (first >= 1),
  last          INTEGER NOT NULL CHECK (last <= 65535),
  protocol      TEXT NOT NULL CHECK (protocol IN ('tcp','udp','tcp+udp')),
  state         TEXT NOT NULL CHECK (state IN ('fencing','active','expired','withdrawing')),
  epoch         INTEGER NOT NULL,
  generation    INTEGER NOT NULL,                            -- fencing token, together with epoch
  granted_at_ms INTEGER NOT NULL,
  expired_at_ms INTEGER NOT NULL,                            -- 0 unless expired
  guarded       INTEGER NOT NULL CHECK (guarded IN (0, 1)),  -- its host guards the ports: the gateway may lead there
  guards        TEXT NOT NULL,                               -- JSON: former hosts that guard them until the gateway confirms
  CHECK (first <= last)
) STRICT, WITHOUT ROWID;
CREATE INDEX lease_by_port ON lease (space, first);

-- S2. Leases do not overlap, so looking at the neighbours is enough.
CREATE TRIGGER lease_overlap_insert AFTER INSERT ON lease BEGIN
  SELECT RAISE(ABORT, 'leases overlap') WHERE NEW.first <= (SELECT last FROM lease
    WHERE space = NEW.space AND first <= NEW.first AND lease_id <> NEW.lease_id ORDER BY first DESC LIMIT 1);
  SELECT RAISE(ABORT, 'leases overlap') WHERE EXISTS (SELECT 1 FROM lease
    WHERE space = NEW.space AND first BETWEEN NEW.first AND NEW.last AND lease_id <> NEW.lease_id);
END;
CREATE TRIGGER lease_overlap_update AFTER UPDATE OF space, first, last ON lease BEGIN
  SELECT RAISE(ABORT, 'leases overlap') WHERE NEW.first <= (SELECT last FROM lease
    WHERE space = NEW.space AND first <= NEW.first AND lease_id <> NEW.lease_id ORDER BY first DESC LIMIT 1);
  SELECT RAISE(ABORT, 'leases overlap') WHERE EXISTS (SELECT 1 FROM lease
    WHERE space = NEW.space AND first BETWEEN NEW.first AND NEW.last AND lease_id <> NEW.lease_id);
END;

-- Tenants' containers and VMs.
CREATE TABLE environment (
  environment   TEXT PRIMARY KEY,
  gateway       TEXT NOT NULL,
  tenant        TEXT NOT NULL,
  host          TEXT NOT NULL,
  labels        TEXT NOT NULL,                               -- JSON: {"key":"value"}
  created_at_ms INTEGER NOT NULL,
  revision      INTEGER NOT NULL                             -- book sequence of its last change
) STRICT, WITHOUT ROWID;

CREATE TRIGGER environment_stays BEFORE UPDATE OF gateway ON environment WHEN NEW.gateway <> OLD.gateway BEGIN
  SELECT RAISE(ABORT, 'environment belongs to another gateway');
END;
CREATE TRIGGER host_stays BEFORE UPDATE OF gateway ON host WHEN NEW.gateway <> OLD.gateway BEGIN
  SELECT RAISE(ABORT, 'host belongs to another gateway');
END;

-- An environment's right to a port number. Released ones stay until nothing needs them: see state.
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
  target_kind       TEXT NOT NULL CHECK (target_kind IN ('address')),
  target_address    TEXT NOT NULL,
  internal_port     INTEGER NOT NULL CHECK (internal_port BETWEEN 1 AND 65535),
  state             TEXT NOT NULL CHECK (state IN ('pending','live','blocked','held','releasing','quarantined','released')),
  reason            TEXT NOT NULL,                           -- why it is in this state; '' when live
  epoch             INTEGER NOT NULL,
  generation        INTEGER NOT NULL,
  created_at_ms     INTEGER NOT NULL,
  until_ms          INTEGER NOT NULL,                        -- held: reclaimed first from then on; quarantined: reusable from then on
  released_sequence INTEGER NOT NULL                         -- book sequence at which the release was confirmed, 0 before
) STRICT, WITHOUT ROWID;
-- S2: a number has one owner per space and transport, until its quarantine ends.
CREATE UNIQUE INDEX mapping_tcp_port ON mapping (space, port) WHERE protocol IN ('tcp','tcp+udp') AND ${OWNS_PORT};
CREATE UNIQUE INDEX mapping_udp_port ON mapping (space, port) WHERE protocol IN ('udp','tcp+udp') AND ${OWNS_PORT};
CREATE UNIQUE INDEX mapping_name ON mapping (environment, name, idx) WHERE ${NAMES_PORT};

-- Makes retries safe (S6).
CREATE TABLE request (
  gateway     TEXT NOT NULL,
  request_id  TEXT NOT NULL,
  body_hash   TEXT NOT NULL,
  environment TEXT NOT NULL,
  mapping_ids TEXT NOT NULL,                                 -- JSON: what it was answered with, in the order of its wants
  at_ms       INTEGER NOT NULL,
  PRIMARY KEY (gateway, request_id)
) STRICT, WITHOUT ROWID;

-- What happened, in the order of its commits. Rows are added and purged, never changed.
CREATE TABLE event (
  id         INTEGER PRIMARY KEY,
  gateway    TEXT NOT NULL,
  sequence   INTEGER NOT NULL,
  at_ms      INTEGER NOT NULL,
  kind       TEXT NOT NULL,
  host       TEXT NOT NULL,                                  -- '' where it does not apply, as the next two
  environment TEXT NOT NULL,
  mapping_id TEXT NOT NULL,
  detail     TEXT NOT NULL                                   -- JSON object
) STRICT;
CREATE INDEX event_by_gateway ON event (gateway, sequence);
CREATE TRIGGER event_is_append_only BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;

-- Who did what: one row for each mutation, accepted or refused (S11).
CREATE TABLE audit (
  id          INTEGER PRIMARY KEY,
  gateway     TEXT NOT NULL,
  sequence    INTEGER NOT NULL,
  at_ms       INTEGER NOT NULL,
  actor       TEXT NOT NULL,
  action      TEXT NOT NULL,
  outcome     TEXT NOT NULL,                                 -- 'ok' or the reason of the refusal
  environment TEXT NOT NULL,
  request_id  TEXT NOT NULL,
  detail      TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit records are never changed'); END;
`;
