-- History and budgets: what one principal did lately, and what operations use of budgets.

ALTER TABLE operation ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0;  -- Unix ms
UPDATE operation SET updated_at = json_extract(CAST(body AS TEXT), '$.updated_at');
CREATE INDEX operation_of_principal ON operation (tenant, principal, updated_at);

CREATE TABLE spend (
    ordinal   INTEGER PRIMARY KEY REFERENCES operation (ordinal),  -- its operation's: an index by id would dirty a page for each
    tenant    TEXT NOT NULL,
    principal TEXT NOT NULL,
    human     TEXT NOT NULL,         -- who stands behind it, and who else does
    human_too TEXT,
    target    TEXT NOT NULL,
    until     INTEGER NOT NULL,      -- Unix ms: when it ended; the greatest integer while it is under way
    changes   INTEGER NOT NULL,
    destroys  INTEGER NOT NULL,
    weight    INTEGER NOT NULL
) STRICT;
CREATE INDEX spend_of_principal ON spend (tenant, principal, until);
CREATE INDEX spend_of_human ON spend (tenant, human, until);
CREATE INDEX spend_of_human_too ON spend (tenant, human_too, until) WHERE human_too IS NOT NULL;
CREATE INDEX spend_of_target ON spend (tenant, target, until);
CREATE INDEX spend_of_tenant ON spend (tenant, until);

-- What was recorded before counts too, by the rules of operations/spending.py.
INSERT INTO spend (ordinal, tenant, principal, human, human_too, target, until, changes, destroys, weight)
SELECT ordinal, tenant, principal,
    iif(kind = 'human', principal, coalesce(min(owner, behalf), owner, behalf, principal)),
    iif(kind <> 'human' AND owner <> behalf, max(owner, behalf), NULL),
    target,
    iif(ended, max(created_at, updated_at), 9223372036854775807),
    created + updated + deleted + replaced,
    deleted + replaced,
    created + 5 * updated + 10 * deleted + 11 * replaced
FROM (
    SELECT o.ordinal, o.tenant, o.principal, o.target, o.updated_at,
        o.state IN ('succeeded', 'planned', 'denied', 'failed', 'cancelled', 'expired') AS ended,
        json_extract(doc, '$.principal.kind') AS kind,
        json_extract(doc, '$.principal.owner') AS owner,
        json_extract(doc, '$.principal.on_behalf_of') AS behalf,
        json_extract(doc, '$.effect') AS effect,
        json_extract(doc, '$.dry_run') AS dry_run,
        json_extract(doc, '$.effect_shown') AS shown,
        json_extract(doc, '$.created_at') AS created_at,
        ifnull(json_extract(doc, '$.plan.create'), 0) AS created,
        ifnull(json_extract(doc, '$.plan.update'), 0) AS updated,
        ifnull(json_extract(doc, '$.plan.delete'), 0) AS deleted,
        ifnull(json_extract(doc, '$.plan.replace'), 0) AS replaced
    FROM (SELECT *, CAST(body AS TEXT) AS doc FROM operation) AS o
)
WHERE effect <> 'read' AND NOT dry_run AND (NOT ended OR shown <> 'none')
ORDER BY ordinal;
