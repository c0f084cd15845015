# miosa_rollback: see README.md for what it is.
#
#   make, make install, make installcheck    as in any PGXS extension
#   make demo      the main jobs on real servers, in a temporary folder
#   make test      every suite, in a temporary folder
#   make bench     our speed beside the floor's and beside what a user would
#                  write, also among a million deployments, how fast edges,
#                  visitors and schedulers see a change, also after a crash,
#                  and what keeping, deleting and signing cost; fails when a
#                  goal is missed
#   make charts    measure and draw the charts of docs/performance.md again
#   make fuzz      a million odd values, none of which may change a request
#   make torture   100,000 deliveries while processes are ended at random, and
#                  a full queue of notifications
#   make sqlsmith  20,000 made-up queries as an operator, and as a deployer, of
#                  one tenant: no crash, nothing of another tenant
#   make sanitize  the suites with AddressSanitizer and
#                  UndefinedBehaviorSanitizer: no report
#   make coverage  which lines and branches the suites run: 90 % of the lines
#   make valgrind  the main paths under Valgrind: no report about our code
#   make ha        ten fail-overs of three Patroni nodes under load: nothing that
#                  was confirmed is lost or applied twice
#   make cluster   four shards on two servers behind a router, and edges that all
#                  of them deliver to; what the router costs
#   make lint      the rules that a compiler does not check
#   make indent    rewrite the C files as pgindent would
#   make dist      pack the newest commit for PGXN, here or in DIST_FOLDER
#
# demo, test, bench, charts, fuzz, torture and the six after it install the packages
# that they need; test/packages says which. They take
#
#   PG_CONFIG=/path/to/pg_config    another PostgreSQL, 15 to 18, than Debian's
#   JOBS=n         so many files of tests at a time
#   LOAD=n         test and demo: n busy processes beside them
#
# and what test/run says at its top.

EXTENSION = miosa_rollback
MODULE_big = $(EXTENSION)

# The version number is written in the control file and nowhere else.
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" \
	$(EXTENSION).control)

# By room, in the order in which rooms may use each other (src/README.md).
OBJS = \
	src/base/check_argument.o \
	src/base/errors.o \
	src/base/extension_row.o \
	src/base/extension_version.o \
	src/base/function_name.o \
	src/base/gateway.o \
	src/base/guc.o \
	src/base/json_build.o \
	src/base/network_list.o \
	src/base/optional_text.o \
	src/base/shown_uri.o \
	src/base/setting_source.o \
	src/base/size_limit.o \
	src/common/array.o \
	src/common/backoff.o \
	src/common/buckets.o \
	src/common/digest.o \
	src/common/file_root.o \
	src/common/histogram.o \
	src/common/id_hash.o \
	src/common/index_lookup.o \
	src/common/iso_time.o \
	src/common/json_read.o \
	src/common/json_setting.o \
	src/common/jsonb_write.o \
	src/common/lock_wait.o \
	src/common/logfmt.o \
	src/common/query.o \
	src/common/refusal_ring.o \
	src/common/registry.o \
	src/common/row_plan.o \
	src/common/row_write.o \
	src/common/shmem.o \
	src/common/table.o \
	src/common/timer.o \
	src/common/try_call.o \
	src/common/uri_lock.o \
	src/common/worker_settings.o \
	src/common/worker_xact.o \
	src/http/http.o \
	src/http/http_call.o \
	src/http/http_sockets.o \
	src/http/http_transfer.o \
	src/http/outbound.o \
	src/http/public_address.o \
	src/adapter/adapter.o \
	src/adapter/adapter_scheduler.o \
	src/adapter/answer.o \
	src/adapter/charset.o \
	src/adapter/escape.o \
	src/adapter/request.o \
	src/adapter/secret.o \
	src/adapter/secret_list.o \
	src/adapter/secret_scope.o \
	src/adapter/sign.o \
	src/adapter/sigv4.o \
	src/adapter/template.o \
	src/adapter/variable.o \
	src/artifact/artifact.o \
	src/artifact/artifact_batch.o \
	src/artifact/artifact_check.o \
	src/artifact/artifact_file.o \
	src/artifact/artifact_http.o \
	src/artifact/s3_url.o \
	src/artifact/storage.o \
	src/route/outbox.o \
	src/route/route.o \
	src/route/route_book.o \
	src/route/route_log.o \
	src/notify/channel.o \
	src/notify/listeners.o \
	src/notify/payload.o \
	src/notify/wakeup.o \
	src/operation/actor.o \
	src/operation/alert.o \
	src/operation/alert_body.o \
	src/operation/alert_record.o \
	src/operation/refusal.o \
	src/operation/apply.o \
	src/operation/as_of.o \
	src/operation/audit_chain.o \
	src/operation/attempt.o \
	src/operation/caller_request.o \
	src/operation/candidates.o \
	src/operation/capacity.o \
	src/operation/checks.o \
	src/operation/claims.o \
	src/operation/confirmed.o \
	src/operation/cutover.o \
	src/operation/deployment.o \
	src/operation/deployment_lock.o \
	src/operation/deployment_selector.o \
	src/operation/derived_columns.o \
	src/operation/enqueue.o \
	src/operation/finding.o \
	src/operation/fleet.o \
	src/operation/group.o \
	src/operation/freeze.o \
	src/operation/bad_version.o \
	src/operation/guards.o \
	src/operation/schema_guard.o \
	src/operation/requirements.o \
	src/operation/hold.o \
	src/operation/note.o \
	src/operation/kept_refusal.o \
	src/operation/idempotency.o \
	src/operation/operation.o \
	src/operation/operation_count.o \
	src/operation/operation_stats.o \
	src/operation/pointer_trigger.o \
	src/operation/primary.o \
	src/operation/response.o \
	src/operation/rollback.o \
	src/operation/schema_marks.o \
	src/operation/served.o \
	src/operation/served_at.o \
	src/operation/target.o \
	src/operation/tenancy.o \
	src/operation/undo.o \
	src/operation/version.o \
	src/operation/watch.o \
	src/operation/write_guard.o \
	src/verifier/due_artifacts.o \
	src/verifier/verifier.o \
	src/endpoint/circuit_breaker.o \
	src/endpoint/dirty.o \
	src/endpoint/endpoint_list.o \
	src/endpoint/endpoint_stats.o \
	src/endpoint/endpoint_totals.o \
	src/endpoint/health.o \
	src/endpoint/inflight.o \
	src/endpoint/rate_limit.o \
	src/endpoint/run_queue.o \
	src/endpoint/selector.o \
	src/delivery/damping.o \
	src/delivery/edge_state.o \
	src/delivery/edge_times.o \
	src/delivery/endpoint_state.o \
	src/delivery/fanout.o \
	src/delivery/flush.o \
	src/delivery/handover.o \
	src/delivery/item.o \
	src/delivery/marker.o \
	src/delivery/message.o \
	src/delivery/publish.o \
	src/delivery/queue.o \
	src/delivery/ready_list.o \
	src/delivery/replay.o \
	src/delivery/resync.o \
	src/delivery/sender.o \
	src/delivery/zone_barrier.o \
	src/scheduler/capacity_pass.o \
	src/scheduler/capacity_request.o \
	src/scheduler/drain.o \
	src/scheduler/poll_count.o \
	src/scheduler/reconcile.o \
	src/scheduler/scale_queue.o \
	src/scheduler/scale_result.o \
	src/scheduler/scale_sender.o \
	src/scheduler/scale_task.o \
	src/scheduler/settle.o \
	src/dispatcher/alerts.o \
	src/dispatcher/audit_heads.o \
	src/dispatcher/convergence_log.o \
	src/dispatcher/refusals.o \
	src/dispatcher/sites.o \
	src/dispatcher/dispatcher.o \
	src/dispatcher/durability.o \
	src/dispatcher/dispatcher_main.o \
	src/dispatcher/feed.o \
	src/dispatcher/fence.o \
	src/dispatcher/launcher.o \
	src/dispatcher/pump.o \
	src/dispatcher/purge.o \
	src/dispatcher/steps.o \
	src/dispatcher/term.o \
	src/api/adapter_api.o \
	src/api/alert_api.o \
	src/api/convergence_api.o \
	src/api/convergence_state.o \
	src/api/dispatcher_api.o \
	src/api/drop_guard.o \
	src/api/edges.o \
	src/api/endpoint_api.o \
	src/api/entry_points.o \
	src/api/fleet_api.o \
	src/api/gate.o \
	src/api/hidden_text.o \
	src/api/hold_api.o \
	src/api/html.o \
	src/api/metric_output.o \
	src/api/metrics.o \
	src/api/html_page.o \
	src/api/report.o \
	src/api/report_svg.o \
	src/api/report_bars.o \
	src/api/operation_api.o \
	src/api/page.o \
	src/api/page_deployment.o \
	src/api/page_overview.o \
	src/api/page_parts.o \
	src/api/overload_api.o \
	src/api/policy_restore.o \
	src/api/progress_snapshot.o \
	src/api/replication_api.o \
	src/api/response_api.o \
	src/api/route_api.o \
	src/api/stats_api.o \
	src/api/storage_api.o \
	src/api/tenancy_api.o \
	src/api/verifier_api.o \
	src/init.o

OUR_HEADERS = $(wildcard src/*.h src/*/*.h)

# -Wextra without the warning that every SQL-callable function would give.  A
# macro that another major version defines elsewhere must not become a call.
PG_CFLAGS = -Wextra -Wno-unused-parameter -Werror=implicit-function-declaration
PG_CPPFLAGS = -DMIOSA_ROLLBACK_VERSION='"$(EXTVERSION)"' \
	-I$(srcdir)/src
SHLIB_LINK = -lcurl -ljansson

# The install script is these pieces, in this order.
SQL_PIECES = \
	sql/header.sql \
	sql/versions.sql \
	sql/roles.sql \
	sql/tables.sql \
	sql/tenancy.sql \
	sql/functions.sql \
	sql/triggers.sql \
	sql/delivery_tables.sql \
	sql/dispatcher.sql \
	sql/endpoints.sql \
	sql/convergence.sql \
	sql/route_log.sql \
	sql/storage.sql \
	sql/capacity.sql \
	sql/schedulers.sql \
	sql/adapters.sql \
	sql/references.sql \
	sql/upsert.sql \
	sql/read.sql \
	sql/audit.sql \
	sql/refusals.sql \
	sql/convergence_log.sql \
	sql/bad_marks.sql \
	sql/serving.sql \
	sql/alerts.sql \
	sql/artifact_gc.sql \
	sql/manage.sql \
	sql/schemas.sql \
	sql/console_text.sql \
	sql/console.sql \
	sql/hold.sql \
	sql/freeze.sql \
	sql/status.sql \
	sql/fleet.sql \
	sql/timeline_events.sql \
	sql/report.sql \
	sql/stats.sql \
	sql/retention.sql \
	sql/doctor.sql \
	sql/metrics.sql \
	sql/overview.sql \
	sql/page.sql \
	sql/replication.sql \
	sql/sites.sql \
	sql/site_problems.sql \
	sql/drop_guard.sql \
	sql/size_limits.sql \
	sql/configuration.sql \
	sql/policies.sql \
	sql/entry_points.sql \
	sql/pinned_functions.sql \
	sql/overloads.sql \
	sql/rights.sql

INSTALL_SQL = sql/$(EXTENSION)--$(EXTVERSION).sql

# Install scripts that were released stay as they were: sql/released.sha256.
RELEASED_SQL := $(shell sed -n 's/^[0-9a-f]* [ *]//p' sql/released.sha256)

DATA = $(RELEASED_SQL) $(wildcard sql/$(EXTENSION)--*--*.sql)
DATA_built = $(filter-out $(RELEASED_SQL),$(INSTALL_SQL))

REGRESS = \
	rollback_basics \
	metric_rows \
	promotion \
	refused_calls \
	lifecycle \
	holds \
	undo \
	freezes \
	target_choice \
	bad_versions \
	last_known_good \
	target_random \
	edge_reports \
	timeline \
	overview_lines \
	live_page \
	idempotency_keys \
	group \
	fleets \
	fleet_incident \
	responses \
	watch \
	conditions \
	hints \
	transactions \
	user_objects \
	session_settings \
	pointer \
	marks \
	schema_guard \
	warnings \
	capacity_switch \
	instances \
	draining \
	postgrest \
	feed \
	states \
	read_api \
	people \
	collection \
	maintenance \
	monitoring \
	grants \
	security_arguments \
	security_attacks \
	security_roles \
	security_writes \
	security_tenants \
	security_actor \
	dump_marks \
	drop_extension \
	security_chain \
	security_configuration \
	adapter_requests \
	endpoint_settings \
	argument_types \
	comments \
	context \
	security_networks \
	security_limits \
	security_secrets \
	security_presigned \
	security_names

ISOLATION = \
	rollback_rollback \
	rollback_promote \
	hold_promote \
	undo_promote \
	remove_put \
	mark_bad_promote \
	rollback_pointer \
	rollback_archive \
	rollback_collect \
	collect_rollback \
	default_default \
	same_key \
	fleet_fleet \
	alert_alert \
	try_try \
	freeze_promote \
	move_host_rollback \
	group_group \
	lock_wait \
	table_locks \
	repeatable_read \
	write_skew \
	feed_feed \
	report_rollback \
	schema_reports \
	drain_rollback \
	poll_report

TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl
override PROVE_FLAGS += -I test/perl

# The tests start a server of their own, because the library must be preloaded.
# "make installcheck TEMP_SERVER=" runs them on one that is there, which must
# have what test/regress.conf sets.
TEMP_SERVER = --temp-config=test/regress.conf

# Inputs are in test/; the golden output of both kinds is in expected/.
REGRESS_OPTS = --inputdir=test \
	$(if $(TEMP_SERVER),--temp-instance=tmp_check $(TEMP_SERVER))
ISOLATION_OPTS = --inputdir=test --outputdir=. \
	$(if $(TEMP_SERVER),--temp-instance=tmp_check_iso $(TEMP_SERVER))

EXTRA_CLEAN = test-failures bench-charts

# Only one that was given; without it test/run takes Debian's.
GIVEN_PG_CONFIG := $(PG_CONFIG)
PG_CONFIG ?= pg_config

# Targets that run before PostgreSQL is installed must not need pg_config.
ifneq ($(filter-out demo test bench charts fuzz torture sqlsmith sanitize coverage valgrind ha cluster lint indent dist,$(or $(MAKECMDGOALS),all)),)
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# PGXS does not track headers, nor where the version number comes from.
$(OBJS) $(OBJS:.o=.bc): $(OUR_HEADERS) $(EXTENSION).control
endif

ifneq ($(DATA_built),)
$(DATA_built): $(SQL_PIECES) $(EXTENSION).control
	cat $(SQL_PIECES) > $@
endif

.DELETE_ON_ERROR:
.PHONY: demo test bench charts fuzz torture sqlsmith sanitize coverage valgrind ha cluster lint indent dist
demo test bench fuzz sqlsmith sanitize coverage valgrind ha cluster:
	@PG_CONFIG='$(GIVEN_PG_CONFIG)' KEEP='$(KEEP)' SUITES='$(SUITES)' \
		TESTS='$(TESTS)' JOBS='$(or $(JOBS),4)' LOAD='$(or $(LOAD),0)' \
		test/run $@

charts:
	@rm -rf bench-charts
	@PG_CONFIG='$(GIVEN_PG_CONFIG)' KEEP='$(KEEP)' BENCH_PARTS=charts test/run bench
	cp bench-charts/clients.svg docs/throughput.svg
	cp bench-charts/edges.svg docs/convergence.svg

torture:
	@PG_CONFIG='$(GIVEN_PG_CONFIG)' KEEP='$(KEEP)' SUITES=tap TESTS='160_torture 166_full_queue' TORTURE=100000 test/run test

lint:
	@test/lint/all

indent:
	@test/lint/typedefs --fix
	@test/lint/indent --fix

# PGXN wants a version of three numbers.
DIST_FOLDER = .
DIST_VERSION = $(shell sed -n 's/^  "version": "\(.*\)",/\1/p' META.json)
DIST_NAME = $(EXTENSION)-$(DIST_VERSION)

dist:
	@git -c safe.directory='*' archive --format=zip --prefix=$(DIST_NAME)/ \
		-o $(DIST_FOLDER)/$(DIST_NAME).zip HEAD
	@echo $(DIST_FOLDER)/$(DIST_NAME).zip
