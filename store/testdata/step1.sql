-- A session as step 1 held it: open, with one document. BYTES is the engine's
-- type for them.
INSERT INTO sessions (id, version, state, created, ended, body) VALUES ('aaaa', 4, 'open', 1763891000000000, NULL,
'{"id":"aaaa","version":4,"state":"open","level":"standard","people":[{"mail":"jane@corp.test","name":"Jane","language":"en","sender":true,"signatory":true,"state":"waiting"}],"documents":[{"name":"a.pdf","kind":"mailed","pages":1,"signed":false,"revisions":[{"number":0,"kind":"original","size":8,"sha256":"0682c5f2076f099c34cfdd15a9e063849ed437a49677e6fcc5b4198c76575be5","person":-1,"created":"2026-11-23T09:43:20Z"}]}],"thread":{"message_id":"<1@corp.test>","subject":"Standard"},"delivery":"attached","created":"2026-11-23T09:43:20Z","deadline":"2026-12-23T09:43:20Z","proven_by":"sasl jane"}');
INSERT INTO people (session, person, mail) VALUES ('aaaa', 0, 'jane@corp.test');
INSERT INTO mails (session, data) VALUES ('aaaa', CAST('mail' AS BYTES));
INSERT INTO contents (session, document, revision, data) VALUES ('aaaa', 0, 0, CAST('original' AS BYTES));
