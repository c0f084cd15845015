SELECT count(g.response) FROM miosa.rollback_group(
	(SELECT array_agg(d::text) FROM generate_series(0, :count - 1) d),
	array_fill(:version::text, ARRAY[:count]), array_fill(:key::text, ARRAY[:count])) g;
