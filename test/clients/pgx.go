// pgx: has the server say which types parameters are.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/jackc/pgx/v4"
)

func main() {
	dep, v1, v2, key := os.Getenv("DEPLOYMENT"), os.Getenv("V1"), os.Getenv("V2"), os.Getenv("KEY")
	ctx := context.Background()
	db, err := pgx.Connect(ctx, "")
	if err != nil {
		panic(err)
	}
	call := func(expression string, values ...interface{}) {
		var got string
		if err := db.QueryRow(ctx, "SELECT "+expression, values...).Scan(&got); err != nil {
			panic(err)
		}
		fmt.Println(got)
	}
	call("miosa_promote($1::uuid, $2::uuid, $3::uuid) #>> '{operation,outcome}'", dep, v2, key)
	call("miosa_promote($1, $2, $3) #>> '{operation,outcome}'", dep, v2, key)
	call("miosa_rollback($1, $2, $3, $4, $5, $6) #>> '{operation,outcome}'", dep, v1, "pgx", "INC-7", v2, `{"ticket": 7}`)
	call("miosa_plan($1, version_id => $2) #>> '{data,outcome}'", dep, v2)
	call("miosa_deployment($1) #>> '{data,active_version_id}'", dep)
	call("miosa_wait_converged($1, $2)", dep, "1 s")
}
