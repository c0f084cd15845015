-- What every file of test/sql/ ends with.
\set ECHO none
SET client_min_messages = error;
DROP SCHEMA test CASCADE;
DROP EXTENSION miosa_rollback CASCADE;
RESET client_min_messages;
-- The rows of extensions that were dropped would slow down the files that follow.
VACUUM pg_attribute, pg_class, pg_constraint, pg_depend, pg_description, pg_index, pg_init_privs, pg_policy, pg_proc, pg_rewrite, pg_shdepend, pg_statistic,
	pg_trigger, pg_type;
