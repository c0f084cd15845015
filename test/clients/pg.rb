# pg: strings without a type, or with the type that an encoder has.
require 'json'
require 'pg'

dep, v1, v2, key = ENV.values_at('DEPLOYMENT', 'V1', 'V2', 'KEY')
$db = PG.connect

def call(expression, *values)
  puts $db.exec_params("SELECT #{expression}", values).getvalue(0, 0)
end

def typed(value, type)
  { value: value, type: type }
end

UUID = 2950
JSON_TYPE = 114

call("miosa_promote($1, $2, $3) #>> '{operation,outcome}'", typed(dep, UUID), typed(v2, UUID), typed(key, UUID))
call("miosa_promote($1, $2, $3) #>> '{operation,outcome}'", dep, v2, key)
call("miosa_rollback($1, $2, $3, $4, $5, $6) #>> '{operation,outcome}'",
     dep, v1, 'ruby', 'INC-7', v2, typed(JSON.generate({ ticket: 7 }), JSON_TYPE))
call("miosa_plan($1, version_id => $2) #>> '{data,outcome}'", dep, v2)
call("miosa_deployment($1) #>> '{data,active_version_id}'", dep)
call('miosa_wait_converged($1, $2)', dep, '1 s')
