-- What the peers of delivery take their work from. Loaded before they start.
CREATE SCHEMA queue;

-- What was put into a queue, whose commit is asked for.
CREATE TABLE queue.put (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);

-- As pg_net has them.
CREATE TABLE queue.requests (
	id bigint PRIMARY KEY,
	path text NOT NULL
);
CREATE TABLE queue.responses (
	id bigint NOT NULL,
	status integer,
	created_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION queue.put_rows(n integer) RETURNS bigint
LANGUAGE sql
BEGIN ATOMIC
	WITH put AS (INSERT INTO queue.put SELECT FROM generate_series(1, n) RETURNING id),
	queued AS (INSERT INTO queue.requests (id, path)
		SELECT p.id, '/route/rows/' || p.id FROM put p RETURNING id)
	SELECT count(*) FROM queued;
END;

CREATE FUNCTION queue.put_jobs(n integer) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	jobs bigint;
BEGIN
	WITH put AS (INSERT INTO queue.put SELECT FROM generate_series(1, n) RETURNING id)
	SELECT count(graphile_worker.add_job('deliver', json_build_object('path', '/route/jobs/' || p.id)))
		INTO jobs FROM put p;
	RETURN jobs;
END $$;
