-- Verification of the audit trail.
--
-- The hash of an event covers the event and the hash before it
-- (src/operation/audit_chain.c), the first one that is left the hash in the
-- deployment's checkpoint, and the deployment's audit_head is the hash of the
-- newest one.  All of it is read in one snapshot, so operations that run
-- meanwhile are no problems.

-- Compute the hash of an event.
CREATE FUNCTION miosa.audit_hash(event miosa.audit_events, previous bytea) RETURNS bytea
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_audit_hash';
COMMENT ON FUNCTION miosa.audit_hash(miosa.audit_events, bytea) IS 'The hash that an audit event should have, after an event with this hash; null for none';

-- The chain of each deployment, or of one, from its first event that is left.
CREATE FUNCTION miosa.audit_chains(only_one text, OUT deployment_id text, OUT events bigint, OUT first_seq bigint, OUT last_seq bigint,
	OUT problems jsonb)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE
SET jit = off AS $$
	SELECT v.deployment_id, count(*), min(v.seq), max(v.seq),
		jsonb_agg(jsonb_build_object('deployment_id', v.deployment_id, 'seq', v.seq, 'problem',
			CASE WHEN v.seq = v.expected THEN 'the event does not match its hash'
				WHEN v.seq = v.expected + 1 THEN format('event %s is missing', v.expected)
				WHEN v.seq > v.expected THEN format('events %s to %s are missing', v.expected, v.seq - 1)
				ELSE 'the event comes before the checkpoint' END) ORDER BY v.seq) FILTER (WHERE v.seq <> v.expected OR NOT v.matches)
	FROM (
		SELECT a.deployment_id, a.seq, coalesce(lag(a.seq) OVER w, c.seq, 0) + 1 AS expected,
			coalesce(a.hash = miosa.audit_hash(a, coalesce(lag(a.hash) OVER w, c.hash)), false) AS matches
		FROM miosa.audit_events a LEFT JOIN miosa.audit_checkpoints c ON c.deployment_id = a.deployment_id
		WHERE only_one IS NULL OR a.deployment_id = only_one
		WINDOW w AS (PARTITION BY a.deployment_id ORDER BY a.seq)) v
	GROUP BY v.deployment_id
$$;
COMMENT ON FUNCTION miosa.audit_chains(text) IS 'Chains of audit events by deployment, and events that are missing or do not match their hash; only_one: a deployment, null for all';

-- The same, and whether each chain ends where it should: at the head of its
-- deployment, or at the one that the deployment had when it was deleted.
CREATE FUNCTION miosa.audit_ends(only_one text, OUT deployment_id text, OUT events bigint, OUT first_seq bigint, OUT last_seq bigint,
	OUT last_hash bytea, OUT problems jsonb)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE
SET jit = off AS $$
	SELECT t.deployment_id, t.events, t.first_seq, t.last_seq, t.last_hash,
		CASE WHEN (t.last_seq, t.last_hash) IS DISTINCT FROM (t.head_seq, t.head) THEN coalesce(t.problems, '[]') || jsonb_build_object(
				'deployment_id', t.deployment_id, 'seq', t.last_seq, 'problem',
			CASE WHEN t.head_seq IS NULL THEN 'the deployment is gone and has left no head'
				WHEN t.last_seq = t.head_seq THEN 'the newest event is not the head of the chain'
				WHEN t.last_seq > t.head_seq THEN format('the head of the chain is event %s', t.head_seq)
				WHEN t.last_seq + 1 = t.head_seq THEN format('event %s is missing', t.head_seq)
				ELSE format('events %s to %s are missing', t.last_seq + 1, t.head_seq) END)
			ELSE t.problems END
	FROM (
		SELECT coalesce(c.deployment_id, d.deployment_id, p.deployment_id) AS deployment_id, coalesce(c.events, 0) AS events, c.first_seq, coalesce(c.last_seq, p.seq, 0) AS last_seq,
			CASE WHEN c.last_seq IS NULL THEN p.hash ELSE e.hash END AS last_hash, c.problems,
			CASE WHEN d.seq IS NOT NULL THEN d.seq ELSE p.last_seq END AS head_seq,
			CASE WHEN d.seq IS NOT NULL THEN d.audit_head ELSE p.last_hash END AS head
		FROM miosa.audit_chains(only_one) c
		FULL JOIN (SELECT d.id AS deployment_id, d.seq, d.audit_head FROM miosa.deployments d WHERE only_one IS NULL OR d.id = only_one) d USING (deployment_id)
		FULL JOIN (SELECT * FROM miosa.audit_checkpoints p WHERE only_one IS NULL OR p.deployment_id = only_one) p USING (deployment_id)
		LEFT JOIN miosa.audit_events e ON e.deployment_id = c.deployment_id AND e.seq = c.last_seq) t
$$;
COMMENT ON FUNCTION miosa.audit_ends(text) IS 'Chains of audit events as miosa.audit_chains() has them, compared with the heads of their deployments';

-- An event whose hash was kept outside of the server must still be there.  One
-- that retention has removed is behind the checkpoint.
CREATE FUNCTION miosa.audit_known(deployment_id text, seq bigint, hash bytea) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT jsonb_build_array(jsonb_build_object('deployment_id', $1, 'seq', $2, 'problem',
		CASE WHEN k.hash IS NULL THEN 'the event whose hash was given is missing' ELSE 'the event has another hash than was given' END))
	FROM (SELECT coalesce((SELECT e.hash FROM miosa.audit_events e WHERE e.deployment_id = $1 AND e.seq = $2),
		(SELECT CASE WHEN p.seq = $2 THEN p.hash WHEN p.seq > $2 THEN $3 END FROM miosa.audit_checkpoints p WHERE p.deployment_id = $1)) AS hash) k
	WHERE k.hash IS DISTINCT FROM $3
$$;
COMMENT ON FUNCTION miosa.audit_known(text, bigint, bytea) IS 'The problem if an audit event is missing or has not this hash; null when it has, or retention has removed it';

-- Verify the audit trail of a deployment.
CREATE FUNCTION @extschema@.miosa_audit_verify(deployment_id text, known_seq bigint DEFAULT NULL, known_hash text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	chain record;
	problems jsonb;
BEGIN
	PERFORM miosa.check_id(deployment_id, 'deployment id');
	IF (known_seq IS NULL) <> (known_hash IS NULL) OR known_hash !~ '^[0-9A-Fa-f]{64}$' THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid value for argument "known_hash"',
			'It takes the number of an event and its hash, 64 hexadecimal digits.',
			format('Verify without: SELECT miosa_audit_verify(%L);', deployment_id));
	END IF;
	SELECT * INTO chain FROM miosa.audit_ends(deployment_id);
	IF NOT FOUND THEN
		PERFORM miosa.no_deployment(deployment_id);
	END IF;
	problems := coalesce(chain.problems, '[]') || coalesce(miosa.audit_known(deployment_id, known_seq, decode(known_hash, 'hex')), '[]');
	RETURN jsonb_build_object('data', jsonb_build_object('deployment_id', deployment_id, 'verified', problems = '[]',
		'events', chain.events, 'first_seq', chain.first_seq, 'last_seq', chain.last_seq, 'head', encode(chain.last_hash, 'hex'),
		'problems', problems));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_audit_verify(text, bigint, text) IS 'Verifies the hash chain of a deployment''s audit events, and that it has an event whose hash was kept elsewhere: {"data": {"verified", "problems", ...}}';

-- Verify the audit trail of all deployments.
CREATE FUNCTION @extschema@.miosa_audit_verify_all() RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
	SELECT jsonb_build_object('data', jsonb_build_object('verified', count(*) FILTER (WHERE e.problems IS NOT NULL) = 0,
		'deployments', count(*), 'events', coalesce(sum(e.events), 0),
		'problems', coalesce(jsonb_path_query_array(jsonb_agg(e.problems ORDER BY e.deployment_id) FILTER (WHERE e.problems IS NOT NULL AND e.place <= 1000), '$[*][*]'), '[]')))
	FROM (SELECT a.deployment_id, a.events, a.problems, count(a.problems) OVER (ORDER BY a.deployment_id) AS place
		FROM miosa.audit_ends(NULL) a) e
$$;
COMMENT ON FUNCTION @extschema@.miosa_audit_verify_all() IS 'Verifies the hash chains of all audit events: {"data": {"verified", "events", "problems", ...}}; problems of at most 1,000 deployments';
