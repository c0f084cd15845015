SELECT jsonb_array_length(miosa_rollback_many(jsonb_build_object('ids',
	(SELECT jsonb_agg(d::text) FROM generate_series(0, :count - 1) d)),
	idempotency_key => :key) -> 'data' -> 'deployments');
