-- How calls that name no deployment find their shards, and how the answers of
-- several shards become one.

-- The shards' own functions (miosa_shard.sql).

CREATE OR REPLACE FUNCTION miosa_shard.identity(context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT CASE WHEN miosa_shard.adopt($1::text[]) THEN miosa_shard.identity() END;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.named(name text, context text[], shard integer) RETURNS text[] LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT CASE WHEN miosa_shard.adopt($2::text[]) THEN miosa_shard.named($1::text) END;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.host_name(fqdn text, shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT miosa_shard.host_name($1::text);
$$;
CREATE OR REPLACE FUNCTION miosa_shard.has_host(host text, shard integer) RETURNS boolean LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT miosa_shard.has_host($1::text);
$$;
CREATE OR REPLACE FUNCTION miosa_shard.sees_host(host text, context text[], shard integer) RETURNS boolean LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT CASE WHEN miosa_shard.adopt($2::text[]) THEN miosa_shard.sees_host($1::text) END;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.host_deployment(host text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT CASE WHEN miosa_shard.adopt($2::text[]) THEN miosa_shard.host_deployment($1::text) END;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.maintained(began timestamptz, removed bigint, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT (CASE WHEN miosa_shard.adopt($3::text[]) THEN miosa_shard.maintained($1::timestamptz, $2::bigint) END)::text;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.claim_host(host text, deployment_id text, expected jsonb, shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT miosa_shard.claim_host($1::text, $2::text, $3::jsonb);
$$;
CREATE OR REPLACE FUNCTION miosa_shard.confirm_host(host text, deployment_id text, shard integer) RETURNS boolean LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT miosa_shard.confirm_host($1::text, $2::text);
$$;
CREATE OR REPLACE FUNCTION miosa_shard.release_host(host text, deployment_id text, shard integer) RETURNS boolean LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT miosa_shard.release_host($1::text, $2::text);
$$;
CREATE OR REPLACE FUNCTION miosa_shard.forget_host(host text, shard integer) RETURNS boolean LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT miosa_shard.forget_host($1::text);
$$;
CREATE OR REPLACE FUNCTION miosa_shard.restart_dispatcher(shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $1;
	SELECT miosa_shard.restart_dispatcher()::text;
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA miosa_shard FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard.identity(text[], integer) TO miosa_operator;
GRANT EXECUTE ON FUNCTION miosa_shard.named(text, text[], integer) TO miosa_viewer, miosa_auditor;
GRANT EXECUTE ON FUNCTION miosa_shard.host_deployment(text, text[], integer) TO miosa_viewer, miosa_edge;
GRANT EXECUTE ON FUNCTION miosa_shard.host_name(text, integer), miosa_shard.has_host(text, integer), miosa_shard.sees_host(text, text[], integer),
	miosa_shard.maintained(timestamptz, bigint, text[], integer), miosa_shard.claim_host(text, text, jsonb, integer),
	miosa_shard.confirm_host(text, text, integer), miosa_shard.release_host(text, text, integer), miosa_shard.forget_host(text, integer),
	miosa_shard.restart_dispatcher(integer) TO miosa_admin;

-- Names that people give.

-- Which shards know a deployment or a fleet of a name.  Whether the name is one
-- deployment's only is known when all shards have been asked.
CREATE OR REPLACE FUNCTION miosa_router.shards_named(name text, OUT number integer, OUT ids text[]) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_context text[] := miosa_router.context();
	_each record;
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT s.number FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			ids := miosa_shard.named($1, _context, _each.number);
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			PERFORM miosa_router.pass_on(_each.number, _state, _message, _detail, _hint);
		END;
		IF pg_catalog.cardinality(ids) OPERATOR(pg_catalog.>) 0 THEN
			number := _each.number;
			RETURN NEXT;
		END IF;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa_router.shards_named(text) IS 'Shards on which an id, host, slug or fleet is known, with the ids there';

-- An id is found where it belongs, also while other shards are down.
CREATE OR REPLACE FUNCTION miosa_router.locate(name text) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	_home integer := miosa_router.shard_of(name);
	_found record;
	_shards integer := 0;
	_shard integer;
	_ids text[] := '{}';
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	BEGIN
		IF name OPERATOR(pg_catalog.=) ANY (miosa_shard.named(name, miosa_router.context(), _home)) THEN
			RETURN _home;
		END IF;
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
		PERFORM miosa_router.pass_on(_home, _state, _message, _detail, _hint);
	END;
	FOR _found IN SELECT * FROM miosa_router.shards_named(name) LOOP
		_shards := _shards OPERATOR(pg_catalog.+) 1;
		_shard := _found.number;
		_ids := _ids OPERATOR(pg_catalog.||) _found.ids;
	END LOOP;
	IF _shards OPERATOR(pg_catalog.>) 1 THEN
		PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0,
			pg_catalog.format('slug "%s" is not unique', name),
			pg_catalog.format('Deployments of that slug: %s.', pg_catalog.array_to_string(_ids[1:6], ', ')),
			'Name it by one of these ids, or by a host.');
	END IF;
	-- A name that none knows is refused by the shard that it would be on.
	RETURN coalesce(_shard, _home);
END $$;
COMMENT ON FUNCTION miosa_router.locate(text) IS 'Shard of the deployment of this id, host or slug, or of this fleet';

-- A page is of one database, so without a name there is none.
CREATE OR REPLACE FUNCTION miosa_router.locate_page(name text) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	IF name IS NULL THEN
		RAISE EXCEPTION 'the page of all deployments is not there at a router'
			USING ERRCODE = 'feature_not_supported', DETAIL = 'Each shard has a page of its own.',
			HINT = 'Ask each shard, or see the lines of all with TABLE miosa.overview;';
	END IF;
	RETURN miosa_router.locate(name);
END $$;
COMMENT ON FUNCTION miosa_router.locate_page(text) IS 'Shard of the deployment whose page is asked for';

CREATE OR REPLACE FUNCTION miosa_router.locate_operation(name text) RETURNS integer
LANGUAGE sql VOLATILE AS $$
	SELECT miosa_router.locate(pg_catalog.regexp_replace($1, '#[0-9]+$', ''))
$$;
COMMENT ON FUNCTION miosa_router.locate_operation(text) IS 'Shard of a deployment, a fleet, or an operation such as dep_1#7';

-- Hosts.  A directory says which deployment may have a host: the entry of a
-- host is on the shard of the host's own bucket.  To have a host is to claim the
-- entry, have the shard put the host, and confirm.  Each step commits on its
-- shard, so a crash leaves a claim at most, and a claim that nothing came of is
-- taken over: when it is old enough that no call is at work, and no shard has the host.

CREATE OR REPLACE FUNCTION miosa_router.directory_of(host text) RETURNS integer
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN miosa_router.check_on((SELECT b.shard FROM miosa_router.buckets b WHERE b.bucket = miosa_router.bucket_of($1)));
END $$;
COMMENT ON FUNCTION miosa_router.directory_of(text) IS 'Shard that has the directory''s entry of a host';

-- The name as it is stored, by the rules of the extension.
CREATE OR REPLACE FUNCTION miosa_router.host_name(fqdn text, shard integer) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_shard.host_name(fqdn, shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(shard, _state, _message, _detail, _hint);
END $$;
COMMENT ON FUNCTION miosa_router.host_name(text, integer) IS 'The host name as that shard stores it';

-- The shard that has a host, of all; SHARD_UNAVAILABLE if one cannot be asked.
CREATE OR REPLACE FUNCTION miosa_router.owner_of_host(host text) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	_each record;
	_has boolean;
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT s.number FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_has := miosa_shard.has_host($1, _each.number);
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			PERFORM miosa_router.pass_on(_each.number, _state, _message, _detail, _hint);
		END;
		IF _has THEN
			RETURN _each.number;
		END IF;
	END LOOP;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa_router.owner_of_host(text) IS 'Shard that has a host; null for none';

-- The same of a host that exists for the caller.
CREATE OR REPLACE FUNCTION miosa_router.shard_that_shows(host text) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	_each record;
	_sees boolean;
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT s.number FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_sees := miosa_shard.sees_host(host, miosa_router.context(), _each.number);
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			PERFORM miosa_router.pass_on(_each.number, _state, _message, _detail, _hint);
		END;
		IF _sees THEN
			RETURN _each.number;
		END IF;
	END LOOP;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa_router.shard_that_shows(text) IS 'Shard that has a host that exists for the caller; null for none';

-- A deployment that does not exist for the caller is said first, as on one server.
CREATE OR REPLACE FUNCTION miosa_router.refuse_taken(host text, deployment_id text, shard integer) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	BEGIN
		PERFORM miosa_shard.miosa_deployment(deployment_id, miosa_router.context(), shard);
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
		PERFORM miosa_router.pass_on(shard, _state, _message, _detail, _hint);
	END;
	PERFORM miosa_router.refuse_managed(host);
	PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, pg_catalog.format('host "%s" is taken', host),
		'A deployment of another shard has the host.', pg_catalog.format('Pass another host, or remove it there first: SELECT miosa_remove_domain(%L);', host));
END $$;
COMMENT ON FUNCTION miosa_router.refuse_taken(text, text, integer) IS 'Raises INVALID_ARGUMENT for a host that another shard has, or what the shard says of the deployment';

-- No other shard may remove the host from edges after this one has put it.
CREATE OR REPLACE FUNCTION miosa_router.forget_host(host text, deployment_id text, shard integer) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	_each record;
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT s.number FROM miosa_router.all_shards() s WHERE s.number OPERATOR(pg_catalog.<>) shard LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			-- The directory had no entry, which does not mean that nobody has it.
			IF miosa_shard.has_host(host, _each.number) THEN
				PERFORM miosa_router.refuse_taken(host, deployment_id, shard);
			END IF;
			IF miosa_shard.forget_host(host, _each.number) THEN
				PERFORM miosa_shard.restart_dispatcher(_each.number);
			END IF;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			PERFORM miosa_router.pass_on(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa_router.forget_host(text, text, integer) IS 'Has all other shards, none of which may have it, forget that a host was removed there';

CREATE OR REPLACE FUNCTION miosa_router.claim_host(fqdn text, deployment_id text, shard integer) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_variable
DECLARE
	-- Longer than a call can be at work between two steps.
	patience CONSTANT double precision := 10;
	host text := miosa_router.host_name(fqdn, shard);
	directory integer := miosa_router.directory_of(host);
	entry jsonb;
	owner integer;
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR attempt IN 1 .. 5 LOOP
		BEGIN
			entry := miosa_shard.claim_host(host, deployment_id, entry, directory);
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			PERFORM miosa_router.pass_on(directory, _state, _message, _detail, _hint);
		END;
		IF entry IS NULL THEN
			PERFORM miosa_router.forget_host(host, deployment_id, shard);
			RETURN host;
		ELSIF (entry OPERATOR(pg_catalog.->>) 'own')::boolean THEN
			RETURN host;
		END IF;
		owner := miosa_router.owner_of_host(host);
		IF owner OPERATOR(pg_catalog.<>) shard THEN
			PERFORM miosa_router.refuse_taken(host, deployment_id, shard);
		ELSIF owner IS NULL AND (entry OPERATOR(pg_catalog.->>) 'age')::double precision OPERATOR(pg_catalog.<) patience
			AND entry OPERATOR(pg_catalog.->>) 'state' OPERATOR(pg_catalog.=) 'claimed' THEN
			PERFORM miosa_router.refuse('MR423', 'DEPLOYMENT_BUSY', 423, 1, pg_catalog.format('host "%s" is being taken by another call', host),
				pg_catalog.format('The claim is %s s old.', pg_catalog.round((entry OPERATOR(pg_catalog.->>) 'age')::numeric, 1)), 'Repeat the call.');
		END IF;
		-- Nobody has it, or the same shard, which knows whether it may move: the
		-- next attempt takes the entry if it is still the one that was seen.
	END LOOP;
	PERFORM miosa_router.refuse('MR423', 'DEPLOYMENT_BUSY', 423, 1, pg_catalog.format('host "%s" is being taken by another call', host),
		'Several calls take the host at the same time.', 'Repeat the call.');
END $$;
COMMENT ON FUNCTION miosa_router.claim_host(text, text, integer) IS 'First step of having a host: claims its entry in the directory; returns the host as it is stored';

-- A call that took longer than its claim was respected has lost it.
CREATE OR REPLACE FUNCTION miosa_router.confirm_host(host text, deployment_id text, shard integer) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	directory integer := miosa_router.directory_of(host);
	ours boolean := true;
BEGIN
	BEGIN
		ours := miosa_shard.confirm_host(host, deployment_id, directory);
	EXCEPTION WHEN OTHERS THEN
		-- The claim stays, and counts as long as the shard has the host.
		NULL;
	END;
	IF NOT ours THEN
		PERFORM miosa_shard.miosa_remove_domain(host, NULL, shard);
		PERFORM miosa_router.refuse('MR423', 'DEPLOYMENT_BUSY', 423, 1, pg_catalog.format('host "%s" is taken', host),
			'Another call took the host over, because this one took too long.', 'Repeat the call.');
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.confirm_host(text, text, integer) IS 'Last step of having a host';

-- After a refusal, or when a host was removed.  What became of a call whose
-- answer was lost is not known; its claim stays.
CREATE OR REPLACE FUNCTION miosa_router.release_host(fqdn text, deployment_id text, sqlstate text, message text) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_variable
DECLARE
	host text;
BEGIN
	IF NOT coalesce(miosa_router.is_down(sqlstate, message), false) THEN
		host := miosa_router.host_name(fqdn, miosa_router.directory_of(fqdn));
		IF miosa_router.owner_of_host(host) IS NULL THEN
			PERFORM miosa_shard.release_host(host, deployment_id, miosa_router.directory_of(host));
		END IF;
	END IF;
EXCEPTION WHEN OTHERS THEN
	-- An entry that stays is in nobody's way: no shard has the host.
	NULL;
END $$;
COMMENT ON FUNCTION miosa_router.release_host(text, text, text, text) IS 'Removes the entry of a host that no shard has';

CREATE OR REPLACE FUNCTION miosa_router.shard_of_host(fqdn text) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	directory integer := miosa_router.directory_of(coalesce(fqdn, ''));
	host text := miosa_router.host_name(fqdn, directory);
BEGIN
	RETURN coalesce(miosa_router.shard_that_shows(host), directory);
END $$;
COMMENT ON FUNCTION miosa_router.shard_of_host(text) IS 'Shard that has a host that exists for the caller; if none has it, that of its entry';

-- A host moves within a shard, where both deployments change in one transaction.
CREATE OR REPLACE FUNCTION miosa_router.shard_to_move_to(host text, deployment text, shard integer) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	_there integer := miosa_router.shard_that_shows(miosa_router.host_name(host, shard));
BEGIN
	IF _there OPERATOR(pg_catalog.<>) shard THEN
		PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, pg_catalog.format('host "%s" is on another shard', host),
			pg_catalog.format('The host is on shard "%s", the deployment on "%s".',
				(SELECT s.name FROM miosa_router.all_shards() s WHERE s.number OPERATOR(pg_catalog.=) _there),
				(SELECT s.name FROM miosa_router.all_shards() s WHERE s.number OPERATOR(pg_catalog.=) shard)),
			pg_catalog.format('Move the deployment there, then the host: CALL miosa_move_deployment(%1$L, %2$L); SELECT miosa_move_host(%3$L, %1$L);', deployment,
				(SELECT s.name FROM miosa_router.all_shards() s WHERE s.number OPERATOR(pg_catalog.=) _there), host));
	END IF;
	RETURN shard;
END $$;
COMMENT ON FUNCTION miosa_router.shard_to_move_to(text, text, integer) IS 'The shard, if it has the host too; else INVALID_ARGUMENT';

-- Where the route of a host may be: on the shard of its own entry, else of the
-- wildcard above it, else, a managed host, on any.
CREATE OR REPLACE FUNCTION miosa_router.shards_of_host(host text, OUT number integer, OUT name text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_host text := pg_catalog.rtrim(pg_catalog.lower($1 COLLATE "C"), '.');
	_candidate text;
	_deployment text;
BEGIN
	FOREACH _candidate IN ARRAY ARRAY[_host, '*' OPERATOR(pg_catalog.||) pg_catalog.substring(_host, '[.].*$')] LOOP
		CONTINUE WHEN _candidate IS NULL;
		BEGIN
			_deployment := miosa_shard.host_deployment(_candidate, miosa_router.context(), miosa_router.directory_of(_candidate));
		EXCEPTION WHEN OTHERS THEN
			-- Without the directory, all are asked.
			EXIT;
		END;
		IF _deployment IS NOT NULL THEN
			RETURN QUERY SELECT s.number, s.name FROM miosa_router.all_shards() s
				ORDER BY s.number OPERATOR(pg_catalog.<>) miosa_router.shard_of(_deployment), s.number;
			RETURN;
		END IF;
	END LOOP;
	RETURN QUERY SELECT s.number, s.name FROM miosa_router.all_shards() s;
END $$;
COMMENT ON FUNCTION miosa_router.shards_of_host(text) IS 'Shards to ask for the route of a host, the likeliest first';

-- Changes on all shards.

CREATE OR REPLACE FUNCTION miosa_router.is_lacking(sqlstate text, message text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN sqlstate = 'MR400' AND message ~ ' does not exist$|(^|: )invalid value for argument "name": ';
COMMENT ON FUNCTION miosa_router.is_lacking(text, text) IS 'Whether a shard refuses to remove something because it is not there';

-- Fleets.

-- A shard refuses ids that it does not have.
CREATE OR REPLACE FUNCTION miosa_router.split_selector(given jsonb, OUT number integer, OUT name text, OUT selector jsonb) RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	_ids text[];
BEGIN
	IF jsonb_typeof($1 -> 'ids') = 'array' THEN
		_ids := ARRAY(SELECT e.value FROM jsonb_array_elements_text($1 -> 'ids') e);
	ELSIF jsonb_typeof($1 -> 'ids') = 'string' THEN
		_ids := ARRAY[$1 ->> 'ids'];
	END IF;
	IF cardinality(_ids) > 0 THEN
		RETURN QUERY SELECT s.number, s.name, jsonb_set($1, '{ids}', i.ids)
			FROM (SELECT miosa_router.shard_of(e.id) AS shard, jsonb_agg(e.id ORDER BY e.place) AS ids
				FROM unnest(_ids) WITH ORDINALITY e (id, place) GROUP BY 1) i
			JOIN miosa_router.all_shards() s ON s.number = i.shard ORDER BY s.number;
	ELSE
		RETURN QUERY SELECT s.number, s.name, $1 FROM miosa_router.all_shards() s;
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.split_selector(jsonb) IS 'Shards that a selector of deployments concerns, each with its part of it';

-- call: how the function begins; arguments: names and values, of which null was not
-- given.
CREATE OR REPLACE FUNCTION miosa_router.check_mode(selector jsonb, mode text, call text, arguments text[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	shards text[] := ARRAY(SELECT s.name FROM miosa_router.split_selector(selector) s);
	possible text;
BEGIN
	IF mode = 'atomic' AND cardinality(shards) > 1 THEN
		SELECT format('%s(%s);', call, string_agg(format('%s => %L', quote_ident(arguments[n]),
				CASE arguments[n] WHEN 'mode' THEN 'best_effort' ELSE arguments[n + 1] END), ', ' ORDER BY n))
			INTO possible FROM generate_series(1, cardinality(arguments), 2) n WHERE arguments[n + 1] IS NOT NULL;
		PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, 'a fleet on several shards cannot be atomic',
			format('The selector concerns the shards %s, each of which commits by itself.', array_to_string(shards, ', ')),
			CASE WHEN length(possible) <= 4000 THEN 'Pass ids that are on one shard, or have each shard commit by itself: ' || possible
				ELSE 'Pass ids that are on one shard, or mode => ''best_effort'' with the same key.' END);
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.check_mode(jsonb, text, text, text[]) IS 'Raises INVALID_ARGUMENT for an atomic fleet on several shards; the HINT has the call that is possible';

-- Counts are added, lists are joined in the order of the ids; fleets has the id
-- of the fleet on each shard.
CREATE OR REPLACE FUNCTION miosa_router.merge_fleet(answers jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	result jsonb := '{}';
	member record;
BEGIN
	IF (SELECT count(*) FROM jsonb_object_keys(answers)) = 1 THEN
		RETURN (SELECT a.value FROM jsonb_each(answers) a);
	END IF;
	FOR member IN SELECT f.key, min(jsonb_typeof(f.value)) AS type, jsonb_agg(f.value ORDER BY a.key) AS found
		FROM jsonb_each(answers) a, jsonb_each(a.value -> 'data') f GROUP BY f.key
	LOOP
		result := result || jsonb_build_object(member.key, CASE member.type
			WHEN 'number' THEN (SELECT to_jsonb(sum(e.value::numeric)) FROM jsonb_array_elements_text(member.found) e)
			WHEN 'array' THEN (SELECT coalesce(jsonb_agg(l.value ORDER BY l.value ->> 'deployment_id' COLLATE "C"), '[]')
				FROM jsonb_array_elements(member.found) e, jsonb_array_elements(e.value) l)
			ELSE member.found -> 0 END);
	END LOOP;
	RETURN jsonb_build_object('data', result || jsonb_build_object('fleet_id', NULL,
		'fleets', (SELECT coalesce(jsonb_object_agg(a.key, a.value #> '{data,fleet_id}'), '{}') FROM jsonb_each(answers) a)));
END $$;
COMMENT ON FUNCTION miosa_router.merge_fleet(jsonb) IS 'One answer of a fleet, from those of the shards by name';

-- Lists.

-- The cursor of the extension (miosa.audit_cursor()) is a place in an order that all
-- shards share, so one cursor is good for all.
CREATE OR REPLACE FUNCTION miosa_router.merge_audit_log(answers jsonb[], "limit" integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	events jsonb[];
	more boolean;
BEGIN
	SELECT array_agg(e.value ORDER BY (e.value ->> 'created_at')::timestamptz DESC, e.value ->> 'resource_id' COLLATE "C" DESC,
			(e.value #>> '{metadata,seq}')::bigint DESC) INTO events
		-- Events of a deployment that has moved are on both shards
		FROM (SELECT DISTINCT ON (d.value ->> 'id') d.value FROM unnest(answers) a (answer), jsonb_array_elements(a.answer -> 'data') d) e;
	more := cardinality(events) > "limit" OR EXISTS (SELECT FROM unnest(answers) a (answer) WHERE a.answer ->> 'next_cursor' IS NOT NULL);
	events := events[:"limit"];
	RETURN jsonb_build_object('data', coalesce(to_jsonb(events), '[]'), 'next_cursor', CASE WHEN more THEN
		encode(convert_to(format('audit:%s:%s:%s',
			(extract(epoch FROM (events[cardinality(events)] ->> 'created_at')::timestamptz) * 1000000)::bigint,
			events[cardinality(events)] ->> 'resource_id', events[cardinality(events)] #>> '{metadata,seq}'), 'UTF8'), 'hex') END);
END $$;
COMMENT ON FUNCTION miosa_router.merge_audit_log(jsonb[], integer) IS 'One page of audit events from those of the shards';

CREATE OR REPLACE FUNCTION miosa_router.merge_configuration_log(answers jsonb, "limit" integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('data', coalesce(jsonb_agg(p.event ORDER BY p.place), '[]'))
	FROM (SELECT e.value || jsonb_build_object('shard', a.key) AS event,
			row_number() OVER (ORDER BY (e.value ->> 'created_at')::timestamptz DESC, (e.value ->> 'seq')::bigint DESC, a.key) AS place
		FROM jsonb_each($1) a, jsonb_array_elements(a.value -> 'data') e) p WHERE p.place <= $2
$$;
COMMENT ON FUNCTION miosa_router.merge_configuration_log(jsonb, integer) IS 'The newest configuration events of all shards, each with its shard';

CREATE OR REPLACE FUNCTION miosa_router.merge_audit_head(answers jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('shards', coalesce((SELECT jsonb_object_agg(a.key, a.value -> 'data') FROM jsonb_each($1) a), '{}'))
$$;
COMMENT ON FUNCTION miosa_router.merge_audit_head(jsonb) IS 'The newest statement of each shard';

CREATE OR REPLACE FUNCTION miosa_router.merge_audit_verify_all(answers jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('data', jsonb_build_object(
		'verified', coalesce(bool_and((a.value #>> '{data,verified}')::boolean), true),
		'deployments', coalesce(sum((a.value #>> '{data,deployments}')::bigint), 0),
		'events', coalesce(sum((a.value #>> '{data,events}')::bigint), 0),
		'moved_events', coalesce(sum((a.value #>> '{data,moved_events}')::bigint), 0),
		'problems', (SELECT coalesce(jsonb_agg(p.value || jsonb_build_object('shard', b.key)), '[]')
			FROM jsonb_each($1) b, jsonb_array_elements(b.value #> '{data,problems}') p)))
	FROM jsonb_each($1) a
$$;
COMMENT ON FUNCTION miosa_router.merge_audit_verify_all(jsonb) IS 'Whether the audit trail of every shard that has answered is as it was written';

-- A statement is one shard's; another one does not have what it lists.
CREATE OR REPLACE FUNCTION miosa_router.merge_audit_verify_statement(answers jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT a.value || jsonb_build_object('shard', a.key) FROM jsonb_each($1) a
	ORDER BY jsonb_array_length(a.value #> '{data,problems}'), a.key LIMIT 1
$$;
COMMENT ON FUNCTION miosa_router.merge_audit_verify_statement(jsonb) IS 'The answer of the shard that fits the statement best';

-- Maintenance.

-- As the extension's procedure: it begins anywhere, so that with more than it may do,
-- what storage cannot say about does not always come first.
CREATE OR REPLACE FUNCTION miosa_router.verify_artifacts("limit" integer, context text[], shard integer) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	_page record;
	_start text;
	_position text;
	_wrapped boolean := false;
	_asked integer := 0;
BEGIN
	PERFORM miosa_shard.check_limit("limit", 1000000, context, shard);
	_start := miosa_shard.some_deployment(context, shard);
	_position := _start;
	LOOP
		SELECT d.* INTO _page FROM miosa_shard.due_artifacts(_position, context, shard) d;
		FOR i IN 1 .. pg_catalog.cardinality(_page.release_ids) LOOP
			EXIT WHEN _asked OPERATOR(pg_catalog.>=) "limit";
			PERFORM miosa_shard.verify_artifact(_page.deployment_ids[i], _page.release_ids[i], context, shard);
			_asked := _asked OPERATOR(pg_catalog.+) 1;
		END LOOP;
		EXIT WHEN _asked OPERATOR(pg_catalog.>=) "limit"
			OR (_wrapped AND (_page.next IS NULL OR _page.next COLLATE pg_catalog."C" OPERATOR(pg_catalog.>=) _start));
		_wrapped := _wrapped OR _page.next IS NULL;
		_position := coalesce(_page.next, '');
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa_router.verify_artifacts(integer, text[], integer) IS 'The steps of miosa_verify_artifacts() on a shard';

-- Routes.

-- Epochs are a shard's own, so a reader has a place in each: {"s0": 17, "s1": 4}. A
-- shard that is not in it is read from its beginning; one that is down keeps its place.
CREATE OR REPLACE FUNCTION @schema@.miosa_routes_since(epochs jsonb, "limit" integer DEFAULT 1000) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
	_context text[] := miosa_router.context();
	_each record;
	_page jsonb;
	_data jsonb := '[]';
	_next jsonb := '{}';
	_gaps text[] := '{}';
	_down text[] := '{}';
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	PERFORM miosa_router.check_epochs(epochs);
	FOR _each IN SELECT s.number, s.name, coalesce((epochs OPERATOR(pg_catalog.->>) s.name)::bigint, 0) AS epoch FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_page := miosa_shard.miosa_routes_since(_each.epoch, "limit", _context, _each.number);
			_data := _data OPERATOR(pg_catalog.||) coalesce((SELECT pg_catalog.jsonb_agg(e.value OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('shard', _each.name)
				ORDER BY e.ordinality) FROM pg_catalog.jsonb_array_elements(_page OPERATOR(pg_catalog.->) 'data') WITH ORDINALITY e), '[]');
			_next := _next OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object(_each.name, _page OPERATOR(pg_catalog.->) 'next_epoch');
			IF (_page OPERATOR(pg_catalog.->>) 'gap')::boolean THEN
				_gaps := _gaps OPERATOR(pg_catalog.||) _each.name;
			END IF;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down OPERATOR(pg_catalog.||) miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
			_next := _next OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object(_each.name, _each.epoch);
		END;
	END LOOP;
	RETURN miosa_router.with_down(pg_catalog.jsonb_build_object('data', _data, 'next_epochs', _next, 'gaps', _gaps), _down);
END $$;
COMMENT ON FUNCTION @schema@.miosa_routes_since(jsonb, integer) IS 'Route changes of all shards after an epoch of each, for listeners that missed notifications [router]';
REVOKE ALL ON FUNCTION @schema@.miosa_routes_since(jsonb, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @schema@.miosa_routes_since(jsonb, integer) TO miosa_viewer, miosa_edge;

CREATE OR REPLACE FUNCTION miosa_router.check_epochs(epochs jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	wrong text;
BEGIN
	IF jsonb_typeof(epochs) IS DISTINCT FROM 'object' THEN
		wrong := coalesce(left(epochs::text, 200), 'null');
	ELSE
		SELECT format('%s: %s', e.key, left(e.value::text, 100)) INTO wrong FROM jsonb_each(epochs) e
			WHERE NOT coalesce(e.value::text ~ '^[0-9]{1,18}$', false) OR NOT EXISTS (SELECT FROM miosa_router.all_shards() s WHERE s.name = e.key)
			ORDER BY e.key LIMIT 1;
	END IF;
	IF wrong IS NOT NULL THEN
		PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, 'invalid value for argument "epochs"',
			format('It has %s; the shards are %s.', wrong, (SELECT string_agg(s.name, ', ' ORDER BY s.number) FROM miosa_router.all_shards() s)),
			'Pass next_epochs of the last result, or an empty object for the beginning: SELECT miosa_routes_since(epochs => ''{}'');');
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.check_epochs(jsonb) IS 'Raises INVALID_ARGUMENT unless it has epochs of shards that there are';

-- Metrics.

-- A text of all shards: the samples of each, with its name as a label, below the
-- head of their family.  Whether a shard has answered is a metric, too.
CREATE OR REPLACE FUNCTION miosa_router.merge_metrics(answers jsonb, down text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH shards AS (
		SELECT a.key AS name, a.value #>> '{}' AS answer,
			format('shard="%s"', replace(replace(replace(a.key, E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n')) AS label, true AS up
		FROM jsonb_each($1) a
		UNION ALL
		SELECT d.name, '', format('shard="%s"', replace(replace(replace(d.name, E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n')), false
		FROM unnest($2) d (name)
	), lines AS (
		SELECT s.name, s.label, t.line, t.n, t.line LIKE '# %' AS head,
			-- The family that the last HELP has begun.
			max(CASE WHEN t.line LIKE '# HELP %' THEN t.n END) OVER (PARTITION BY s.name ORDER BY t.n) AS begun
		FROM shards s CROSS JOIN LATERAL string_to_table(s.answer, E'\n') WITH ORDINALITY t (line, n)
		WHERE t.line <> ''
	), families AS (
		SELECT l.*, split_part(first_value(l.line) OVER (PARTITION BY l.name, l.begun ORDER BY l.n), ' ', 3) AS family FROM lines l
	), merged AS (
		SELECT f.family, f.head, f.name, f.n,
			CASE WHEN f.head THEN f.line ELSE regexp_replace(f.line, E'^(\\w+)(?:(\\{)|( ))',
				E'\\1{' || replace(f.label, E'\\', E'\\\\') || CASE WHEN f.line ~ E'^\\w+\\{' THEN ',' ELSE '} ' END) END AS line
		FROM families f
		WHERE NOT f.head OR f.name = (SELECT min(o.name) FROM families o WHERE o.family = f.family)
		UNION ALL
		SELECT 'miosa_shard_up', true, '', h.n, h.line FROM (VALUES
			(1, '# HELP miosa_shard_up Whether the shard answers the router'), (2, '# TYPE miosa_shard_up gauge')) h (n, line)
		UNION ALL
		SELECT 'miosa_shard_up', false, s.name, 3, format('miosa_shard_up{%s} %s', s.label, s.up::integer) FROM shards s
	)
	SELECT string_agg(m.line || E'\n', '' ORDER BY m.family, NOT m.head, m.name, m.n) FROM merged m
$$;
COMMENT ON FUNCTION miosa_router.merge_metrics(jsonb, text[]) IS 'Metrics of all shards, each with its shard as a label';

-- Alerts.

-- Each alert goes to the shard of the deployment that it names.  One that no shard
-- knows goes to the first, which says so; one that several know goes to none.
CREATE OR REPLACE FUNCTION miosa_router.split_alerts(given jsonb, OUT number integer, OUT name text, OUT places integer[], OUT payload jsonb) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	_alert record;
	_shards integer[];
	_known jsonb := '{}';
	_target integer[] := '{}';
BEGIN
	IF jsonb_typeof($1 -> 'alerts') IS DISTINCT FROM 'array' OR jsonb_array_length($1 -> 'alerts') = 0 THEN
		RETURN QUERY SELECT s.number, s.name, '{}'::integer[], $1 FROM miosa_router.all_shards() s ORDER BY s.number LIMIT 1;
		RETURN;
	END IF;
	FOR _alert IN SELECT e.ordinality, e.value #>> '{labels,miosa_deployment}' AS name
		FROM jsonb_array_elements($1 -> 'alerts') WITH ORDINALITY e ORDER BY e.ordinality
	LOOP
		IF _alert.name IS NULL THEN
			_target := _target || 0;
			CONTINUE;
		END IF;
		IF NOT _known ? _alert.name THEN
			_shards := ARRAY(SELECT s.number FROM miosa_router.shards_named(_alert.name) s);
			_known := _known || jsonb_build_object(_alert.name,
				CASE cardinality(_shards) WHEN 0 THEN miosa_router.shard_of(_alert.name) WHEN 1 THEN _shards[1] ELSE -1 END);
		END IF;
		_target := _target || (_known ->> _alert.name)::integer;
	END LOOP;
	RETURN QUERY SELECT s.number, s.name, t.places, jsonb_set($1, '{alerts}', t.alerts)
		FROM (SELECT u.shard, array_agg(u.place::integer ORDER BY u.place) AS places, jsonb_agg($1 -> 'alerts' -> (u.place::integer - 1) ORDER BY u.place) AS alerts
			FROM unnest(_target) WITH ORDINALITY u (shard, place) GROUP BY u.shard) t
		JOIN miosa_router.all_shards() s ON s.number = t.shard ORDER BY s.number;
END $$;
COMMENT ON FUNCTION miosa_router.split_alerts(jsonb) IS 'Shards that alerts concern, each with its part of the body and the places of its alerts';

CREATE OR REPLACE FUNCTION miosa_router.unmatched_alerts(payload jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('data', jsonb_build_object('alerts', coalesce(jsonb_agg(jsonb_build_object('deployment_id', NULL,
		'fingerprint', e.value -> 'fingerprint', 'done', 'unmatched', 'operation_id', NULL,
		'why', 'the label miosa_deployment names deployments of several shards') ORDER BY e.ordinality), '[]')))
	FROM jsonb_array_elements(CASE jsonb_typeof($1 -> 'alerts') WHEN 'array' THEN $1 -> 'alerts' ELSE '[]' END) WITH ORDINALITY e
$$;
COMMENT ON FUNCTION miosa_router.unmatched_alerts(jsonb) IS 'Answer to alerts that went to no shard';

CREATE OR REPLACE FUNCTION miosa_router.merge_alerts(result jsonb, places integer[], answer jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	FOR n IN 1 .. cardinality(places) LOOP
		result := jsonb_set(result, ARRAY['data', 'alerts', (places[n] - 1)::text], answer #> ARRAY['data', 'alerts', (n - 1)::text]);
	END LOOP;
	RETURN result;
END $$;
COMMENT ON FUNCTION miosa_router.merge_alerts(jsonb, integer[], jsonb) IS 'The answer with a shard''s answers in their places';

-- The router's own health, and what the shards have to be equal in.
CREATE OR REPLACE FUNCTION miosa_router.doctor(OUT item text, OUT status text, OUT seen text, OUT fix text, OUT needs text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_context text[] := miosa_router.context();
	_each record;
	_identity jsonb;
	_all jsonb := '{}';
	_kind text;
	_differing text;
	_first text;
	_message text;
BEGIN
	RETURN QUERY SELECT d.* FROM miosa_router.map_doctor() d;
	FOR _each IN SELECT s.number, s.name FROM miosa_router.all_shards() s LOOP
		item := 'router: shard ' || _each.name;
		fix := NULL;
		needs := NULL;
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_identity := miosa_shard.identity(_context, _each.number);
			SELECT j.* INTO status, seen, fix, needs FROM miosa_router.judge_shard(_identity, _all) j;
			_all := _all || pg_catalog.jsonb_build_object(_each.name, _identity);
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _message = MESSAGE_TEXT;
			status := 'fail';
			seen := pg_catalog.btrim(pg_catalog.regexp_replace(_message, E'^PL/Proxy function [^ ]+: (\\[[^]]*\\] PQ\\w+: )?|^[^ ]+\\(\\d+\\): \\[[^]]*\\] REMOTE [^:]*: ', ''), E' \n');
			fix := 'Start it, correct its connection in miosa_router.shards, or run miosa_shard.sql in it';
			needs := 'superuser';
		END;
		RETURN NEXT;
	END LOOP;
	-- Each kind of configuration by name: what not every shard has alike.
	FOREACH _kind IN ARRAY ARRAY['plans', 'tenants', 'members', 'adapters', 'endpoints', 'secrets', 'storages', 'schemas', 'freezes'] LOOP
		item := 'router: ' || _kind;
		SELECT pg_catalog.string_agg(pg_catalog.format('%s (%s)', d.key, d.shards), ', ' ORDER BY d.key), min(d.key COLLATE "C") INTO _differing, _first
			FROM (SELECT k.key, pg_catalog.string_agg(k.shard || CASE WHEN k.digest IS NULL THEN ' lacks it' ELSE ' ' || pg_catalog.left(k.digest, 6) END, '; ' ORDER BY k.shard) AS shards
				FROM (SELECT n.key, a.key AS shard, a.value -> _kind ->> n.key AS digest
					FROM (SELECT DISTINCT e.key FROM pg_catalog.jsonb_each(_all) b, pg_catalog.jsonb_each(b.value -> _kind) e) n, pg_catalog.jsonb_each(_all) a) k
				GROUP BY k.key HAVING count(DISTINCT coalesce(k.digest, '')) > 1 ORDER BY k.key COLLATE "C" LIMIT 20) d;
		status := CASE WHEN _differing IS NULL THEN 'ok' ELSE 'fail' END;
		seen := coalesce('shards differ: ' || _differing, 'all shards that answer are equal');
		-- Members and schemas are named by two words
		fix := 'Repeat the call that puts it, here, or remove it: SELECT ' || CASE
			WHEN _first IS NULL THEN NULL
			WHEN _kind = 'members' THEN pg_catalog.format('miosa_revoke_tenant(%L, %L);', pg_catalog.regexp_replace(_first, ' [^ ]*$', ''), pg_catalog.regexp_replace(_first, '^.* ', ''))
			WHEN _kind = 'schemas' THEN pg_catalog.format('miosa_remove_schema(%L, %L);', pg_catalog.regexp_replace(_first, ' [^ ]*$', ''),
				nullif(pg_catalog.regexp_replace(_first, '^.* ', ''), '*'))
			ELSE pg_catalog.format('miosa_remove_%s(%L);', pg_catalog.rtrim(_kind, 's'), _first) END;
		needs := CASE WHEN _differing IS NOT NULL THEN 'miosa_admin' END;
		RETURN NEXT;
	END LOOP;
END $$;
ALTER FUNCTION miosa_router.doctor() SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION miosa_router.doctor() IS 'Rows of miosa_doctor() about the router, and about what the shards have to be equal in';

CREATE OR REPLACE FUNCTION miosa_router.count_buckets() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT count(*) FROM miosa_router.buckets
$$;
COMMENT ON FUNCTION miosa_router.count_buckets() IS 'Number of buckets that have a shard';

-- Hosts that came to a shard otherwise than through the router.
CREATE OR REPLACE FUNCTION miosa_shard.host_list(after text, shard integer, OUT host text, OUT deployment_id text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.host, f.deployment_id FROM miosa_shard.host_list($1::text) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard.host_list(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard.host_list(text, integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_router.register_hosts() RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_variable
DECLARE
	shard record;
	host record;
	entry jsonb;
	owner text;
	after text;
	more boolean;
	number bigint := 0;
BEGIN
	FOR shard IN SELECT s.number, s.name FROM miosa_router.all_shards() s LOOP
		after := '';
		more := true;
		WHILE more LOOP
			more := false;
			FOR host IN SELECT h.host, h.deployment_id FROM miosa_shard.host_list(after, shard.number) h LOOP
				more := true;
				after := host.host;
				entry := miosa_shard.claim_host(host.host, host.deployment_id, NULL, miosa_router.directory_of(host.host));
				IF entry IS NULL THEN
					PERFORM miosa_shard.confirm_host(host.host, host.deployment_id, miosa_router.directory_of(host.host));
					number := number OPERATOR(pg_catalog.+) 1;
				ELSIF (entry OPERATOR(pg_catalog.->>) 'own')::boolean THEN
					number := number OPERATOR(pg_catalog.+) 1;
				ELSE
					owner := miosa_shard.host_deployment(host.host, miosa_router.context(), miosa_router.directory_of(host.host));
					IF miosa_router.shard_of(owner) OPERATOR(pg_catalog.<>) shard.number THEN
						RAISE WARNING 'host "%" is on shard "%", but the directory has it for deployment "%" of another shard', host.host, shard.name,
							owner USING ERRCODE = '01000', HINT = 'Remove it from one of the two, on its shard.';
					END IF;
				END IF;
			END LOOP;
		END LOOP;
	END LOOP;
	RETURN number;
END $$;
COMMENT ON FUNCTION miosa_router.register_hosts() IS 'Enters the hosts of all shards into the directory, and warns of those that two shards have; returns how many it has';
