-- The library that the server has loaded must be as new as what is made below.

CREATE SCHEMA miosa;
COMMENT ON SCHEMA miosa IS 'miosa_rollback: deployments, versions, delivery, and the console for people';

-- The doctor shows them.
CREATE FUNCTION miosa.versions(OUT library text, OUT objects text, OUT fix text)
RETURNS record LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_versions';
COMMENT ON FUNCTION miosa.versions() IS
	'Versions of the library that is loaded and of the SQL objects, and what makes them equal; null when they are';

-- Every script that updates the extension begins with a call of it.
CREATE FUNCTION miosa.require_library()
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_require_library';
COMMENT ON FUNCTION miosa.require_library() IS 'Raises an error if the library that is loaded is older than the SQL objects';

SELECT miosa.require_library();
