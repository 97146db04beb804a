-- Sessions, their documents and their audit trail. Times are microseconds
-- since 1970 in UTC.
CREATE TABLE sessions (
    id      text   NOT NULL PRIMARY KEY,
    version bigint NOT NULL,
    state   text   NOT NULL,
    created bigint NOT NULL,
    ended   bigint,
    body    text   NOT NULL -- workflow.Session as JSON
);
CREATE INDEX sessions_created ON sessions (created);
CREATE INDEX sessions_state ON sessions (state, created);
CREATE INDEX sessions_ended ON sessions (ended) WHERE ended IS NOT NULL;

-- Who is involved, to find sessions by address (in lower case).
CREATE TABLE people (
    session text   NOT NULL REFERENCES sessions (id),
    person  bigint NOT NULL,
    mail    text   NOT NULL,
    PRIMARY KEY (session, person)
);
CREATE INDEX people_mail ON people (mail);

-- The mail that opened a session, as it came.
CREATE TABLE mails (
    session text  NOT NULL PRIMARY KEY REFERENCES sessions (id),
    data    bytea NOT NULL
);

-- Revision 0 is the whole document; each later one the bytes that were added.
CREATE TABLE contents (
    session  text   NOT NULL REFERENCES sessions (id),
    document bigint NOT NULL,
    revision bigint NOT NULL,
    data     bytea  NOT NULL,
    PRIMARY KEY (session, document, revision)
);

CREATE TABLE events (
    session text   NOT NULL REFERENCES sessions (id),
    seq     bigint NOT NULL,
    body    text   NOT NULL, -- workflow.Event as JSON
    PRIMARY KEY (session, seq)
);

-- Mails and PDFs are compressed inside already; trying again costs time only.
ALTER TABLE mails ALTER COLUMN data SET STORAGE EXTERNAL;
ALTER TABLE contents ALTER COLUMN data SET STORAGE EXTERNAL;
