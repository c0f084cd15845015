-- What every file of test/sql/ ends with.
\set ECHO none
SET client_min_messages = error;
DROP SCHEMA test CASCADE;
DROP EXTENSION miosa_rollback CASCADE;
RESET client_min_messages;
