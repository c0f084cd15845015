-- Verification of the audit trail.
--
-- The hash of an event covers the event and the hash before it
-- (src/operation/audit_chain.c), the first one that is left the hash in the
-- deployment's checkpoint, and the deployment's audit_head is the hash of the
-- newest one.  All of it is read in one snapshot, so operations that run
-- meanwhile are no problems.

-- Chains and statements are of all tenants.
CREATE FUNCTION miosa.need_all_tenants() RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL UNSAFE AS $$
BEGIN
	IF NOT miosa.sees_all_tenants() THEN
		PERFORM miosa.raise_condition('FORBIDDEN', 'the audit trail of all tenants cannot be read', 'The caller does not act for all tenants.',
			'Read the events of a tenant with SELECT miosa_audit_log();');
	END IF;
	RETURN true;
END $$;
COMMENT ON FUNCTION miosa.need_all_tenants() IS 'True; raises FORBIDDEN when the caller does not act for all tenants';

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
	SELECT * INTO chain FROM miosa.audit_ends(deployment_id) e
		WHERE miosa.sees_all_tenants() OR EXISTS (SELECT FROM miosa.audit_events a WHERE a.deployment_id = e.deployment_id AND miosa.sees_tenant(a.tenant_id));
	IF NOT FOUND THEN
		PERFORM miosa.no_deployment(deployment_id);
	END IF;
	problems := coalesce(chain.problems, '[]') || coalesce(miosa.audit_known(deployment_id, known_seq, decode(known_hash, 'hex')), '[]');
	RETURN jsonb_build_object('data', jsonb_build_object('deployment_id', deployment_id, 'verified', problems = '[]',
		'events', chain.events, 'first_seq', chain.first_seq, 'last_seq', chain.last_seq, 'head', encode(chain.last_hash, 'hex'),
		'problems', problems));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_audit_verify(text, bigint, text) IS 'Verifies the hash chain of a deployment''s audit events, and that it has an event whose hash was kept elsewhere: {"data": {"verified", "problems", ...}}';

-- Statements, which leave the server.
--
-- A statement lists the heads of the deployments that have changed since the one
-- before, which are those of the route log, as every operation changes a route.
-- Epochs are given in the order of commits, so none is passed over.  If the log
-- was trimmed first, the events of the time since are asked.

-- The lines of a statement.
CREATE FUNCTION miosa.audit_content(number bigint, at timestamptz, previous bytea, deployment_ids text[]) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT concat('miosa audit statement 1', E'\n', 'database ', to_json(current_database()), E'\n',
		'installation ', to_json(coalesce(miosa.setting('site'), (SELECT c.system_identifier::text FROM pg_control_system() c))), E'\n',
		'number ', $1, E'\n', 'time ', miosa.iso($2), E'\n', 'previous ', coalesce(encode($3, 'hex'), 'none'), E'\n',
		(SELECT string_agg(format('deployment %s %s %s', h.id, h.seq, encode(h.hash, 'hex')) || E'\n', '' ORDER BY h.id COLLATE "C")
			FROM (SELECT i.id, CASE WHEN d.id IS NULL THEN p.last_seq ELSE d.seq END AS seq,
					CASE WHEN d.id IS NULL THEN p.last_hash ELSE d.audit_head END AS hash
				FROM unnest($4) i (id)
				LEFT JOIN miosa.deployments d ON d.id = i.id
				LEFT JOIN miosa.audit_checkpoints p ON p.deployment_id = i.id) h
			WHERE h.hash IS NOT NULL), miosa.configuration_line())
$$;
COMMENT ON FUNCTION miosa.audit_content(bigint, timestamptz, bytea, text[]) IS 'The lines of a statement about the heads of these deployments';

-- Make the next statement, unless nothing has changed.
CREATE FUNCTION miosa.audit_state(most integer, OUT number bigint, OUT more boolean)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	last miosa.audit_statements;
	at CONSTANT timestamptz := clock_timestamp();
	ids text[];
	upto bigint;
	changes bigint;
	trimmed bigint;
	content text;
BEGIN
	SELECT s.* INTO last FROM miosa.audit_statements s ORDER BY s.number DESC LIMIT 1;
	SELECT s.trimmed_epoch INTO trimmed FROM miosa.dispatcher_state s;
	SELECT array_agg(DISTINCT l.deployment_id), max(l.epoch), count(*) INTO ids, upto, changes
		FROM (SELECT r.deployment_id, r.epoch FROM miosa.route_log r WHERE r.epoch > coalesce(last.epoch, 0) ORDER BY r.epoch LIMIT most) l;
	more := changes >= most;
	IF trimmed > coalesce(last.epoch, 0) THEN
		ids := ids || ARRAY(SELECT DISTINCT a.deployment_id FROM miosa.audit_events a
			WHERE a.created_at > coalesce(last.created_at - '1 hour'::interval, '-infinity'));
		upto := greatest(upto, trimmed);
	END IF;
	IF upto IS NULL AND strpos(coalesce(last.content, ''), coalesce(miosa.configuration_line(), 'miosa')) > 0
		OR upto IS NULL AND miosa.configuration_line() IS NULL THEN
		RETURN;
	END IF;
	upto := coalesce(upto, last.epoch, 0);
	number := coalesce(last.number, 0) + 1;
	content := miosa.audit_content(number, at, last.hash, ids);
	INSERT INTO miosa.audit_statements VALUES (number, at, upto, content, sha256(convert_to(content, 'UTF8')));
	DELETE FROM miosa.audit_statements s WHERE s.number IN (SELECT o.number FROM miosa.audit_statements o
		WHERE o.created_at < at - '401 days'::interval ORDER BY o.number LIMIT 100);
	-- A full queue would fail the commit.
	IF pg_notification_queue_usage() <= 0.5 THEN
		PERFORM pg_notify('miosa_audit', json_build_object('number', number, 'sha256', encode(sha256(convert_to(content, 'UTF8')), 'hex'),
			'time', miosa.iso(at))::text);
	END IF;
END $$;
COMMENT ON FUNCTION miosa.audit_state(integer) IS 'Makes a statement of the heads that have changed, of so many route changes at most; more: others are left';

-- The next statement for a receiver.  A new one receives the newest.
CREATE FUNCTION miosa.audit_next(receiver text, OUT number bigint, OUT created_at timestamptz, OUT content text, OUT hash bytea)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT s.number, s.created_at, s.content, s.hash FROM miosa.audit_statements s
	WHERE s.number > coalesce((SELECT r.number FROM miosa.audit_receivers r WHERE r.receiver = $1), (SELECT max(o.number) - 1 FROM miosa.audit_statements o))
	ORDER BY s.number LIMIT 1
$$;
COMMENT ON FUNCTION miosa.audit_next(text) IS 'The first statement that a receiver has not accepted';

-- Note that a receiver has accepted a statement.
CREATE FUNCTION miosa.audit_sent(receiver text, number bigint) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	INSERT INTO miosa.audit_receivers AS r (receiver, number, sent_at) VALUES ($1, $2, clock_timestamp())
		ON CONFLICT ON CONSTRAINT audit_receivers_pkey DO UPDATE SET number = greatest(r.number, excluded.number), sent_at = excluded.sent_at
$$;
COMMENT ON FUNCTION miosa.audit_sent(text, bigint) IS 'Records that a receiver has accepted a statement';

-- The newest statement.
CREATE FUNCTION @extschema@.miosa_audit_head() RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('data', (SELECT jsonb_build_object('number', s.number, 'created_at', miosa.iso(s.created_at),
			'sha256', encode(s.hash, 'hex'), 'statement', s.content)
		FROM miosa.audit_statements s ORDER BY s.number DESC LIMIT 1)) WHERE miosa.need_all_tenants()
$$;
COMMENT ON FUNCTION @extschema@.miosa_audit_head() IS 'The newest statement of heads of the audit trail: {"data": {"number", "created_at", "sha256", "statement"}}; null before the first one';

-- What a statement says that is not so: the heads that it lists, and itself.
CREATE FUNCTION miosa.audit_statement_problems(content text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT coalesce(jsonb_path_query_array(jsonb_agg(k.problems), '$[*][*]'), '[]')
	FROM (SELECT regexp_split_to_array(l.line, ' ') AS part FROM regexp_split_to_table($1, E'\n') l (line)
		WHERE l.line LIKE 'deployment %' OR l.line LIKE 'configuration %') l
	CROSS JOIN LATERAL (SELECT CASE l.part[1] WHEN 'deployment' THEN miosa.audit_known(l.part[2], l.part[3]::bigint, decode(l.part[4], 'hex'))
		ELSE miosa.configuration_known(l.part[2], l.part[3]::bigint, decode(l.part[4], 'hex')) END) k (problems) WHERE k.problems IS NOT NULL
$$;
COMMENT ON FUNCTION miosa.audit_statement_problems(text) IS 'Events that a statement lists and that are missing or have another hash now';

-- Verify a statement that was kept outside.
CREATE FUNCTION @extschema@.miosa_audit_verify_statement(statement text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	stated bigint := substring(statement FROM E'\\nnumber ([0-9]{1,18})\\n');
	problems jsonb;
BEGIN
	PERFORM miosa.need_all_tenants();
	IF stated IS NULL OR statement !~ E'^miosa audit statement 1\\n([a-z]+ [^\\n]+\\n)+$' OR statement ~ E'(^|\\n)deployment (?![^ \\n]+ [0-9]{1,18} [0-9a-f]{64}\\n)' THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid value for argument "statement"',
			'It is not a statement of the audit trail, with all of its lines and the newline at its end.',
			'See the newest one with SELECT miosa_audit_head();');
	END IF;
	problems := miosa.audit_statement_problems(statement);
	IF NOT EXISTS (SELECT FROM miosa.audit_statements s WHERE s.number = stated AND s.hash = sha256(convert_to(statement, 'UTF8')))
		AND stated >= (SELECT coalesce(min(s.number), 0) FROM miosa.audit_statements s) THEN
		problems := problems || jsonb_build_object('statement', stated, 'problem', 'the statement is missing or is another one here');
	END IF;
	RETURN jsonb_build_object('data', jsonb_build_object('number', stated, 'verified', problems = '[]', 'problems', problems));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_audit_verify_statement(text) IS 'Verifies the audit trail against a statement that was kept elsewhere: {"data": {"number", "verified", "problems"}}';

-- The statements here: each has the hash of the one before, and lists hashes
-- that events have.
CREATE FUNCTION miosa.audit_statements_problems() RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT coalesce(jsonb_path_query_array(jsonb_agg(p.problems ORDER BY p.number), '$[*][*]'), '[]') FROM (
		SELECT v.number, CASE WHEN v.right THEN '[]'::jsonb ELSE jsonb_build_array(jsonb_build_object('statement', v.number, 'problem',
				'the statement does not match its hash or the one before')) END || miosa.audit_statement_problems(v.content) AS problems
		FROM (SELECT s.number, s.content, s.hash = sha256(convert_to(s.content, 'UTF8')) AND lag(s.number, 1, s.number - 1) OVER w = s.number - 1
				AND strpos(s.content, E'\nnumber ' || s.number || E'\n') > 0
				AND (lag(s.hash) OVER w IS NULL OR strpos(s.content, E'\nprevious ' || encode(lag(s.hash) OVER w, 'hex') || E'\n') > 0) AS right
			FROM miosa.audit_statements s WINDOW w AS (ORDER BY s.number)) v) p
$$;
COMMENT ON FUNCTION miosa.audit_statements_problems() IS 'Statements that do not follow from the one before, and events that they list and that are missing or have another hash';

-- Verify the audit trail of all deployments.
CREATE FUNCTION @extschema@.miosa_audit_verify_all() RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
	-- Computed once, not for each deployment
	WITH s AS MATERIALIZED (SELECT miosa.audit_statements_problems() || miosa.configuration_problems() AS problems)
	SELECT jsonb_build_object('data', jsonb_build_object('verified', count(*) FILTER (WHERE e.problems IS NOT NULL) = 0 AND s.problems = '[]',
		'deployments', count(*), 'events', coalesce(sum(e.events), 0),
		'problems', coalesce(jsonb_path_query_array(jsonb_agg(e.problems ORDER BY e.deployment_id) FILTER (WHERE e.problems IS NOT NULL AND e.place <= 1000), '$[*][*]'), '[]')
			|| jsonb_path_query_array(s.problems, '$[0 to 999]')))
	FROM s
	LEFT JOIN (SELECT a.deployment_id, a.events, a.problems, count(a.problems) OVER (ORDER BY a.deployment_id) AS place
		FROM miosa.audit_ends(NULL) a) e ON true
	WHERE miosa.need_all_tenants()
	GROUP BY s.problems
$$;
COMMENT ON FUNCTION @extschema@.miosa_audit_verify_all() IS 'Verifies the hash chains of all audit events: {"data": {"verified", "events", "problems", ...}}; problems of at most 1,000 deployments';
