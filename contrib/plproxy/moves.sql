-- Deployments and buckets move between shards.

-- The shards' own functions (miosa_shard.sql).

CREATE OR REPLACE FUNCTION miosa_shard.move_step(step text, key text, number bigint, content jsonb, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT CASE WHEN miosa_shard.adopt($5::text[]) THEN miosa_shard.move_step($1::text, $2::text, $3::bigint, $4::jsonb) END;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.moves_seen(deployments text[], context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT CASE WHEN miosa_shard.adopt($2::text[]) THEN miosa_shard.moves_seen($1::text[]) END;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.deployment_list(after text, shard integer) RETURNS SETOF text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.id FROM miosa_shard.deployment_list($1::text) f (id);
$$;

REVOKE ALL ON FUNCTION miosa_shard.move_step(text, text, bigint, jsonb, text[], integer), miosa_shard.moves_seen(text[], text[], integer),
	miosa_shard.deployment_list(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard.move_step(text, text, bigint, jsonb, text[], integer), miosa_shard.deployment_list(text, integer) TO miosa_admin;
GRANT EXECUTE ON FUNCTION miosa_shard.moves_seen(text[], text[], integer) TO miosa_operator;

-- A step of a move on a shard.  Its error is raised as the shard has raised it.
CREATE OR REPLACE FUNCTION miosa_router.at_shard(shard integer, step text, key text, number bigint DEFAULT NULL, content jsonb DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	state text;
	message text;
	detail text;
	hint text;
BEGIN
	RETURN miosa_shard.move_step(step, key, number, content, miosa_router.context(), miosa_router.check_on(shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(shard, state, message, detail, hint);
END $$;
COMMENT ON FUNCTION miosa_router.at_shard(integer, text, text, bigint, jsonb) IS 'One step of a move, on a shard';

CREATE OR REPLACE FUNCTION miosa_router.shard_name(number integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT s.name FROM miosa_router.all_shards() s WHERE s.number = $1
$$;
COMMENT ON FUNCTION miosa_router.shard_name(integer) IS 'Name of a shard';

-- What a shard is called in a message about the one that has to be there.
CREATE OR REPLACE FUNCTION miosa_router.number_of(shard text) RETURNS integer
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	number integer := (SELECT s.number FROM miosa_router.all_shards() s WHERE s.name = shard);
BEGIN
	IF number IS NULL THEN
		PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, format('shard "%s" does not exist', shard), NULL,
			format('Shards: %s.', (SELECT string_agg(s.name, ', ' ORDER BY s.number) FROM miosa_router.all_shards() s)));
	END IF;
	RETURN number;
END $$;
COMMENT ON FUNCTION miosa_router.number_of(text) IS 'Number of the shard of this name, or INVALID_ARGUMENT';

-- The map, changed.

CREATE OR REPLACE FUNCTION miosa_router.moves_under_way() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT string_agg(format('%s from %s to %s', m.count, a.name, b.name), ', ' ORDER BY a.name, b.name)
	FROM (SELECT o.source, o.target, count(*) FROM miosa_router.moves o GROUP BY 1, 2) m
	JOIN miosa_router.shards a ON a.number = m.source JOIN miosa_router.shards b ON b.number = m.target
$$;
COMMENT ON FUNCTION miosa_router.moves_under_way() IS 'How many moves have begun and not ended, by shards; null for none';

CREATE OR REPLACE FUNCTION miosa_router.find_move(deployment text, OUT source integer, OUT target integer, OUT number bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT m.source, m.target, m.number FROM miosa_router.moves m WHERE m.deployment_id = $1
$$;
COMMENT ON FUNCTION miosa_router.find_move(text) IS 'The move of a deployment that has begun and not ended; nulls for none';

-- From here on calls about the deployment are refused as DEPLOYMENT_BUSY.
CREATE OR REPLACE FUNCTION miosa_router.open_move(deployment text, source integer, target integer, number bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	INSERT INTO miosa_router.moves (deployment_id, source, target, number) VALUES (deployment, source, target, number) ON CONFLICT DO NOTHING;
	IF NOT FOUND OR miosa_router.place_of(deployment) <> source THEN
		PERFORM miosa_router.refuse('MR423', 'DEPLOYMENT_BUSY', 423, 1, format('deployment "%s" is being moved', deployment),
			'Another call began to move it at the same time.', 'Repeat the call.');
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.open_move(text, integer, integer, bigint) IS 'Notes that a move has begun';

-- A move that another call has ended is left alone.
CREATE OR REPLACE FUNCTION miosa_router.end_move(deployment text, number bigint, shard integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	DELETE FROM miosa_router.moves m WHERE m.deployment_id = deployment AND m.number = number;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	PERFORM miosa_router.place(deployment, shard);
	RETURN true;
END $$;
COMMENT ON FUNCTION miosa_router.end_move(text, bigint, integer) IS 'Ends a move: the deployment is on this shard; false if it has ended already';

CREATE OR REPLACE FUNCTION miosa_router.place(deployment text, shard integer) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	DELETE FROM miosa_router.deployment_overrides o WHERE o.deployment_id = deployment;
	INSERT INTO miosa_router.deployment_overrides (deployment_id, shard)
		SELECT deployment, shard WHERE shard <> (SELECT b.shard FROM miosa_router.buckets b WHERE b.bucket = miosa_router.bucket_of(deployment) FOR SHARE);
END $$;
COMMENT ON FUNCTION miosa_router.place(text, integer) IS 'Has the map say that a deployment is on this shard';

CREATE OR REPLACE FUNCTION miosa_router.cancel_move(deployment text, number bigint) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	DELETE FROM miosa_router.moves m WHERE m.deployment_id = $1 AND m.number = $2
$$;
COMMENT ON FUNCTION miosa_router.cancel_move(text, bigint) IS 'Forgets the move of a deployment that does not exist';

-- Before anything is taken, both shards say whether it can be moved.
CREATE OR REPLACE FUNCTION miosa_router.begin_move(deployment text, shard integer, OUT source integer, OUT target integer, OUT number bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	facts jsonb;
BEGIN
	SELECT m.* INTO source, target, number FROM miosa_router.find_move(deployment) m;
	IF number IS NOT NULL THEN
		IF shard NOT IN (source, target) THEN
			PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, format('deployment "%s" is being moved to another shard', deployment),
				format('It moves from shard "%s" to "%s".', miosa_router.shard_name(source), miosa_router.shard_name(target)),
				format('Finish that move first: CALL miosa_move_deployment(%L, %L); or turn it back with %L.', deployment,
					miosa_router.shard_name(target), miosa_router.shard_name(source)));
		END IF;
		RETURN;
	END IF;
	source := miosa_router.shard_of(deployment);
	target := miosa_router.check_on(shard);
	IF source = target THEN
		RETURN;
	END IF;
	facts := miosa_router.at_shard(source, 'departure', deployment, content => miosa_router.at_shard(target, 'arrival', deployment));
	IF facts IS NULL THEN
		PERFORM miosa_router.refuse('MR404', 'NOT_FOUND', 404, 0, format('deployment "%s" does not exist', deployment),
			format('Shard "%s" does not have it.', miosa_router.shard_name(source)), 'See the deployments with SELECT shard, deployment_id FROM miosa.routes;');
	END IF;
	PERFORM miosa_router.at_shard(target, 'check', deployment, content => facts);
	number := (facts ->> 'number')::bigint;
	PERFORM miosa_router.open_move(deployment, source, target, number);
END $$;
COMMENT ON FUNCTION miosa_router.begin_move(text, integer) IS 'Begins a move, or finds the one that was interrupted; source and target are equal when there is nothing to do';

-- The move goes back to where it began.  A call that is still at work on it can do
-- nothing any more: its number is too low.
CREATE OR REPLACE FUNCTION miosa_router.turn_back(deployment text, source integer, target integer, number bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT miosa_router.at_shard(target, 'bar', deployment, number)::boolean THEN
		PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, format('the move of deployment "%s" cannot be turned back', deployment),
			format('Shard "%s" has it.', miosa_router.shard_name(target)),
			format('Finish the move: CALL miosa_move_deployment(%L, %L);', deployment, miosa_router.shard_name(target)));
	END IF;
	PERFORM miosa_router.at_shard(source, 'keep', deployment, number + 1);
	PERFORM miosa_router.end_move(deployment, number, source);
END $$;
COMMENT ON FUNCTION miosa_router.turn_back(text, integer, integer, bigint) IS 'Turns back a move that was interrupted';

-- Carry deployments whose moves have begun.  Each step commits, and each can be
-- repeated.  One restart of the dispatcher is enough for all of them.
CREATE OR REPLACE PROCEDURE miosa_router.carry(deployments text[])
LANGUAGE plpgsql AS $$
DECLARE
	deployment text;
	move record;
	parcel jsonb;
	restart integer[] := '{}';
	source integer;
BEGIN
	FOREACH deployment IN ARRAY deployments LOOP
		move := miosa_router.find_move(deployment);
		IF move.number IS NOT NULL AND miosa_router.at_shard(move.source, 'take', deployment, move.number)::boolean THEN
			restart := restart OPERATOR(pg_catalog.||) move.source;
		END IF;
	END LOOP;
	-- Nothing of them is delivered from there any more
	FOR source IN SELECT DISTINCT r.source FROM pg_catalog.unnest(restart) r (source) LOOP
		PERFORM miosa_router.at_shard(source, 'restart', NULL);
	END LOOP;
	FOREACH deployment IN ARRAY deployments LOOP
		move := miosa_router.find_move(deployment);
		CONTINUE WHEN move.number IS NULL;
		parcel := miosa_router.at_shard(move.source, 'parcel', deployment);
		IF parcel IS NULL AND NOT (miosa_router.at_shard(move.target, 'arrival', deployment) OPERATOR(pg_catalog.->) 'present')::boolean THEN
			PERFORM miosa_router.cancel_move(deployment, move.number);
			COMMIT;
			PERFORM miosa_router.refuse('MR404', 'NOT_FOUND', 404, 0, pg_catalog.format('deployment "%s" does not exist', deployment),
				'Neither shard has it.', 'See the deployments with SELECT shard, deployment_id FROM miosa.routes;');
		ELSIF parcel IS NOT NULL AND NOT miosa_router.at_shard(move.target, 'put', deployment, move.number, parcel)::boolean THEN
			PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, pg_catalog.format('the move of deployment "%s" was turned back', deployment),
				NULL, pg_catalog.format('CALL miosa_move_deployment(%L, %L);', deployment, miosa_router.shard_name(move.source)));
		END IF;
		PERFORM miosa_router.end_move(deployment, move.number, move.target);
		COMMIT;
		PERFORM miosa_router.at_shard(move.source, 'drop', deployment);
	END LOOP;
END $$;
COMMENT ON PROCEDURE miosa_router.carry(text[]) IS 'Finishes moves that have begun';

-- Of a move that has ended but for its parcel
CREATE OR REPLACE FUNCTION miosa_router.drop_parcels(deployment text, shard integer) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF (miosa_router.at_shard(shard, 'arrival', deployment) -> 'present')::boolean THEN
		PERFORM miosa_router.at_shard(s.number, 'drop', deployment) FROM miosa_router.all_shards() s WHERE s.number <> shard;
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.drop_parcels(text, integer) IS 'Forgets parcels of a deployment, which this shard has';

-- The same call goes on where it was interrupted.
CREATE OR REPLACE PROCEDURE @schema@.miosa_move_deployment(deployment text, shard text)
LANGUAGE plpgsql AS $$
DECLARE
	wanted integer := miosa_router.number_of(shard);
	move record;
BEGIN
	PERFORM miosa_router.at_shard(wanted, 'allowed', NULL);
	move := miosa_router.begin_move(deployment, wanted);
	COMMIT;
	IF move.number IS NULL THEN
		PERFORM miosa_router.drop_parcels(deployment, wanted);
	ELSIF move.source OPERATOR(pg_catalog.=) wanted THEN
		PERFORM miosa_router.turn_back(deployment, move.source, move.target, move.number);
	ELSE
		CALL miosa_router.carry(ARRAY[deployment]);
	END IF;
END $$;
COMMENT ON PROCEDURE @schema@.miosa_move_deployment(text, text) IS 'Moves a deployment to another shard; the same call goes on with a move that was interrupted, one with the shard that it began on turns it back [router]';
REVOKE ALL ON PROCEDURE @schema@.miosa_move_deployment(text, text) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE @schema@.miosa_move_deployment(text, text) TO miosa_mover;

-- Buckets.

CREATE OR REPLACE FUNCTION miosa_router.begin_bucket(bucket integer, shard integer, OUT source integer, OUT target integer, OUT switched boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	now_on integer;
BEGIN
	SELECT b.shard INTO now_on FROM miosa_router.buckets b WHERE b.bucket = bucket FOR UPDATE;
	IF NOT FOUND THEN
		PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, format('bucket %s does not exist', bucket), 'Buckets are numbered from 0 to 1023.',
			'SELECT * FROM miosa_router.buckets; shows which shard has each.');
	END IF;
	SELECT m.source, m.target INTO source, target FROM miosa_router.bucket_moves m WHERE m.bucket = bucket;
	IF NOT FOUND THEN
		source := now_on;
		target := miosa_router.check_on(shard);
		IF source <> target THEN
			INSERT INTO miosa_router.bucket_moves (bucket, source, target) VALUES (bucket, source, target);
		END IF;
	ELSIF target <> shard THEN
		PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, format('bucket %s is being moved to another shard', bucket),
			format('It moves from shard "%s" to "%s".', miosa_router.shard_name(source), miosa_router.shard_name(target)),
			format('Finish that move first: CALL miosa_router.move_buckets(ARRAY[%s], %L);', bucket, miosa_router.shard_name(target)));
	END IF;
	switched := now_on = target;
END $$;
COMMENT ON FUNCTION miosa_router.begin_bucket(integer, integer) IS 'Begins the move of a bucket, or finds the one that was interrupted; source and target are equal when there is nothing to do';

-- From here on new deployments of the bucket are added to the other shard.  Those
-- that are there have an override until they have moved.
CREATE OR REPLACE FUNCTION miosa_router.switch_bucket(bucket integer, source integer, target integer, deployments jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	UPDATE miosa_router.buckets b SET shard = target WHERE b.bucket = bucket AND b.shard = source;
	IF FOUND THEN
		INSERT INTO miosa_router.deployment_overrides (deployment_id, shard)
			SELECT d.value, source FROM jsonb_array_elements_text(deployments) d ON CONFLICT DO NOTHING;
		DELETE FROM miosa_router.deployment_overrides o WHERE miosa_router.bucket_of(o.deployment_id) = bucket AND o.shard = target;
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.switch_bucket(integer, integer, integer, jsonb) IS 'Has the map say that a bucket is on another shard, but for these deployments';

CREATE OR REPLACE FUNCTION miosa_router.next_of_buckets(buckets integer[], source integer, after text, most integer) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT ARRAY(SELECT o.deployment_id FROM miosa_router.deployment_overrides o
		WHERE miosa_router.bucket_of(o.deployment_id) = ANY ($1) AND o.shard = $2 AND o.deployment_id COLLATE "C" > $3
		ORDER BY o.deployment_id COLLATE "C" LIMIT $4)
$$;
COMMENT ON FUNCTION miosa_router.next_of_buckets(integer[], integer, text, integer) IS 'The next deployments of some buckets that have not moved yet';

-- One that cannot be moved stays where it is.
CREATE OR REPLACE FUNCTION miosa_router.begin_some(deployments text[], target integer) RETURNS text[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	deployment text;
	begun text[] := '{}';
	detail text;
	hint text;
BEGIN
	FOREACH deployment IN ARRAY deployments LOOP
		BEGIN
			PERFORM miosa_router.begin_move(deployment, target);
			begun := begun || deployment;
		EXCEPTION WHEN SQLSTATE 'MR400' OR SQLSTATE 'MR404' OR SQLSTATE 'MR423' THEN
			GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
			RAISE WARNING 'deployment "%" stays on shard "%": %', deployment, miosa_router.shard_name(miosa_router.place_of(deployment)), SQLERRM
				USING ERRCODE = '01000', DETAIL = coalesce(detail, ''), HINT = coalesce(hint, '');
		END;
	END LOOP;
	RETURN begun;
END $$;
COMMENT ON FUNCTION miosa_router.begin_some(text[], integer) IS 'Begins moves, and warns of those that cannot be; returns the deployments that have begun to move';

CREATE OR REPLACE FUNCTION miosa_router.end_bucket(bucket integer) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	DELETE FROM miosa_router.bucket_moves m WHERE m.bucket = $1
		AND NOT EXISTS (SELECT FROM miosa_router.deployment_overrides o WHERE miosa_router.bucket_of(o.deployment_id) = $1 AND o.shard = m.source)
$$;
COMMENT ON FUNCTION miosa_router.end_bucket(integer) IS 'Ends the move of a bucket, if all of its deployments have moved';

-- Buckets that move from one shard to another.  Each step commits, and the same call
-- goes on where it was interrupted.
CREATE OR REPLACE PROCEDURE miosa_router.move_buckets(buckets integer[], shard text, INOUT moved bigint DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
	-- They are refused together for about a second, and the dispatcher is started
	-- again once for all of them.
	most CONSTANT integer := 20;
	wanted CONSTANT integer := miosa_router.number_of(shard);
	bucket integer;
	move record;
	source integer;
	page text[];
	after text := '';
BEGIN
	moved := 0;
	FOREACH bucket IN ARRAY buckets LOOP
		move := miosa_router.begin_bucket(bucket, wanted);
		COMMIT;
		CONTINUE WHEN move.source OPERATOR(pg_catalog.=) move.target;
		IF move.source OPERATOR(pg_catalog.<>) source THEN
			PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, 'the buckets are on several shards',
				pg_catalog.format('Bucket %s is on shard "%s", another one on "%s".', bucket, miosa_router.shard_name(move.source), miosa_router.shard_name(source)),
				'Move the buckets of each shard by a call of their own.');
		END IF;
		source := move.source;
		IF NOT move.switched THEN
			-- Between these, new deployments and hosts of the bucket are refused as
			-- DEPLOYMENT_BUSY.
			PERFORM miosa_router.at_shard(source, 'close', NULL, bucket);
			PERFORM miosa_router.at_shard(wanted, 'open', NULL, bucket, miosa_router.at_shard(source, 'hosts', NULL, bucket));
			PERFORM miosa_router.switch_bucket(bucket, source, wanted, miosa_router.at_shard(source, 'list', NULL, bucket));
			COMMIT;
		END IF;
		PERFORM miosa_router.at_shard(source, 'drop_hosts', NULL, bucket);
	END LOOP;
	LOOP
		page := miosa_router.next_of_buckets(buckets, source, after, most);
		EXIT WHEN pg_catalog.cardinality(page) OPERATOR(pg_catalog.=) 0;
		after := page[pg_catalog.cardinality(page)];
		page := miosa_router.begin_some(page, wanted);
		COMMIT;
		CALL miosa_router.carry(page);
		moved := moved OPERATOR(pg_catalog.+) pg_catalog.cardinality(page);
		-- The other deployments of the shard go first
		PERFORM miosa_router.at_shard(source, 'rest', NULL);
	END LOOP;
	FOREACH bucket IN ARRAY buckets LOOP
		PERFORM miosa_router.end_bucket(bucket);
	END LOOP;
	COMMIT;
END $$;
COMMENT ON PROCEDURE miosa_router.move_buckets(integer[], text, bigint) IS 'Moves buckets of a shard with all of their deployments to another one; the same call goes on with a move that was interrupted';

-- How many buckets each shard should have, by weight.
CREATE OR REPLACE FUNCTION miosa_router.shares(OUT number integer, OUT name text, OUT buckets bigint, OUT wanted bigint) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	WITH s AS (
		SELECT s.number, s.name, s.weight, (SELECT count(*) FROM miosa_router.buckets b WHERE b.shard = s.number) AS buckets
		FROM miosa_router.shards s WHERE s.state = 'on'),
	f AS (
		SELECT s.*, sum(s.buckets) OVER () AS total, sum(s.buckets) OVER () * s.weight / nullif(sum(s.weight) OVER (), 0) AS share FROM s),
	w AS (
		-- The rest of the division goes to those that lose most by it, then to those
		-- that have more.
		SELECT f.*, row_number() OVER (ORDER BY f.share - floor(f.share) DESC, f.buckets DESC, f.number) AS place, f.total - sum(floor(f.share)) OVER () AS rest FROM f)
	SELECT w.number, w.name, w.buckets, coalesce((floor(w.share) + CASE WHEN w.place <= w.rest THEN 1 ELSE 0 END)::bigint, w.buckets) FROM w ORDER BY w.number
$$;
COMMENT ON FUNCTION miosa_router.shares() IS 'How many buckets each shard has that is on, and how many it should have by its weight';

-- Buckets that one shard has too many, for the one that lacks most.
CREATE OR REPLACE FUNCTION miosa_router.next_buckets(most integer, OUT buckets integer[], OUT source text, OUT target text, OUT remaining bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	WITH s AS MATERIALIZED (SELECT * FROM miosa_router.shares())
	SELECT ARRAY(SELECT b.bucket FROM miosa_router.buckets b WHERE b.shard = f.number AND NOT EXISTS (SELECT FROM miosa_router.bucket_moves m WHERE m.bucket = b.bucket)
			ORDER BY b.bucket LIMIT least($1, f.buckets - f.wanted, t.wanted - t.buckets)),
		f.name, t.name, (SELECT sum(s.buckets - s.wanted)::bigint FROM s WHERE s.buckets > s.wanted)
	FROM (SELECT * FROM s WHERE s.buckets > s.wanted ORDER BY s.buckets - s.wanted DESC, s.number LIMIT 1) f
	CROSS JOIN (SELECT * FROM s WHERE s.buckets < s.wanted ORDER BY s.wanted - s.buckets DESC, s.number LIMIT 1) t
$$;
COMMENT ON FUNCTION miosa_router.next_buckets(integer) IS 'The next buckets that rebalance() moves, at most so many, and how many are left; nulls for none';

CREATE OR REPLACE FUNCTION miosa_router.buckets_under_way(OUT bucket integer, OUT source text, OUT target text, OUT remaining bigint) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT m.bucket, a.name, b.name, (SELECT count(*) FROM miosa_router.deployment_overrides o
		WHERE miosa_router.bucket_of(o.deployment_id) = m.bucket AND o.shard = m.source)
	FROM miosa_router.bucket_moves m JOIN miosa_router.shards a ON a.number = m.source JOIN miosa_router.shards b ON b.number = m.target
	ORDER BY m.began_at, m.bucket
$$;
COMMENT ON FUNCTION miosa_router.buckets_under_way() IS 'Buckets that are being moved, or whose move was interrupted, with the number of deployments that have not moved yet';

CREATE OR REPLACE FUNCTION miosa_router.clean_overrides() RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	WITH done AS (DELETE FROM miosa_router.deployment_overrides o USING miosa_router.buckets b
		WHERE b.bucket = miosa_router.bucket_of(o.deployment_id) AND b.shard = o.shard RETURNING 1)
	SELECT count(*) FROM done
$$;
COMMENT ON FUNCTION miosa_router.clean_overrides() IS 'Deletes overrides that say what the bucket says; how many there were';

CREATE OR REPLACE PROCEDURE miosa_router.rebalance(most integer DEFAULT 1024)
LANGUAGE plpgsql AS $$
DECLARE
	-- So many at a time, with the first shares of progress soon
	step CONSTANT integer := 16;
	unfinished jsonb := (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(g)), '[]') FROM (
		SELECT pg_catalog.array_agg(u.bucket) AS buckets, u.source, u.target FROM miosa_router.buckets_under_way() u GROUP BY u.source, u.target) g);
	next record;
	moved bigint;
	done integer := 0;
BEGIN
	PERFORM miosa_router.clean_overrides();
	COMMIT;
	FOR n IN 0 .. pg_catalog.jsonb_array_length(unfinished) OPERATOR(pg_catalog.-) 1 LOOP
		SELECT r.* INTO next FROM pg_catalog.jsonb_to_record(unfinished OPERATOR(pg_catalog.->) n) AS r (buckets integer[], source text, target text);
		CALL miosa_router.move_buckets(next.buckets, next.target, moved);
		RAISE NOTICE 'from shard "%" to "%": % buckets whose move was interrupted, with % deployments', next.source, next.target,
			pg_catalog.cardinality(next.buckets), moved;
	END LOOP;
	LOOP
		SELECT * INTO next FROM miosa_router.next_buckets(least(step, most OPERATOR(pg_catalog.-) done));
		EXIT WHEN NOT FOUND OR coalesce(pg_catalog.cardinality(next.buckets), 0) OPERATOR(pg_catalog.=) 0;
		CALL miosa_router.move_buckets(next.buckets, next.target, moved);
		done := done OPERATOR(pg_catalog.+) pg_catalog.cardinality(next.buckets);
		RAISE NOTICE 'from shard "%" to "%": % buckets with % deployments; % buckets are left', next.source, next.target,
			pg_catalog.cardinality(next.buckets), moved, next.remaining OPERATOR(pg_catalog.-) pg_catalog.cardinality(next.buckets);
	END LOOP;
END $$;
COMMENT ON PROCEDURE miosa_router.rebalance(integer) IS 'Moves buckets until each shard has its share of them, at most so many; it may be stopped and called again';

-- Deployments that are where calls do not look for them: after a restore of one
-- shard, for instance, one that has moved since is on two.

CREATE OR REPLACE FUNCTION miosa_router.misplaced(OUT deployment_id text, OUT shard text, OUT belongs text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
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
				IF miosa_router.place_of(_id) <> _each.number AND (miosa_router.find_move(_id)).number IS NULL THEN
					deployment_id := _id;
					shard := _each.name;
					belongs := miosa_router.shard_name(miosa_router.place_of(_id));
					RETURN NEXT;
				END IF;
			END LOOP;
		END LOOP;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa_router.misplaced() IS 'Deployments on another shard than the map says; reads the ids of all deployments';

-- What the doctor asks: of the last thousand deployments that have come to each
-- shard or left it, those that are on two shards, on another than the map says, or
-- on none.
CREATE OR REPLACE FUNCTION miosa_router.lately_misplaced(OUT deployment_id text, OUT problem text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	_context text[] := miosa_router.context();
	_each record;
	_ids text[] := '{}';
	_found jsonb := '{}';
	_all boolean := true;
BEGIN
	FOR _each IN SELECT s.number, s.name FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_ids := _ids || ARRAY(SELECT e.value FROM jsonb_array_elements_text(miosa_shard.moves_seen(NULL, _context, _each.number)) e);
		EXCEPTION WHEN OTHERS THEN
			_all := false;
		END;
	END LOOP;
	_ids := ARRAY(SELECT DISTINCT i.id FROM unnest(_ids) i (id) WHERE (miosa_router.find_move(i.id)).number IS NULL);
	FOR _each IN SELECT s.number, s.name FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_found := _found || jsonb_build_object(_each.name, miosa_shard.moves_seen(_ids, _context, _each.number));
		EXCEPTION WHEN OTHERS THEN
			_all := false;
		END;
	END LOOP;
	RETURN QUERY SELECT i.id, CASE WHEN cardinality(p.names) > 1 THEN format('is on the shards %s', array_to_string(p.names, ' and '))
			WHEN cardinality(p.names) = 1 THEN format('is on shard %s, calls go to %s', p.names[1], p.place)
			ELSE format('is on no shard, calls go to %s', p.place) END
		FROM unnest(_ids) i (id) CROSS JOIN LATERAL (
			SELECT coalesce(array_agg(f.key ORDER BY f.key) FILTER (WHERE (f.value ->> i.id)::bigint >= 0), '{}') AS names,
				bool_or((f.value ->> i.id)::bigint = -2) AS removed, miosa_router.shard_name(miosa_router.place_of(i.id)) AS place
			FROM jsonb_each(_found) f) p
		WHERE p.names <> ARRAY[p.place] AND (cardinality(p.names) > 0 OR _all AND NOT p.removed)
		ORDER BY i.id;
END $$;
COMMENT ON FUNCTION miosa_router.lately_misplaced() IS 'Deployments that have moved lately and are not on the shard that the map says, or on that one alone';

-- The copy where calls go counts: what was acknowledged last is there.  If that
-- shard has none, the copy that has moved most often counts, and the map is
-- corrected.  The number keeps what is left of an earlier move from arriving.
CREATE OR REPLACE FUNCTION miosa_router.judge_copies(deployment text, OUT counts integer, OUT others integer[], OUT number bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	place CONSTANT integer := miosa_router.place_of(deployment);
	numbers jsonb := (SELECT jsonb_object_agg(s.number, miosa_shard.moves_seen(ARRAY[deployment], miosa_router.context(), miosa_router.check_on(s.number)) -> deployment)
		FROM miosa_router.all_shards() s);
BEGIN
	SELECT n.key::integer INTO counts FROM jsonb_each_text(numbers) n WHERE n.value::bigint >= 0
		ORDER BY n.key::integer <> place, n.value::bigint DESC, n.key::integer LIMIT 1;
	others := ARRAY(SELECT n.key::integer FROM jsonb_each_text(numbers) n WHERE n.value::bigint >= 0 AND n.key::integer <> counts ORDER BY 1);
	number := (SELECT max(n.value::bigint) FROM jsonb_each_text(numbers) n);
END $$;
COMMENT ON FUNCTION miosa_router.judge_copies(text) IS 'Which shard''s copy of a deployment counts, which others have one, and the number of its last move';

-- Edges have received routes of the copy that does not count: those of the other one
-- are sent again, above them, and hosts that only this one had are removed.
CREATE OR REPLACE FUNCTION miosa_router.settle(shard integer, deployment text, parcel jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	place integer := miosa_router.place_of(deployment);
	unsent jsonb := (SELECT coalesce(jsonb_agg(h.value), '[]') FROM jsonb_array_elements_text(parcel -> 'unsent') h
		WHERE miosa_router.owner_of_host(h.value) IS NULL);
BEGIN
	IF (miosa_router.at_shard(place, 'arrival', deployment) -> 'present')::boolean THEN
		PERFORM miosa_router.at_shard(place, 'send_route', deployment, content => parcel || jsonb_build_object('unsent', unsent));
	END IF;
	PERFORM miosa_router.at_shard(shard, 'settle', deployment);
END $$;
COMMENT ON FUNCTION miosa_router.settle(integer, text, jsonb) IS 'Has the shard whose copy counts send its route';

CREATE OR REPLACE PROCEDURE miosa_router.resolve_misplaced()
LANGUAGE plpgsql AS $$
DECLARE
	found text[] := ARRAY(SELECT DISTINCT m.deployment_id FROM miosa_router.misplaced() m ORDER BY 1);
	deployment text;
	copies record;
	other integer;
	shard integer;
	unsettled jsonb;
BEGIN
	FOREACH deployment IN ARRAY found LOOP
		copies := miosa_router.judge_copies(deployment);
		CONTINUE WHEN copies.counts IS NULL OR (miosa_router.find_move(deployment)).number IS NOT NULL;
		PERFORM miosa_router.place(deployment, copies.counts);
		COMMIT;
		RAISE NOTICE 'deployment "%": the copy on shard "%" counts', deployment, miosa_router.shard_name(copies.counts);
		FOREACH other IN ARRAY copies.others LOOP
			PERFORM miosa_router.at_shard(other, 'set_aside', deployment, copies.number);
			RAISE NOTICE 'deployment "%": the copy on shard "%" is set aside', deployment, miosa_router.shard_name(other);
		END LOOP;
	END LOOP;
	-- Also what an earlier call has left
	FOREACH shard IN ARRAY ARRAY(SELECT s.number FROM miosa_router.all_shards() s) LOOP
		unsettled := miosa_router.at_shard(shard, 'unsettled', NULL);
		CONTINUE WHEN unsettled OPERATOR(pg_catalog.=) '[]';
		PERFORM miosa_router.at_shard(shard, 'restart', NULL);
		FOR n IN 0 .. pg_catalog.jsonb_array_length(unsettled) OPERATOR(pg_catalog.-) 1 LOOP
			PERFORM miosa_router.settle(shard, unsettled OPERATOR(pg_catalog.#>>) ARRAY[n::text, 'deployment_id'], unsettled OPERATOR(pg_catalog.#>) ARRAY[n::text, 'parcel']);
			COMMIT;
		END LOOP;
	END LOOP;
END $$;
COMMENT ON PROCEDURE miosa_router.resolve_misplaced() IS 'Leaves one copy of each deployment that is on two shards, by rule; the others are set aside';

CREATE OR REPLACE FUNCTION miosa_router.drop_copies(deployment text) RETURNS bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
	SELECT sum(miosa_router.at_shard(s.number, 'drop_copies', $1)::bigint)::bigint FROM miosa_router.all_shards() s
$$;
COMMENT ON FUNCTION miosa_router.drop_copies(text) IS 'Deletes copies of a deployment that were set aside; how many there were';

-- The doctor, about the map.

CREATE OR REPLACE FUNCTION miosa_router.map_doctor(OUT item text, OUT status text, OUT seen text, OUT fix text, OUT needs text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	_text text;
	_buckets bigint := miosa_router.count_buckets();
BEGIN
	item := 'router: map';
	status := CASE WHEN _buckets = 1024 THEN 'ok' ELSE 'fail' END;
	seen := format('%s of 1024 buckets have a shard', _buckets);
	fix := CASE WHEN _buckets <> 1024 THEN 'SELECT miosa_router.spread_buckets();' END;
	needs := CASE WHEN _buckets <> 1024 THEN 'superuser' END;
	RETURN NEXT;
	item := 'router: moves';
	_text := miosa_router.moves_under_way();
	status := CASE WHEN _text IS NULL THEN 'ok' ELSE 'warn' END;
	seen := coalesce('under way or interrupted: ' || _text, 'none is under way');
	fix := CASE WHEN _text IS NOT NULL THEN 'TABLE miosa_router.moves; names them. If one was interrupted, finish it: CALL miosa_move_deployment(deployment, shard);' END;
	needs := CASE WHEN _text IS NOT NULL THEN 'miosa_mover' END;
	RETURN NEXT;
	item := 'router: buckets';
	SELECT string_agg(format('%s from %s to %s (%s deployments left)', b.bucket, b.source, b.target, b.remaining), ', ') INTO _text
		FROM (SELECT * FROM miosa_router.buckets_under_way() LIMIT 20) b;
	status := CASE WHEN _text IS NULL THEN 'ok' ELSE 'warn' END;
	seen := coalesce('under way or interrupted: ' || _text,
		(SELECT string_agg(format('%s has %s%s', s.name, s.buckets, CASE WHEN s.buckets <> s.wanted THEN ' of ' || s.wanted ELSE '' END), ', ' ORDER BY s.number)
			FROM miosa_router.shares() s), 'there is no shard');
	fix := CASE WHEN _text IS NOT NULL OR EXISTS (SELECT FROM miosa_router.shares() s WHERE s.buckets <> s.wanted) THEN 'CALL miosa_router.rebalance();' END;
	needs := CASE WHEN fix IS NOT NULL THEN 'miosa_mover' END;
	RETURN NEXT;
	item := 'router: misplaced';
	SELECT string_agg(format('%s %s', m.deployment_id, m.problem), ', ' ORDER BY m.deployment_id) INTO _text
		FROM (SELECT * FROM miosa_router.lately_misplaced() LIMIT 20) m;
	status := CASE WHEN _text IS NULL THEN 'ok' ELSE 'fail' END;
	seen := coalesce(_text, 'of the deployments that have moved lately, each is where calls go');
	fix := CASE WHEN _text LIKE '% is on no shard%' THEN 'Restore the shard that calls go to further, or the deployment from a backup of the other one'
		WHEN _text IS NOT NULL THEN 'CALL miosa_router.resolve_misplaced();' END;
	needs := CASE WHEN _text IS NOT NULL THEN 'miosa_mover' END;
	RETURN NEXT;
END $$;
COMMENT ON FUNCTION miosa_router.map_doctor() IS 'Rows of miosa_doctor() about the map and the moves';

-- What a shard says of itself, compared with those before it.
CREATE OR REPLACE FUNCTION miosa_router.judge_shard(identity jsonb, before jsonb, OUT status text, OUT seen text, OUT fix text, OUT needs text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	twin text := (SELECT min(b.key) FROM jsonb_each(before) b
		WHERE b.value -> 'system' = identity -> 'system' AND b.value -> 'database' = identity -> 'database');
	namesake text := (SELECT min(b.key) FROM jsonb_each(before) b
		WHERE b.value ->> 'site' <> '' AND b.value -> 'site' = identity -> 'site' AND b.value -> 'system' <> identity -> 'system');
	unsettled text := (SELECT string_agg(c.key, ', ' ORDER BY c.key) FROM jsonb_each(identity -> 'copies') c WHERE c.value = 'false');
	copies text := (SELECT string_agg(c.key, ', ' ORDER BY c.key) FROM jsonb_each(identity -> 'copies') c);
BEGIN
	IF identity ->> 'extension' IS DISTINCT FROM miosa_router.extension_version() THEN
		status := 'fail';
		seen := format('has version %s of miosa_rollback, the router has the functions of %s', identity ->> 'extension', miosa_router.extension_version());
		fix := 'On the shard: ALTER EXTENSION miosa_rollback UPDATE; or run the miosa_router.sql of its version here';
		needs := 'superuser';
	ELSIF twin IS NOT NULL THEN
		status := 'fail';
		seen := format('is the database of shard %s', twin);
		fix := 'Correct the connection of one of the two in miosa_router.shards; each shard is a database of its own';
		needs := 'superuser';
	ELSIF namesake IS NOT NULL THEN
		status := 'fail';
		seen := format('has the site of shard %s, which is another server: %s', namesake, identity ->> 'site');
		fix := 'Give each server a miosa_rollback.site of its own';
		needs := 'superuser';
	ELSIF identity -> 'lacking' <> '[]' THEN
		status := 'fail';
		seen := format('lacks what miosa_shard.sql makes: %s', (SELECT string_agg(l.name, ', ') FROM jsonb_array_elements_text(identity -> 'lacking') l (name)));
		fix := 'Run miosa_shard.sql in it again, as after each restore from a dump';
		needs := 'superuser';
	ELSIF identity -> 'parcels' <> '[]' THEN
		status := 'warn';
		seen := format('keeps deployments whose move was interrupted: %s', identity ->> 'parcels');
		fix := 'CALL miosa_move_deployment(deployment, shard); for each, with the shard that it was to move to';
		needs := 'miosa_mover';
	ELSIF unsettled IS NOT NULL THEN
		status := 'fail';
		seen := format('has delivered routes of copies that do not count: %s', unsettled);
		fix := 'CALL miosa_router.resolve_misplaced();';
		needs := 'miosa_mover';
	ELSIF copies IS NOT NULL THEN
		status := 'warn';
		seen := format('keeps copies that do not count: %s', copies);
		fix := 'See them there in miosa_shard.copies; when nothing of them is needed: SELECT miosa_router.drop_copies(deployment);';
		needs := 'miosa_mover';
	ELSIF coalesce(identity ->> 'site', '') = '' THEN
		status := 'warn';
		seen := 'is reachable, and has no site';
		fix := 'Set miosa_rollback.site in its configuration, a name of its own for each shard';
		needs := 'superuser';
	ELSE
		status := 'ok';
		seen := format('is reachable, version %s', identity ->> 'extension');
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.judge_shard(jsonb, jsonb) IS 'What miosa_doctor() says of a shard that answers; before: other shards, by name';

-- Those that change the map are not for a tenant's member of miosa_admin, who could
-- block other tenants' deployments by them.  For the others, the shards decide.
DO $$
DECLARE
	f regprocedure;
	reads boolean;
BEGIN
	FOR f, reads IN SELECT p.oid, p.proname IN ('at_shard', 'misplaced', 'judge_copies')
		FROM pg_proc p WHERE p.pronamespace = 'miosa_router'::regnamespace AND p.proname IN ('at_shard', 'open_move', 'end_move', 'place',
			'cancel_move', 'begin_move', 'turn_back', 'carry', 'drop_parcels', 'begin_bucket', 'switch_bucket', 'begin_some', 'end_bucket', 'move_buckets',
			'clean_overrides', 'rebalance', 'misplaced', 'judge_copies', 'settle', 'resolve_misplaced', 'drop_copies')
	LOOP
		EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC, miosa_admin', f);
		EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %s', f, CASE WHEN reads THEN 'miosa_admin' ELSE 'miosa_mover' END);
	END LOOP;
END $$;
