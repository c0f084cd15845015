# psycopg 3: UUID as uuid, Json as json, timedelta as interval.
import datetime
import os
import uuid

import psycopg
from psycopg.types.json import Json

dep, v1, v2, key = (uuid.UUID(os.environ[name])
                    for name in ("DEPLOYMENT", "V1", "V2", "KEY"))


def call(db, expression, *values):
    print(db.execute("SELECT " + expression, values).fetchone()[0])


with psycopg.connect(autocommit=True) as db:
    call(db, "miosa_promote(%s, %s, %s) #>> '{operation,outcome}'", dep, v2, key)
    call(db, "miosa_promote(%s, %s, %s) #>> '{operation,outcome}'", dep, v2, key)
    call(db, "miosa_rollback(%s, %s, %s, %s, %s, %s) #>> '{operation,outcome}'",
         dep, v1, "psycopg", "INC-7", v2, Json({"ticket": 7}))
    call(db, "miosa_plan(%s, version_id => %s) #>> '{data,outcome}'", dep, v2)
    call(db, "miosa_deployment(%s) #>> '{data,active_version_id}'", dep)
    call(db, "miosa_wait_converged(%s, %s)", dep, datetime.timedelta(seconds=1))
