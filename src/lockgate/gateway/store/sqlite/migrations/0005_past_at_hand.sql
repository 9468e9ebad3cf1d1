-- What history tells, and what sums add up, stands in their indexes: each question read a page for each operation, and each decision had two.

ALTER TABLE operation ADD COLUMN told TEXT NOT NULL DEFAULT '';  -- JSON: action, effect, and the rules that denied it
UPDATE operation SET told = json_array(
    json_extract(CAST(body AS TEXT), '$.action'),
    json_extract(CAST(body AS TEXT), '$.effect'),
    json(iif(
        state = 'denied',
        (SELECT json_group_array(json_extract(value, '$.rule')) FROM json_each(CAST(body AS TEXT), '$.reasons')),
        '[]'
    ))
);
DROP INDEX operation_of_principal;
CREATE INDEX operation_of_principal ON operation (tenant, principal, updated_at, ordinal, id, target, state, told);

DROP INDEX spend_of_principal;
DROP INDEX spend_of_human;
DROP INDEX spend_of_human_too;
DROP INDEX spend_of_target;
DROP INDEX spend_of_tenant;
CREATE INDEX spend_of_principal ON spend (tenant, principal, until, target, changes, destroys, weight);
CREATE INDEX spend_of_human ON spend (tenant, human, until, target, changes, destroys, weight);
CREATE INDEX spend_of_human_too ON spend (tenant, human_too, until, human, target, changes, destroys, weight) WHERE human_too IS NOT NULL;
CREATE INDEX spend_of_target ON spend (tenant, target, until, changes, destroys, weight);
CREATE INDEX spend_of_tenant ON spend (tenant, until, target, changes, destroys, weight);
