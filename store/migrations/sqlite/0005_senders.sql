-- Who asked (address in lower case), to count what one sender opens in an hour.
ALTER TABLE sessions ADD COLUMN sender TEXT NOT NULL DEFAULT '';
UPDATE sessions SET sender = COALESCE((SELECT mail FROM people WHERE people.session = sessions.id AND people.person = 0), '');
CREATE INDEX sessions_sender ON sessions (sender, created);
