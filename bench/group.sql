SELECT count(miosa_rollback(d::text, :version, :key)) FROM generate_series(0, :count - 1) d;
