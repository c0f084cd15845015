-- Capacity: whether a dynamic version has the instances that it needs, and
-- what happens when it gets them.

-- An instance that is not heard of is not healthy.  After a fail-over nobody
-- was heard of for a while, so all heartbeats begin anew with the term.
CREATE FUNCTION miosa.heartbeat_horizon() RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
	SELECT CASE WHEN t.timeout = '0' OR (SELECT s.term_since FROM miosa.dispatcher_state s) > clock_timestamp() - t.timeout
		THEN '-infinity' ELSE clock_timestamp() - t.timeout END
	FROM (SELECT miosa.setting('heartbeat_timeout')::interval AS timeout) t
$$;
COMMENT ON FUNCTION miosa.heartbeat_horizon() IS 'Instances that were last heard of before this count as not healthy (miosa_rollback.heartbeat_timeout)';

CREATE VIEW miosa.live_instances AS
	SELECT i.deployment_id, i.version_id, i.id, i.address, i.port FROM miosa.runtime_instances i
	WHERE i.state = 'healthy' AND coalesce(i.last_heartbeat_at, i.updated_at) > (SELECT miosa.heartbeat_horizon());
COMMENT ON VIEW miosa.live_instances IS 'Instances that serve: healthy, and heard of lately';
COMMENT ON COLUMN miosa.live_instances.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.live_instances.version_id IS 'Version that it runs';
COMMENT ON COLUMN miosa.live_instances.id IS 'Opaque id';
COMMENT ON COLUMN miosa.live_instances.address IS 'Address that routers reach it at';
COMMENT ON COLUMN miosa.live_instances.port IS 'Port that routers reach it at';

-- How many healthy instances are enough; the same judgement as that of a
-- rollback.  Routes switch when as many serve as did before, or as are wanted
-- if that is fewer, and at once when nothing serves any more.  A static
-- version counts as fully there.
CREATE FUNCTION miosa.judge_capacity(deployment_id text, version_id text, serving_id text, desired integer,
	OUT needed boolean, OUT healthy integer, OUT required integer, OUT enough boolean, OUT reached boolean)
LANGUAGE sql VOLATILE PARALLEL SAFE
AS $$
	SELECT n.needed, n.healthy, n.required, NOT n.needed OR n.healthy >= n.required,
		NOT n.needed OR n.healthy >= greatest(n.required, least($4, 1))
	FROM (SELECT t.kind <> 'static' AS needed, c.target AS healthy,
			CASE WHEN s.id IS NULL THEN 0 WHEN s.kind = 'static' THEN $4 ELSE least($4, c.serving) END AS required
		FROM (SELECT count(*) FILTER (WHERE i.version_id = $2)::integer AS target,
				count(*) FILTER (WHERE i.version_id = $3)::integer AS serving
			FROM miosa.live_instances i WHERE i.deployment_id = $1) c
		JOIN miosa.versions t ON t.deployment_id = $1 AND t.id = $2
		LEFT JOIN miosa.versions s ON s.deployment_id = $1 AND s.id = $3) n
$$;
COMMENT ON FUNCTION miosa.judge_capacity(text, text, text, integer) IS 'Judge a version by its healthy instances while another serves (null: none) and so many are wanted. needed: it runs in instances at all; required: healthy ones before routes switch; enough: routes may switch; reached: the deployment counts as running. No row when the version does not exist. Volatile, because it must count in a new snapshot under the deployment''s lock';

CREATE FUNCTION miosa.complete_capacity(deployment_id text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	d miosa.deployments;
	capacity record;
BEGIN
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = deployment_id;
	IF d.active_version_id IS NULL OR d.state = 'stopped'
		OR (d.serving_version_id IS NULL AND d.state <> 'pending') THEN
		RETURN false;
	END IF;
	SELECT * INTO capacity FROM miosa.judge_capacity(d.id, d.active_version_id, d.serving_version_id, d.desired_replicas);
	IF d.serving_version_id IS NULL THEN
		IF NOT capacity.needed OR capacity.healthy >= d.desired_replicas THEN
			UPDATE miosa.deployments p SET state = 'running', updated_at = clock_timestamp() WHERE p.id = d.id;
		END IF;
		RETURN false;
	ELSIF NOT capacity.enough THEN
		RETURN false;
	END IF;
	-- Nothing serves the old version any more or enough serve the new one.
	UPDATE miosa.deployments p SET serving_version_id = NULL,
			state = CASE WHEN capacity.reached THEN 'running' ELSE p.state END,
			recent_served = (ARRAY[p.active_version_id] || array_remove(p.recent_served, p.active_version_id))[1:3],
			updated_at = clock_timestamp()
		WHERE p.id = d.id;
	PERFORM miosa.queue(d.id, 'route', NULL);
	RETURN true;
END $$;
COMMENT ON FUNCTION miosa.complete_capacity(text) IS 'Switch routes to the active version when its healthy instances are enough, and set the state running when the capacity is there; true when routes switched. The caller holds the lock of the deployment''s row';

