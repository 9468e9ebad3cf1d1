-- A decision as a record of its own: what is asked for stands in columns, the bytes that were evaluated beside the answer. What several inputs share
-- (the plan) lies once in `decision_part`; `cut` is where in `input` it belongs. `input` is NULL once it is no longer kept.

ALTER TABLE decision RENAME TO decision_before;
DROP INDEX decision_of_operation;

CREATE TABLE decision_part (
    sha256 TEXT NOT NULL UNIQUE,
    packed BLOB NOT NULL
) STRICT;

CREATE TABLE decision (
    ordinal   INTEGER PRIMARY KEY,
    id        TEXT NOT NULL UNIQUE,
    operation TEXT REFERENCES operation (id),
    tenant    TEXT NOT NULL,
    at        INTEGER NOT NULL,    -- Unix ms
    question  TEXT NOT NULL,
    allow     INTEGER NOT NULL,
    document  BLOB NOT NULL,
    input     BLOB,
    part      TEXT REFERENCES decision_part (sha256),
    cut       INTEGER,
    pointers  TEXT                 -- {"hidden": [...], "masked": [...]}, JSON pointers into the input; NULL when there are none
) STRICT;

INSERT INTO decision (ordinal, id, operation, tenant, at, question, allow, document, input)
SELECT ordinal, id, operation,
       coalesce(json_extract(text, '$.input.tenant'), 'default'),
       coalesce(json_extract(text, '$.at'), 0),
       coalesce(json_extract(text, '$.question'), ''),
       coalesce(json_extract(text, '$.allow'), 0),
       CAST(coalesce(json_extract(text, '$.document'), '{}') AS BLOB),
       CAST(json_extract(text, '$.input') AS BLOB)
FROM (SELECT ordinal, id, operation, CAST(body AS TEXT) AS text FROM decision_before);

DROP TABLE decision_before;

CREATE INDEX decision_of_operation ON decision (operation, ordinal) WHERE operation IS NOT NULL;
CREATE INDEX decision_at ON decision (at, ordinal, question, allow);
CREATE INDEX decision_of_part ON decision (part) WHERE part IS NOT NULL;

-- Everything decided before `inputs_since` has lost its input already: nobody looks there again.
CREATE TABLE retention (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    inputs_since INTEGER NOT NULL
) STRICT;
INSERT INTO retention VALUES (1, 0);

-- The policies that decided, so that a decision can be made again.
CREATE TABLE policy_bundle (
    revision TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    packed   BLOB NOT NULL
) STRICT, WITHOUT ROWID;
