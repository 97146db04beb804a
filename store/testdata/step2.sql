-- Who may open the session of step 1, as step 2 held it.
INSERT INTO tokens (hash, session, person) VALUES (CAST('token' AS BYTES), 'aaaa', 0);
INSERT INTO challenges (id, session, person, mail, issued, body) VALUES ('c', 'aaaa', 0, 'jane@corp.test', 1763891000000000,
'{"id":"c","session":"aaaa","person":0,"mail":"jane@corp.test","issued":"2026-11-23T09:43:20Z","tries":2,"opened":"0001-01-01T00:00:00Z","signed":"0001-01-01T00:00:00Z"}');
INSERT INTO devices (hash, mail, expires, body) VALUES (CAST('device' AS BYTES), 'jane@corp.test', 1863891000000000,
'{"mail":"jane@corp.test","created":"2026-11-23T09:43:20Z","expires":"2029-01-23T11:30:00Z","agent":"Firefox on Linux"}');
INSERT INTO requests (key, session, until) VALUES (CAST('key' AS BYTES), 'aaaa', 1863891000000000);
