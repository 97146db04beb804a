-- The processes that work jobs, each with its last sign of life. The running
-- jobs of one that has gone silent are given to the others.
CREATE TABLE workers (
    id   text        NOT NULL PRIMARY KEY,
    seen timestamptz NOT NULL
);
