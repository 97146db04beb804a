-- Mails whose sender has to confirm them first. The bytes go as soon as that is
-- decided, the row a day after it came.
CREATE TABLE held (
    id       TEXT NOT NULL PRIMARY KEY,
    token    BLOB NOT NULL UNIQUE, -- keyed hash of the link
    received INTEGER NOT NULL,
    body     TEXT NOT NULL -- workflow.Held as JSON
) STRICT;

CREATE TABLE held_mails (
    held TEXT NOT NULL PRIMARY KEY REFERENCES held (id),
    data BLOB NOT NULL
) STRICT;
