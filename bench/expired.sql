-- :keys idempotency keys of yesterday, as long as real ones.
INSERT INTO miosa.idempotency_keys (deployment_id, key, operation, fingerprint, response, seq, created_at, expires_at)
	SELECT n % 1000, 'expired-' || n, 'rollback', decode(repeat('5b', 32), 'hex'), bench.response(), n,
		now() - interval '2 days', now() - interval '1 day'
	FROM generate_series(1, :keys) n;
