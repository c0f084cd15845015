<?php
// pgsql: strings without a type; PDO: strings without a type, prepared.
['DEPLOYMENT' => $dep, 'V1' => $v1, 'V2' => $v2, 'KEY' => $key] = getenv();
$db = pg_connect('');
$pdo = new PDO('pgsql:', null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);

function call(string $expression, ...$values): void
{
	global $db;
	echo pg_fetch_result(pg_query_params($db, "SELECT $expression", $values), 0, 0), "\n";
}

function call_pdo(string $expression, ...$values): void
{
	global $pdo;
	$statement = $pdo->prepare("SELECT $expression");
	$statement->execute($values);
	echo $statement->fetchColumn(), "\n";
}

call("miosa_promote(\$1::uuid, \$2::uuid, \$3::uuid) #>> '{operation,outcome}'", $dep, $v2, $key);
call("miosa_promote(\$1, \$2, \$3) #>> '{operation,outcome}'", $dep, $v2, $key);
call("miosa_rollback(\$1, \$2, \$3, \$4, \$5, \$6) #>> '{operation,outcome}'",
	$dep, $v1, 'pgsql', 'INC-7', $v2, json_encode(['ticket' => 7]));
call_pdo("miosa_plan(?, version_id => ?) #>> '{data,outcome}'", $dep, $v2);
call_pdo("miosa_deployment(?) #>> '{data,active_version_id}'", $dep);
call_pdo('miosa_wait_converged(?, ?)', $dep, '1 s');
