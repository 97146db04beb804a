-- Who may open what: links, codes, remembered devices; and which mails were
-- taken already. Tokens and cookies are keyed hashes; addresses are in lower case.
CREATE TABLE tokens (
    hash    BLOB    NOT NULL PRIMARY KEY,
    session TEXT    NOT NULL REFERENCES sessions (id),
    person  INTEGER NOT NULL
) STRICT;
CREATE INDEX tokens_session ON tokens (session);

CREATE TABLE challenges (
    id      TEXT    NOT NULL PRIMARY KEY,
    session TEXT    NOT NULL REFERENCES sessions (id),
    person  INTEGER NOT NULL,
    mail    TEXT    NOT NULL,
    issued  INTEGER NOT NULL,
    body    TEXT    NOT NULL -- workflow.Challenge as JSON
) STRICT;
CREATE INDEX challenges_person ON challenges (session, person, issued);
CREATE INDEX challenges_mail ON challenges (mail, issued);
CREATE INDEX challenges_issued ON challenges (issued);

CREATE TABLE devices (
    hash    BLOB    NOT NULL PRIMARY KEY,
    mail    TEXT    NOT NULL,
    expires INTEGER NOT NULL,
    body    TEXT    NOT NULL -- workflow.Device as JSON
) STRICT;
CREATE INDEX devices_mail ON devices (mail);
CREATE INDEX devices_expires ON devices (expires);

CREATE TABLE requests (
    key     BLOB    NOT NULL PRIMARY KEY,
    session TEXT    NOT NULL REFERENCES sessions (id),
    until   INTEGER NOT NULL
) STRICT;
CREATE INDEX requests_until ON requests (until);
