-- What waits for a look after its writer is dead is found without reading the others.

CREATE INDEX operation_indeterminate ON operation (region, ordinal) WHERE state = 'indeterminate';
