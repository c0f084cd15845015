-- Texts of the console: one line of at most so many characters, durations,
-- calls to paste, and bars.

-- Shorten a text in its middle, since ids differ at their ends.
CREATE FUNCTION miosa.short(value text, width integer) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	line CONSTANT text := miosa.show(value);
BEGIN
	RETURN CASE WHEN length(line) <= width THEN line
		ELSE left(line, width - 2 - (width - 2) / 3) || '..' || right(line, (width - 2) / 3) END;
END $$;
COMMENT ON FUNCTION miosa.short(text, integer) IS 'The text on one line of at most so many characters, its middle left out: ids differ at their ends';

-- Shorten a text at its end.
CREATE FUNCTION miosa.clip(value text, width integer) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	line CONSTANT text := miosa.show(value);
BEGIN
	RETURN CASE WHEN length(line) <= width THEN line ELSE left(line, width - 2) || '..' END;
END $$;
COMMENT ON FUNCTION miosa.clip(text, integer) IS 'The text on one line of at most so many characters, its end left out: for what people wrote and for error messages';

-- Break a text into lines.
CREATE FUNCTION miosa.wrap(value text, width integer, most integer) RETURNS SETOF text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	rest text := miosa.show(value);
	line text;
BEGIN
	FOR i IN 1 .. most - 1 LOOP
		EXIT WHEN length(rest) <= width;
		-- At the last space that fits; in the middle of a word if there is none.
		line := coalesce(substring(left(rest, width + 1) FROM '^(.*[^ ]) '), left(rest, width));
		RETURN NEXT line;
		rest := ltrim(substr(rest, length(line) + 1));
	END LOOP;
	IF rest <> '' THEN
		RETURN NEXT miosa.clip(rest, width);
	END IF;
END $$;
COMMENT ON FUNCTION miosa.wrap(text, integer, integer) IS 'The text on lines of at most so many characters, at most so many lines';

-- Format a duration.
CREATE FUNCTION miosa.span(value interval) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	s CONSTANT numeric := trunc(extract(epoch FROM value));
BEGIN
	RETURN CASE
		WHEN s < 1 THEN '<1 s'
		WHEN s < 60 THEN s::integer || ' s'
		WHEN s < 3600 THEN trunc(s / 60)::integer || ' min'
		WHEN s < 86400 THEN trunc(s / 3600)::integer || ' h'
			|| CASE WHEN trunc(mod(s, 3600) / 60) > 0 THEN ' ' || trunc(mod(s, 3600) / 60)::integer || ' min' ELSE '' END
		ELSE trunc(s / 86400)::integer || ' d'
			|| CASE WHEN trunc(mod(s, 86400) / 3600) > 0 THEN ' ' || trunc(mod(s, 86400) / 3600)::integer || ' h' ELSE '' END
		END;
END $$;
COMMENT ON FUNCTION miosa.span(interval) IS 'A duration in two units at most: 45 s, 12 min, 2 h 5 min, 3 d 4 h';

-- Format a duration for a narrow column.
CREATE FUNCTION miosa.rough_span(value interval) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN substring(miosa.span(value) FROM E'^\\S+ \\S+');
COMMENT ON FUNCTION miosa.rough_span(interval) IS 'A duration in one unit, for narrow columns: 45 s, 12 min, 2 h, 3 d';

-- A call can be pasted even when a name in it is longer than a line: SQL joins
-- string literals that stand on lines of their own.
CREATE FUNCTION miosa.paste(call text, VARIADIC arguments text[]) RETURNS SETOF text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	width CONSTANT integer := 64;
	whole text;
	line text := call || '(';
	argument text;
	piece text;
	n integer := 0;
BEGIN
	SELECT call || '(' || string_agg(quote_nullable(a.value), ', ' ORDER BY a.place) || ');' INTO whole
		FROM unnest(arguments) WITH ORDINALITY a (value, place);
	IF length(whole) <= width THEN
		RETURN NEXT whole;
		RETURN;
	END IF;
	RETURN NEXT line;
	FOREACH argument IN ARRAY arguments LOOP
		n := n + 1;
		LOOP
			piece := left(argument, width - 8);
			argument := substr(argument, width - 7);
			EXIT WHEN coalesce(argument, '') = '';
			RETURN NEXT quote_literal(piece);
		END LOOP;
		RETURN NEXT quote_nullable(piece) || CASE WHEN n = cardinality(arguments) THEN ');' ELSE ',' END;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.paste(text, text[]) IS 'Lines of at most 64 characters that make up a call of a function with these text arguments';

-- Draw a bar.
CREATE FUNCTION miosa.bar(done bigint, total bigint, width integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN total > 0 THEN
	repeat('#', (width * done / total)::integer) || repeat('-', width - (width * done / total)::integer)
	|| ' ' || done || '/' || total END;
COMMENT ON FUNCTION miosa.bar(bigint, bigint, integer) IS 'A bar of so many characters and the two numbers; full only when all are done; null when there is nothing to do';

-- The usual one.
CREATE FUNCTION miosa.bar(done bigint, total bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN miosa.bar(done, total, 6);
COMMENT ON FUNCTION miosa.bar(bigint, bigint) IS 'A bar of six characters';
