-- Versions that are marked as bad.  The mark of one version is in its row, that of
-- an artifact is a row here and counts for all versions with that artifact.
-- src/operation/bad_version.c says what follows from it.

CREATE TABLE miosa.bad_artifacts (
	artifact text COLLATE "C" NOT NULL,
	tenant_id text COLLATE "C" NOT NULL,
	reason text NOT NULL,
	marked_by text NOT NULL,
	since timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (artifact, tenant_id),
	CONSTRAINT "times must be from 1970 to 2199" CHECK (since >= '1970-01-01 00:00:00+00' AND since < '2200-01-01 00:00:00+00')
);
COMMENT ON TABLE miosa.bad_artifacts IS 'Artifacts that are marked as bad, and with them all versions that have them';
COMMENT ON COLUMN miosa.bad_artifacts.artifact IS 'SHA-256 of the artifact, hex; the image of versions that have none';
COMMENT ON COLUMN miosa.bad_artifacts.tenant_id IS 'Tenant for whose versions the mark counts; * for every tenant';
COMMENT ON COLUMN miosa.bad_artifacts.reason IS 'Why, in the caller''s words';
COMMENT ON COLUMN miosa.bad_artifacts.marked_by IS 'Id of the actor that marked it';
COMMENT ON COLUMN miosa.bad_artifacts.since IS 'When it was marked';

-- Every process remembers whether there are any.
CREATE FUNCTION miosa.bad_artifacts_changed() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_bad_artifacts_changed';
COMMENT ON FUNCTION miosa.bad_artifacts_changed() IS 'Trigger: what processes know of miosa.bad_artifacts is outdated';

CREATE TRIGGER bad_artifacts_changed AFTER INSERT OR UPDATE OR DELETE ON miosa.bad_artifacts
	FOR EACH ROW EXECUTE FUNCTION miosa.bad_artifacts_changed();
CREATE TRIGGER bad_artifacts_truncated AFTER TRUNCATE ON miosa.bad_artifacts
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.bad_artifacts_changed();
ALTER TABLE miosa.bad_artifacts ENABLE ALWAYS TRIGGER bad_artifacts_changed;
ALTER TABLE miosa.bad_artifacts ENABLE ALWAYS TRIGGER bad_artifacts_truncated;

-- Name the artifact of a version.
CREATE FUNCTION miosa.artifact_name(deployment_id text, version_id text) RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_artifact_name';
COMMENT ON FUNCTION miosa.artifact_name(text, text) IS 'What names the artifact of a version in miosa.bad_artifacts: its digest, else its image, else null';

-- Marking, and taking the mark away.

-- Store or remove a mark; returns what is to be said of it.
CREATE FUNCTION miosa.write_bad_mark(deployment miosa.deployments, version_id text, artifact text, reason text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	-- Who acts for all tenants marks, and clears, for all.
	everywhere CONSTANT boolean := miosa.sees_all_tenants();
	actor CONSTANT text := (miosa.current_actor()).id;
BEGIN
	IF artifact IS NULL THEN
		UPDATE miosa.versions v SET updated_at = clock_timestamp(), bad_reason = reason,
			bad_since = CASE WHEN reason IS NOT NULL THEN coalesce(v.bad_since, clock_timestamp()) END,
			bad_by = CASE WHEN reason IS NOT NULL THEN actor END
			WHERE v.deployment_id = deployment.id AND v.id = version_id;
	ELSIF reason IS NOT NULL THEN
		INSERT INTO miosa.bad_artifacts VALUES (artifact, CASE WHEN everywhere THEN '*' ELSE deployment.tenant_id END, reason, actor, clock_timestamp())
			ON CONFLICT ON CONSTRAINT bad_artifacts_pkey DO UPDATE SET reason = EXCLUDED.reason, marked_by = EXCLUDED.marked_by;
	ELSE
		DELETE FROM miosa.bad_artifacts b WHERE b.artifact = artifact
			AND (b.tenant_id = deployment.tenant_id OR everywhere AND b.tenant_id = '*');
	END IF;
END $$;
COMMENT ON FUNCTION miosa.write_bad_mark(miosa.deployments, text, text, text) IS 'Marks a version or, unless null, an artifact as bad for this reason; null removes the mark';

-- Warn that a version serves although it is marked, or is still marked.
CREATE FUNCTION miosa.bad_warning(deployment miosa.deployments, version_id text, mark boolean, scope text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	still CONSTANT jsonb := miosa.bad_mark(deployment.id, version_id);
	message text;
	detail text;
	hint text;
BEGIN
	IF mark AND version_id IN (deployment.active_version_id, deployment.serving_version_id) THEN
		message := format('version "%s" is marked as bad, and still serves', version_id);
		detail := 'A mark changes no route.';
		hint := format('To leave it, type SELECT miosa_rollback(%L, reason => %L);', deployment.id, still ->> 'reason');
	ELSIF NOT mark AND still IS NOT NULL THEN
		message := format('version "%s" is still marked as bad', version_id);
		detail := CASE still ->> 'scope' WHEN 'artifact' THEN 'Its artifact was marked at %s by %s: %s'
			ELSE 'It was marked by itself at %s by %s: %s' END;
		detail := format(detail, still ->> 'since', still ->> 'by', still ->> 'reason');
		-- A tenant cannot clear what was marked for all.
		hint := format(CASE still ->> 'scope' WHEN scope THEN 'Somebody who acts for all tenants can take that mark away with SELECT miosa_clear_bad(%L, %L, scope => %L);'
			ELSE 'To take that mark away, type SELECT miosa_clear_bad(%L, %L, scope => %L);' END,
			deployment.id, version_id, still ->> 'scope');
	ELSE
		RETURN NULL;
	END IF;
	RAISE WARNING '%', message USING DETAIL = detail, HINT = hint;
	RETURN jsonb_build_array(jsonb_build_object('code', 'VERSION_BAD', 'message', message, 'detail', detail, 'hint', hint));
END $$;
COMMENT ON FUNCTION miosa.bad_warning(miosa.deployments, text, boolean, text) IS 'Warns of a version that was marked and serves, or was cleared and is still marked; returns the warnings of the response';

-- Mark a version or take its mark away, as an operation.
CREATE FUNCTION miosa.note_bad(mark boolean, deployment_id text, version_id text, reason text, scope text, idempotency_key text)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	key CONSTANT text := miosa.request_key(idempotency_key);
	action CONSTANT text := CASE WHEN mark THEN 'mark_bad' ELSE 'clear_bad' END;
	stored jsonb;
	d miosa.deployments;
	artifact text;
BEGIN
	PERFORM miosa.check_id(deployment_id, 'deployment id');
	PERFORM miosa.check_id(version_id, 'version id');
	PERFORM miosa.check_word(scope, 'scope', ARRAY['deployment', 'artifact']);
	IF mark AND coalesce(reason, '') !~ E'\\S' THEN
		PERFORM miosa.refuse_value('argument', 'reason', reason, 'A version is marked as bad for a reason.',
			format('SELECT miosa_mark_bad(%L, %L, reason => ''errors at checkout''%s);', deployment_id, version_id,
				concat(CASE WHEN scope <> 'deployment' THEN ', scope => ' || quote_literal(scope) END, ', idempotency_key => ' || quote_literal(idempotency_key))));
	END IF;
	stored := miosa.note_begin(action, deployment_id, key, ARRAY[version_id, scope], reason);
	IF stored IS NOT NULL THEN
		RETURN stored;
	END IF;
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = deployment_id;
	IF NOT EXISTS (SELECT FROM miosa.versions v WHERE v.deployment_id = deployment_id AND v.id = version_id) THEN
		PERFORM miosa.no_version(deployment_id, version_id);
	END IF;
	IF scope = 'artifact' THEN
		artifact := miosa.artifact_name(deployment_id, version_id);
		IF artifact IS NULL THEN
			PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('the artifact of version "%s" is not known', version_id),
				'The version has neither a digest nor an image.',
				CASE WHEN mark THEN format('To mark this version alone: SELECT miosa_mark_bad(%L, %L, reason => %L%s);', deployment_id, version_id, reason,
						', idempotency_key => ' || quote_literal(idempotency_key))
					ELSE format('To take the mark of this version away: SELECT miosa_clear_bad(%L, %L%s);', deployment_id, version_id,
						concat(', reason => ' || quote_literal(reason), ', idempotency_key => ' || quote_literal(idempotency_key))) END);
		END IF;
	END IF;
	PERFORM miosa.write_bad_mark(d, version_id, artifact, CASE WHEN mark THEN reason END);
	RETURN miosa.note_write(action, deployment_id, key, ARRAY[version_id, scope], reason,
		jsonb_strip_nulls(jsonb_build_object('version', version_id, 'scope', scope, 'artifact', artifact)),
		miosa.bad_warning(d, version_id, mark, scope));
END $$;
COMMENT ON FUNCTION miosa.note_bad(boolean, text, text, text, text, text) IS 'Does the work of miosa_mark_bad() and miosa_clear_bad()';

-- Mark a version.
CREATE FUNCTION @extschema@.miosa_mark_bad(deployment_id text, version_id text, reason text,
	scope text DEFAULT 'deployment', idempotency_key text DEFAULT NULL)
RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
RETURN miosa.note_bad(true, $1, $2, $3, $4, $5);
COMMENT ON FUNCTION @extschema@.miosa_mark_bad(text, text, text, text, text) IS 'Marks a version, or with scope artifact all versions with its artifact, as bad: no default target, and refused to promotions';

-- Take the mark away.
CREATE FUNCTION @extschema@.miosa_clear_bad(deployment_id text, version_id text, reason text DEFAULT NULL,
	scope text DEFAULT 'deployment', idempotency_key text DEFAULT NULL)
RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
RETURN miosa.note_bad(false, $1, $2, $3, $4, $5);
COMMENT ON FUNCTION @extschema@.miosa_clear_bad(text, text, text, text, text) IS 'Takes a mark of miosa_mark_bad() away';
