\echo Use "CREATE EXTENSION miosa_rollback" to load this file. \quit

-- Nothing in this script may be found by chance: what is not in pg_catalog is
-- named with its schema (CVE-2022-2625 is what happens otherwise).
SET LOCAL search_path = pg_catalog, pg_temp;
