-- Attack 8: requests to where the server may go and the caller may not. What is
-- connected to is tested in t/157_policy.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

-- Metadata services of clouds, in every form in which one can be written.
SELECT a, miosa.refused_address(a) FROM unnest(ARRAY[
	'169.254.169.254', '169.254.170.2', '169.254.0.23', '100.100.100.200', '168.63.129.16', '192.0.0.192',
	'fd00:ec2::254', 'fd00:ec2::23', 'fd20:ce::254', 'fe80::a9fe:a9fe', 'fd00:c1::a9fe:a9fe',
	'::ffff:169.254.169.254', '::ffff:168.63.129.16', '::169.254.169.254', '64:ff9b::169.254.169.254', '64:ff9b::a83f:8110',
	'64:ff9b:1::a9fe:a9fe', '64:ff9b:1:a9fe:a9:fe00::', '64:ff9b:1:a9:fe:a9fe::', '64:ff9b:1:0:a9:fea9:fe00:0',
	'2002:a9fe:a9fe::1', '2002:a83f:8110::', '2001:0:1::5601:5601', '2600:1234::a9fe:a9fe']::inet[]) a
WHERE miosa.refused_address(a) IS DISTINCT FROM 'the host is a metadata service of a cloud, which is never asked';

-- By default all of the public Internet, and nothing else.
SHOW miosa_rollback.allowed_networks;
SELECT a, miosa.refused_address(a) FROM unnest(ARRAY['8.8.8.8', '169.253.255.255', '2600::1', '127.0.0.1', '10.0.0.1', '::1', 'fc00::1',
	'fe80::1', '::ffff:8.8.8.8', '64:ff9b::8.8.8.8', '2002:808:808::1']::inet[]) a;
SELECT miosa.refused_address(NULL) IS NULL AS nothing_to_ask;

-- A mistake in the list is refused when it is set.
ALTER SYSTEM SET miosa_rollback.allowed_networks = 'public, intranet';
ALTER SYSTEM SET miosa_rollback.allowed_networks = '10.0.0.1/8';
ALTER SYSTEM SET miosa_rollback.allowed_networks = '10.0.0.0/33';
ALTER SYSTEM SET miosa_rollback.allowed_networks = '10.0.0.0/-1';
ALTER SYSTEM SET miosa_rollback.allowed_networks = '10.0.0.0/8,,fd00::/8';
ALTER SYSTEM SET miosa_rollback.allowed_networks = 'fd00::1/8';
ALTER SYSTEM SET miosa_rollback.allowed_networks = '10.0.0/8';
SET miosa_rollback.allowed_networks = '0.0.0.0/0';

-- Redirections, proxies and other protocols are not for the caller to choose,
-- and the body of an answer is shown to administrators only (t/157_policy).
SET ROLE miosa_operator;
SELECT miosa.refused_address('169.254.169.254');
RESET ROLE;
\i :cleanup
