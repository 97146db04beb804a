-- Who may open what: links, codes, remembered devices; and which mails were
-- taken already. Tokens and cookies are keyed hashes; addresses are in lower case.
CREATE TABLE tokens (
    hash    bytea  NOT NULL PRIMARY KEY,
    session text   NOT NULL REFERENCES sessions (id),
    person  bigint NOT NULL
);
CREATE INDEX tokens_session ON tokens (session);

CREATE TABLE challenges (
    id      text   NOT NULL PRIMARY KEY,
    session text   NOT NULL REFERENCES sessions (id),
    person  bigint NOT NULL,
    mail    text   NOT NULL,
    issued  bigint NOT NULL,
    body    text   NOT NULL -- workflow.Challenge as JSON
);
CREATE INDEX challenges_person ON challenges (session, person, issued);
CREATE INDEX challenges_mail ON challenges (mail, issued);
CREATE INDEX challenges_issued ON challenges (issued);

CREATE TABLE devices (
    hash    bytea  NOT NULL PRIMARY KEY,
    mail    text   NOT NULL,
    expires bigint NOT NULL,
    body    text   NOT NULL -- workflow.Device as JSON
);
CREATE INDEX devices_mail ON devices (mail);
CREATE INDEX devices_expires ON devices (expires);

CREATE TABLE requests (
    key     bytea  NOT NULL PRIMARY KEY,
    session text   NOT NULL REFERENCES sessions (id),
    until   bigint NOT NULL
);
CREATE INDEX requests_until ON requests (until);
