-- Deployments move between shards.

-- The shards' own functions (miosa_shard.sql).

CREATE OR REPLACE FUNCTION miosa_shard.take_deployment(deployment_id text, shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT miosa_shard.take_deployment($1::text);
$$;
CREATE OR REPLACE FUNCTION miosa_shard.put_parcel(parcel jsonb, shard integer) RETURNS boolean LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT miosa_shard.put_parcel($1::jsonb);
$$;
CREATE OR REPLACE FUNCTION miosa_shard.drop_parcel(deployment_id text, shard integer) RETURNS boolean LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT miosa_shard.drop_parcel($1::text);
$$;
CREATE OR REPLACE FUNCTION miosa_shard.deployment_list(after text, shard integer) RETURNS SETOF text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.id FROM miosa_shard.deployment_list($1::text) f (id);
$$;

REVOKE ALL ON FUNCTION miosa_shard.take_deployment(text, integer), miosa_shard.put_parcel(jsonb, integer), miosa_shard.drop_parcel(text, integer),
	miosa_shard.deployment_list(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard.take_deployment(text, integer), miosa_shard.put_parcel(jsonb, integer), miosa_shard.drop_parcel(text, integer),
	miosa_shard.deployment_list(text, integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_router.moves_under_way() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT string_agg(format('%s from %s to %s', m.count, a.name, b.name), ', ' ORDER BY a.name, b.name)
	FROM (SELECT o.source, o.target, count(*) FROM miosa_router.moves o GROUP BY 1, 2) m
	JOIN miosa_router.shards a ON a.number = m.source JOIN miosa_router.shards b ON b.number = m.target
$$;
COMMENT ON FUNCTION miosa_router.moves_under_way() IS 'How many moves have begun and not ended, by shards; null for none';

-- From here on calls about the deployment are refused as DEPLOYMENT_BUSY.  A move that
-- was interrupted goes on as it was begun.
CREATE OR REPLACE FUNCTION miosa_router.begin_move(deployment text, shard text, OUT source integer, OUT target integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	wanted integer := (SELECT s.number FROM miosa_router.shards s WHERE s.name = shard);
BEGIN
	IF wanted IS NULL THEN
		PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, format('shard "%s" does not exist', shard), NULL,
			format('Shards: %s.', (SELECT string_agg(s.name, ', ' ORDER BY s.number) FROM miosa_router.shards s)));
	END IF;
	SELECT m.source, m.target INTO source, target FROM miosa_router.moves m WHERE m.deployment_id = deployment FOR UPDATE;
	IF FOUND THEN
		IF target <> wanted THEN
			PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, format('deployment "%s" is being moved to another shard', deployment),
				(SELECT format('It moves to shard "%s".', s.name) FROM miosa_router.shards s WHERE s.number = $3),
				'Finish that move first, with that shard.');
		END IF;
		RETURN;
	END IF;
	source := miosa_router.shard_of(deployment);
	target := miosa_router.check_on(wanted);
	IF source <> target THEN
		INSERT INTO miosa_router.moves (deployment_id, source, target) VALUES (deployment, source, target);
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.begin_move(text, text) IS 'Begins a move, or finds the one that was interrupted; source and target are equal when there is nothing to do';

CREATE OR REPLACE FUNCTION miosa_router.end_move(deployment text, shard integer) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM miosa_router.deployment_overrides o WHERE o.deployment_id = deployment;
	INSERT INTO miosa_router.deployment_overrides (deployment_id, shard)
		SELECT deployment, end_move.shard WHERE end_move.shard <> (SELECT b.shard FROM miosa_router.buckets b WHERE b.bucket = miosa_router.bucket_of(deployment));
	DELETE FROM miosa_router.moves m WHERE m.deployment_id = deployment;
END $$;
COMMENT ON FUNCTION miosa_router.end_move(text, integer) IS 'Ends a move: the deployment is on this shard';

CREATE OR REPLACE FUNCTION miosa_router.cancel_move(deployment text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	DELETE FROM miosa_router.moves m WHERE m.deployment_id = $1
$$;
COMMENT ON FUNCTION miosa_router.cancel_move(text) IS 'Forgets the move of a deployment that does not exist';

-- A move concerns all tenants, and whether the caller acts for them is known to shards.
CREATE OR REPLACE FUNCTION miosa_router.check_mover(shard text) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	_shard integer := (SELECT s.number FROM miosa_router.all_shards() s WHERE s.name OPERATOR(pg_catalog.=) shard);
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	IF _shard IS NOT NULL THEN
		PERFORM miosa_shard.require_all_tenants('function miosa_move_deployment', miosa_router.context(), miosa_router.check_on(_shard));
	END IF;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END $$;
COMMENT ON FUNCTION miosa_router.check_mover(text) IS 'Raises FORBIDDEN unless the caller acts for all tenants, by the shard that a deployment is to be moved to';

-- Each step commits, and each can be repeated: the same call goes on where it was
-- interrupted.  Forward is the only way, since what the source has taken out it keeps as
-- a parcel, not as a deployment.
CREATE OR REPLACE PROCEDURE @schema@.miosa_move_deployment(deployment text, shard text)
LANGUAGE plpgsql AS $$
DECLARE
	move record;
	parcel jsonb;
	here text[];
BEGIN
	PERFORM miosa_router.check_mover(shard);
	move := miosa_router.begin_move(deployment, shard);
	COMMIT;
	IF move.source OPERATOR(pg_catalog.=) move.target THEN
		-- Of a move that has ended but for this
		PERFORM miosa_shard.drop_parcel(deployment, s.number) FROM miosa_router.all_shards() s WHERE s.number OPERATOR(pg_catalog.<>) move.target;
		RETURN;
	END IF;
	parcel := miosa_shard.take_deployment(deployment, move.source);
	IF parcel IS NULL THEN
		here := miosa_shard.named(deployment, NULL, move.target);
		IF NOT deployment OPERATOR(pg_catalog.=) ANY (here) THEN
			PERFORM miosa_router.cancel_move(deployment);
			COMMIT;
			PERFORM miosa_router.refuse('MR404', 'NOT_FOUND', 404, 0, pg_catalog.format('deployment "%s" does not exist', deployment),
				'Neither shard has it.', 'See the deployments with SELECT shard, deployment_id FROM miosa.routes;');
		END IF;
	ELSE
		-- Nothing of it is delivered from there any more
		PERFORM miosa_shard.restart_dispatcher(move.source);
		PERFORM miosa_shard.put_parcel(parcel, move.target);
	END IF;
	PERFORM miosa_router.end_move(deployment, move.target);
	COMMIT;
	PERFORM miosa_shard.drop_parcel(deployment, move.source);
END $$;
COMMENT ON PROCEDURE @schema@.miosa_move_deployment(text, text) IS 'Moves a deployment to another shard; the same call goes on with a move that was interrupted [router]';
REVOKE ALL ON PROCEDURE @schema@.miosa_move_deployment(text, text) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE @schema@.miosa_move_deployment(text, text) TO miosa_admin;
REVOKE ALL ON FUNCTION miosa_router.begin_move(text, text), miosa_router.end_move(text, integer), miosa_router.cancel_move(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_router.begin_move(text, text), miosa_router.end_move(text, integer), miosa_router.cancel_move(text) TO miosa_admin;

-- Deployments that are where calls do not look for them: after a restore of one
-- shard, for instance, one that has moved since is on two.
CREATE OR REPLACE FUNCTION miosa_router.misplaced(OUT deployment_id text, OUT shard text, OUT belongs text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_id text;
	_after text;
	_more boolean;
BEGIN
	FOR _each IN SELECT s.number, s.name FROM miosa_router.all_shards() s LOOP
		_after := '';
		_more := true;
		WHILE _more LOOP
			_more := false;
			FOR _id IN SELECT f.id FROM miosa_shard.deployment_list(_after, _each.number) f (id) LOOP
				_more := true;
				_after := _id;
				IF miosa_router.shard_of(_id) OPERATOR(pg_catalog.<>) _each.number THEN
					deployment_id := _id;
					shard := _each.name;
					belongs := (SELECT s.name FROM miosa_router.all_shards() s WHERE s.number OPERATOR(pg_catalog.=) miosa_router.shard_of(_id));
					RETURN NEXT;
				END IF;
			END LOOP;
		END LOOP;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa_router.misplaced() IS 'Deployments on another shard than the map says; that one counts';
