-- PostgreSQL keeps its workers here. On SQLite there is only one, and the lock
-- on the file beside the database tells whether it lives.
SELECT 1;
