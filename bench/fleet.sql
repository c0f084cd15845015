-- When the listener of narrow.sql has made so many requests, by the file in which
-- it counts them; null after 10 s.
CREATE FUNCTION bench.wait_for_requests(path text, requests bigint) RETURNS float8
LANGUAGE plpgsql AS $$
DECLARE
	patience CONSTANT timestamptz := clock_timestamp() + interval '10 s';
BEGIN
	WHILE clock_timestamp() < patience LOOP
		IF split_part(pg_read_file(path), ' ', 3)::bigint >= requests THEN
			RETURN extract(epoch FROM clock_timestamp());
		END IF;
		PERFORM pg_sleep(0.0002);
	END LOOP;
	RETURN NULL;
END $$;
