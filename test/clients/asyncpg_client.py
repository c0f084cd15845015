# asyncpg: has the server say which types parameters are, and casts make them.
import asyncio
import datetime
import json
import os
import uuid

import asyncpg

dep, v1, v2, key = (uuid.UUID(os.environ[name])
                    for name in ("DEPLOYMENT", "V1", "V2", "KEY"))


async def main():
    db = await asyncpg.connect()

    async def call(expression, *values):
        print(await db.fetchval("SELECT " + expression, *values))

    await call("miosa_promote($1::uuid, $2::uuid, $3::uuid) #>> '{operation,outcome}'", dep, v2, key)
    await call("miosa_promote($1, $2, $3) #>> '{operation,outcome}'", str(dep), str(v2), str(key))
    await call("miosa_rollback($1, $2, $3, $4, $5, $6) #>> '{operation,outcome}'",
               str(dep), str(v1), "asyncpg", "INC-7", str(v2), json.dumps({"ticket": 7}))
    await call("miosa_plan($1::uuid, version_id => $2::uuid) #>> '{data,outcome}'", dep, v2)
    await call("miosa_deployment($1) #>> '{data,active_version_id}'", str(dep))
    await call("miosa_wait_converged($1, $2::interval)", str(dep), datetime.timedelta(seconds=1))
    await db.close()


asyncio.run(main())
