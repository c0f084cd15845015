# miosa_rollback: see README.md for what it is.
#
#   make, make install, make installcheck    as in any PGXS extension
#   make demo      the main jobs on real servers, in a temporary folder
#   make test      every suite, in a temporary folder
#   make bench     our speed beside the floor's, how fast edges, visitors and
#                  schedulers see a change, also after a crash, and what
#                  keeping, deleting and signing cost
#   make fuzz      a million odd values, none of which may change a request
#   make torture   100,000 deliveries while processes are ended at random, and
#                  a full queue of notifications
#   make sanitize  the suites with AddressSanitizer and
#                  UndefinedBehaviorSanitizer: no report
#   make coverage  which lines and branches the suites run: 90 % of the lines
#   make valgrind  the main paths under Valgrind: no report about our code
#   make lint      the rules that a compiler does not check
#   make indent    rewrite the C files as pgindent would
#
# demo, test, bench, fuzz, torture and the three after it install the packages
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

# By layer, bottom first; alphabetic within a layer (see test/lint/layers).
OBJS = \
	src/address.o \
	src/argument.o \
	src/array.o \
	src/channel.o \
	src/charset.o \
	src/digest.o \
	src/errors.o \
	src/escape.o \
	src/file_root.o \
	src/guc.o \
	src/http.o \
	src/http_call.o \
	src/http_transfer.o \
	src/id_hash.o \
	src/json.o \
	src/latency.o \
	src/lock_wait.o \
	src/member.o \
	src/naming.o \
	src/query.o \
	src/request.o \
	src/row.o \
	src/s3.o \
	src/secret.o \
	src/session.o \
	src/setting.o \
	src/shmem.o \
	src/template.o \
	src/backoff.o \
	src/timer.o \
	src/variable.o \
	src/worker_settings.o \
	src/call.o \
	src/secrets.o \
	src/sigv4.o \
	src/adapter.o \
	src/adapter_judge.o \
	src/adapter_scheduler.o \
	src/artifact_check.o \
	src/artifact_file.o \
	src/storage.o \
	src/probe.o \
	src/artifact.o \
	src/audit.o \
	src/candidate.o \
	src/capacity.o \
	src/deployment.o \
	src/derived.o \
	src/guard.o \
	src/idempotency.o \
	src/operation.o \
	src/route.o \
	src/route_book.o \
	src/due.o \
	src/wake.o \
	src/enqueue.o \
	src/marks.o \
	src/settle.o \
	src/sign.o \
	src/stats.o \
	src/need.o \
	src/endpoints.o \
	src/route_log.o \
	src/outbox.o \
	src/ledger.o \
	src/item.o \
	src/task.o \
	src/barrier.o \
	src/message.o \
	src/damping.o \
	src/ready_list.o \
	src/run_queue.o \
	src/breaker.o \
	src/queue.o \
	src/rate_limit.o \
	src/send.o \
	src/want.o \
	src/demand.o \
	src/health.o \
	src/outcome.o \
	src/ask.o \
	src/changes.o \
	src/deliver.o \
	src/publish.o \
	src/resync.o \
	src/rows.o \
	src/marker.o \
	src/notify.o \
	src/record.o \
	src/restart.o \
	src/standing.o \
	src/sweep.o \
	src/tour.o \
	src/verify.o \
	src/rules.o \
	src/choice.o \
	src/pump.o \
	src/dispatch.o \
	src/look.o \
	src/pointer.o \
	src/rollback.o \
	src/api.o \
	src/console.o \
	src/convergence.o \
	src/delivery.o \
	src/hidden_text.o \
	src/launcher.o \
	src/monitor.o \
	src/overload.o \
	src/preview.o \
	src/replication.o \
	src/storage_tester.o \
	src/tester.o \
	src/verification.o \
	src/worker.o \
	src/module.o

OUR_HEADERS = $(wildcard src/*.h src/*/*.h)

# -Wextra without the warning that every SQL-callable function would give.
PG_CFLAGS = -Wextra -Wno-unused-parameter
PG_CPPFLAGS = -DMIOSA_ROLLBACK_VERSION='"$(EXTVERSION)"'
SHLIB_LINK = -lcurl -ljansson

# The install script is these pieces, in this order.
SQL_PIECES = \
	sql/header.sql \
	sql/tables.sql \
	sql/functions.sql \
	sql/triggers.sql \
	sql/delivery.sql \
	sql/storage.sql \
	sql/capacity.sql \
	sql/schedulers.sql \
	sql/adapters.sql \
	sql/references.sql \
	sql/feeding.sql \
	sql/read.sql \
	sql/collect.sql \
	sql/console.sql \
	sql/stats.sql \
	sql/retention.sql \
	sql/care.sql \
	sql/replication.sql \
	sql/guards.sql \
	sql/rights.sql \
	sql/overloads.sql

INSTALL_SQL = sql/$(EXTENSION)--$(EXTVERSION).sql

DATA = $(wildcard sql/$(EXTENSION)--*--*.sql)
DATA_built = $(INSTALL_SQL)

REGRESS = \
	rollback_basics \
	promotion \
	target_choice \
	idempotency_keys \
	conditions \
	hints \
	transactions \
	pointer \
	marks \
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
	dump_marks \
	adapter_requests \
	endpoint_settings \
	argument_types \
	comments \
	context

ISOLATION = \
	rollback_rollback \
	rollback_promote \
	rollback_pointer \
	rollback_archive \
	rollback_collect \
	collect_rollback \
	default_default \
	same_key \
	lock_wait \
	table_locks \
	repeatable_read \
	feed_feed \
	report_rollback \
	drain_rollback \
	poll_report

TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl
override PROVE_FLAGS += -I test/perl

# The tests start a server of their own, because the library must be preloaded.
# "make installcheck TEMP_SERVER=" runs them on one that is there.
TEMP_SERVER = --temp-config=test/regress.conf

# Inputs are in test/; the golden output of both kinds is in expected/.
REGRESS_OPTS = --inputdir=test \
	$(if $(TEMP_SERVER),--temp-instance=tmp_check $(TEMP_SERVER))
ISOLATION_OPTS = --inputdir=test --outputdir=. \
	$(if $(TEMP_SERVER),--temp-instance=tmp_check_iso $(TEMP_SERVER))

EXTRA_CLEAN = test-failures

# Only one that was given; without it test/run takes Debian's.
GIVEN_PG_CONFIG := $(PG_CONFIG)
PG_CONFIG ?= pg_config

# Targets that run before PostgreSQL is installed must not need pg_config.
ifneq ($(filter-out demo test bench fuzz torture sanitize coverage valgrind lint indent,$(or $(MAKECMDGOALS),all)),)
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# PGXS does not track headers, nor where the version number comes from.
$(OBJS) $(OBJS:.o=.bc): $(OUR_HEADERS) $(EXTENSION).control
endif

$(INSTALL_SQL): $(SQL_PIECES) $(EXTENSION).control
	cat $(SQL_PIECES) > $@

.DELETE_ON_ERROR:
.PHONY: demo test bench fuzz torture sanitize coverage valgrind lint indent
demo test bench fuzz sanitize coverage valgrind:
	@PG_CONFIG='$(GIVEN_PG_CONFIG)' KEEP='$(KEEP)' SUITES='$(SUITES)' \
		TESTS='$(TESTS)' JOBS='$(or $(JOBS),3)' LOAD='$(or $(LOAD),0)' \
		test/run $@

torture:
	@PG_CONFIG='$(GIVEN_PG_CONFIG)' KEEP='$(KEEP)' SUITES=tap TESTS='160_torture 166_full_queue' TORTURE=100000 test/run test

lint:
	@test/lint/all

indent:
	@test/lint/typedefs --fix
	@test/lint/indent --fix
