-- Mails whose sender has to confirm them first. The bytes go as soon as that is
-- decided, the row a day after it came.
CREATE TABLE held (
    id       text NOT NULL PRIMARY KEY,
    token    bytea NOT NULL UNIQUE, -- keyed hash of the link
    received bigint NOT NULL,
    body     text NOT NULL -- workflow.Held as JSON
);

CREATE TABLE held_mails (
    held text NOT NULL PRIMARY KEY REFERENCES held (id),
    data bytea NOT NULL
);
