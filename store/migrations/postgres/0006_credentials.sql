-- What people have enrolled, by whom it is found (address in lower case).
CREATE TABLE credentials (
    id       text   NOT NULL PRIMARY KEY,
    mail     text   NOT NULL,
    enrolled bigint NOT NULL,
    body     text   NOT NULL -- workflow.Credential as JSON
);
CREATE INDEX credentials_mail ON credentials (mail, enrolled);

-- What was begun at a page and ends there once. session is no reference: an
-- enrolment may outlive what it began in.
CREATE TABLE ceremonies (
    id      text   NOT NULL PRIMARY KEY,
    kind    text   NOT NULL,
    session text   NOT NULL,
    mail    text   NOT NULL,
    created bigint NOT NULL,
    expires bigint NOT NULL,
    body    text   NOT NULL, -- workflow.Ceremony as JSON, without its Data
    data    bytea  NOT NULL
);
CREATE INDEX ceremonies_mail ON ceremonies (mail, kind, created);
CREATE INDEX ceremonies_kind ON ceremonies (kind, created);
CREATE INDEX ceremonies_session ON ceremonies (session);
CREATE INDEX ceremonies_expires ON ceremonies (expires);

-- The authority's register: an entry stands here before its certificate is signed.
CREATE TABLE certificates (
    serial     text    NOT NULL PRIMARY KEY,
    mail       text    NOT NULL,
    credential text    NOT NULL,
    key        bytea   NOT NULL,
    not_before bigint  NOT NULL,
    not_after  bigint  NOT NULL,
    revoked    bigint,
    body       text    NOT NULL -- workflow.Certificate as JSON
);
CREATE INDEX certificates_mail ON certificates (mail, not_before);
CREATE INDEX certificates_credential ON certificates (credential);
CREATE INDEX certificates_key ON certificates (key);
CREATE INDEX certificates_not_before ON certificates (not_before);
CREATE INDEX certificates_revoked ON certificates (not_after) WHERE revoked IS NOT NULL;

-- What the authority did, chained as a session's audit trail is.
CREATE TABLE authority (
    seq  bigint NOT NULL PRIMARY KEY,
    body text   NOT NULL -- workflow.Event as JSON
);

-- PDFs are compressed inside already; trying again costs time only.
ALTER TABLE ceremonies ALTER COLUMN data SET STORAGE EXTERNAL;
