-- What people have enrolled, by whom it is found (address in lower case).
CREATE TABLE credentials (
    id       TEXT    NOT NULL PRIMARY KEY,
    mail     TEXT    NOT NULL,
    enrolled INTEGER NOT NULL,
    body     TEXT    NOT NULL -- workflow.Credential as JSON
) STRICT;
CREATE INDEX credentials_mail ON credentials (mail, enrolled);

-- What was begun at a page and ends there once. session is no reference: an
-- enrolment may outlive what it began in.
CREATE TABLE ceremonies (
    id      TEXT    NOT NULL PRIMARY KEY,
    kind    TEXT    NOT NULL,
    session TEXT    NOT NULL,
    mail    TEXT    NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    body    TEXT    NOT NULL, -- workflow.Ceremony as JSON, without its Data
    data    BLOB    NOT NULL
) STRICT;
CREATE INDEX ceremonies_mail ON ceremonies (mail, kind, created);
CREATE INDEX ceremonies_kind ON ceremonies (kind, created);
CREATE INDEX ceremonies_session ON ceremonies (session);
CREATE INDEX ceremonies_expires ON ceremonies (expires);

-- The authority's register: an entry stands here before its certificate is signed.
CREATE TABLE certificates (
    serial     TEXT    NOT NULL PRIMARY KEY,
    mail       TEXT    NOT NULL,
    credential TEXT    NOT NULL,
    key        BLOB    NOT NULL,
    not_before INTEGER NOT NULL,
    not_after  INTEGER NOT NULL,
    revoked    INTEGER,
    body       TEXT    NOT NULL -- workflow.Certificate as JSON
) STRICT;
CREATE INDEX certificates_mail ON certificates (mail, not_before);
CREATE INDEX certificates_credential ON certificates (credential);
CREATE INDEX certificates_key ON certificates (key);
CREATE INDEX certificates_not_before ON certificates (not_before);
CREATE INDEX certificates_revoked ON certificates (not_after) WHERE revoked IS NOT NULL;

-- What the authority did, chained as a session's audit trail is.
CREATE TABLE authority (
    seq  INTEGER NOT NULL PRIMARY KEY,
    body TEXT    NOT NULL -- workflow.Event as JSON
) STRICT;
