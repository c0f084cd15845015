-- Adapters: what each of them sends, byte for byte, and what is refused.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

\i :cleanup
