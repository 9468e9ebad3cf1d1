-- The first schema: what is queried stands in columns, the whole record as JSON in `body`.

CREATE TABLE operation (
    ordinal   INTEGER PRIMARY KEY AUTOINCREMENT,
    id        TEXT NOT NULL UNIQUE,
    tenant    TEXT NOT NULL,
    principal TEXT NOT NULL,
    target    TEXT NOT NULL,
    region    TEXT NOT NULL,
    lane      TEXT NOT NULL,         -- target, action and phase: what waits, waits behind its like
    state     TEXT NOT NULL,
    version   INTEGER NOT NULL,
    due_at    INTEGER,               -- Unix ms: the earlier of deadline and approval expiry; NULL once final
    body      BLOB NOT NULL
) STRICT;
CREATE INDEX operation_of_tenant ON operation (tenant, ordinal);
CREATE INDEX operation_queued ON operation (region, tenant, ordinal) WHERE state = 'queued';
CREATE INDEX operation_lane ON operation (region, tenant, lane, ordinal) WHERE state = 'queued';
CREATE INDEX operation_load ON operation (tenant, state) WHERE state IN ('queued', 'leased', 'running');
CREATE INDEX operation_due ON operation (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE idempotency (
    scope     TEXT PRIMARY KEY,
    operation TEXT NOT NULL REFERENCES operation (id)
) STRICT, WITHOUT ROWID;

CREATE TABLE decision (
    ordinal   INTEGER PRIMARY KEY,
    id        TEXT NOT NULL UNIQUE,
    operation TEXT REFERENCES operation (id),
    body      BLOB NOT NULL
) STRICT;
CREATE INDEX decision_of_operation ON decision (operation, ordinal) WHERE operation IS NOT NULL;

CREATE TABLE attempt (
    ordinal     INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    operation   TEXT NOT NULL REFERENCES operation (id),
    fence       INTEGER NOT NULL,
    state       TEXT NOT NULL,
    runner      TEXT NOT NULL,
    poll_id     TEXT NOT NULL,
    lease_until INTEGER NOT NULL,
    body        BLOB NOT NULL,
    UNIQUE (operation, fence),
    UNIQUE (runner, poll_id)
) STRICT;
CREATE INDEX attempt_live ON attempt (lease_until) WHERE state IN ('leased', 'started', 'reported');

CREATE TABLE target_lock (
    name    TEXT PRIMARY KEY,
    state   TEXT NOT NULL,
    attempt TEXT REFERENCES attempt (id),
    since   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE vote (
    ordinal    INTEGER PRIMARY KEY,
    operation  TEXT NOT NULL REFERENCES operation (id),
    voter      TEXT NOT NULL,
    verdict    TEXT NOT NULL,
    shown      TEXT NOT NULL,        -- the digests and the policy revision the vote is about
    expires_at INTEGER NOT NULL,
    body       BLOB NOT NULL
) STRICT;
CREATE INDEX vote_of_operation ON vote (operation, voter);

CREATE TABLE envelope (
    ordinal   INTEGER PRIMARY KEY,
    sha256    TEXT NOT NULL,
    operation TEXT NOT NULL REFERENCES operation (id),
    attempt   TEXT,
    kind      TEXT NOT NULL,
    envelope  BLOB NOT NULL,
    UNIQUE (operation, sha256)
) STRICT;

CREATE TABLE plan_bytes (
    operation       TEXT NOT NULL REFERENCES operation (id),
    semantic_sha256 TEXT NOT NULL,
    data            BLOB NOT NULL,
    PRIMARY KEY (operation, semantic_sha256)
) STRICT;

CREATE TABLE revocation (
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;

CREATE TABLE freeze (
    scope TEXT PRIMARY KEY,
    at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE revision (
    kind    TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_entry (
    seq         INTEGER PRIMARY KEY,
    time        INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    operation   TEXT,
    principal   TEXT,
    body_sha256 TEXT NOT NULL,
    body        BLOB NOT NULL,
    leaf        BLOB NOT NULL
) STRICT;
CREATE INDEX audit_entry_of_operation ON audit_entry (operation, seq) WHERE operation IS NOT NULL;

-- Complete inner nodes from level 8 up (one for each 256 leaves and above), so that a proof reads few rows.
CREATE TABLE audit_node (
    level INTEGER NOT NULL,
    idx   INTEGER NOT NULL,
    hash  BLOB NOT NULL,
    PRIMARY KEY (level, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE head (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    epoch    INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    root     BLOB NOT NULL,
    frontier BLOB NOT NULL
) STRICT;
INSERT INTO head VALUES (1, 1, 0, x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', x'');

CREATE TRIGGER audit_entry_never_changes BEFORE UPDATE ON audit_entry
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_entry_never_leaves BEFORE DELETE ON audit_entry
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_entry_never_replaced BEFORE INSERT ON audit_entry
WHEN EXISTS (SELECT 1 FROM audit_entry WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_node_never_changes BEFORE UPDATE ON audit_node
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_node_never_leaves BEFORE DELETE ON audit_node
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_head_never_shrinks BEFORE UPDATE ON head WHEN NEW.size < OLD.size OR NEW.epoch < OLD.epoch
BEGIN SELECT RAISE(ABORT, 'the audit head and the epoch only grow'); END;
CREATE TRIGGER audit_head_never_leaves BEFORE DELETE ON head
BEGIN SELECT RAISE(ABORT, 'the audit head stays'); END;
