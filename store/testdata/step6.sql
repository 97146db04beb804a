-- Jane's device, its certificate and a preparation, as step 6 held them.
INSERT INTO credentials (id, mail, enrolled, body) VALUES ('cred', 'jane@corp.test', 1763891000000000,
'{"id":"cred","mail":"jane@corp.test","kind":"passkey","name":"Safari on iPhone","data":"eyJ9","enrolled":"2026-11-23T09:43:20Z","approved_by":"directory password"}');
INSERT INTO ceremonies (id, kind, session, mail, created, expires, body, data) VALUES ('cere', 'preparation', 'aaaa', 'jane@corp.test', 1763891000000000, 1863891000000000,
'{"id":"cere","kind":"preparation","session":"aaaa","person":0,"mail":"jane@corp.test","created":"2026-11-23T09:43:20Z","expires":"2029-01-23T11:30:00Z","data":null}', CAST('prepared' AS BYTES));
INSERT INTO certificates (serial, mail, credential, key, not_before, not_after, revoked, body) VALUES ('c0ffee', 'jane@corp.test', 'cred', CAST('key' AS BYTES), 1763891000000000, 1766483000000000, NULL,
'{"serial":"c0ffee","mail":"jane@corp.test","name":"Jane","credential":"cred","by":"enrolment","key":"0000000000000000000000000000000000000000000000000000000000000001","public_key":"AQ==","der":"Ag==","not_before":"2026-11-23T09:43:20Z","not_after":"2026-12-23T09:43:20Z","revoked":"0001-01-01T00:00:00Z"}');
INSERT INTO authority (seq, body) VALUES (1,
'{"seq":1,"time":"2026-11-23T09:43:20Z","kind":"issued","actor":"milterd","detail":{"serial":"c0ffee"},"prev":"0000000000000000000000000000000000000000000000000000000000000000","hash":"17af06b38b9789cdc587b852fae2149f467d8d2d0fa1d80302628ea1f0d3f583"}');
