-- Sessions, their documents and their audit trail. Times are microseconds
-- since 1970 in UTC.
CREATE TABLE sessions (
    id      TEXT    NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    state   TEXT    NOT NULL,
    created INTEGER NOT NULL,
    ended   INTEGER,
    body    TEXT    NOT NULL -- workflow.Session as JSON
) STRICT;
CREATE INDEX sessions_created ON sessions (created);
CREATE INDEX sessions_state ON sessions (state, created);
CREATE INDEX sessions_ended ON sessions (ended) WHERE ended IS NOT NULL;

-- Who is involved, to find sessions by address (in lower case).
CREATE TABLE people (
    session TEXT    NOT NULL REFERENCES sessions (id),
    person  INTEGER NOT NULL,
    mail    TEXT    NOT NULL,
    PRIMARY KEY (session, person)
) STRICT;
CREATE INDEX people_mail ON people (mail);

-- The mail that opened a session, as it came.
CREATE TABLE mails (
    session TEXT NOT NULL PRIMARY KEY REFERENCES sessions (id),
    data    BLOB NOT NULL
) STRICT;

-- Revision 0 is the whole document; each later one the bytes that were added.
CREATE TABLE contents (
    session  TEXT    NOT NULL REFERENCES sessions (id),
    document INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    data     BLOB    NOT NULL,
    PRIMARY KEY (session, document, revision)
) STRICT;

CREATE TABLE events (
    session TEXT    NOT NULL REFERENCES sessions (id),
    seq     INTEGER NOT NULL,
    body    TEXT    NOT NULL, -- workflow.Event as JSON
    PRIMARY KEY (session, seq)
) STRICT;
