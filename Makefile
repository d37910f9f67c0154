# `make` lists the verbs. Each is the only command: it sets .venv up first when that is needed.

PY := .venv/bin/python
ARGS ?=

# Two levels of one environment: the locked runtime, and with it the locked tools.
RUNTIME := .venv/.installed-runtime
DEV := .venv/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help run demo test check fmt bench docs lock
.NOTPARALLEL:

help:
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(RUNTIME) ## start the proxy (ARGS="--config FILE")
	@$(PY) -m proxy serve $(ARGS)

demo: $(RUNTIME) ## watch it at work on a pretend API; needs no key (ARGS=--once)
	@$(PY) -m proxy demo $(ARGS)

# Given ARGS, it is a selection that runs: then finding none in one of the two halves is fine, and how
# much of the code it covers says nothing.
PYTEST := $(PY) -m pytest --cov --cov-report=
SELECTED := $(if $(strip $(ARGS)),|| [ $$? -eq 5 ])

test: $(DEV) ## run every test and demand their coverage, or a selection (ARGS="-k retry -x")
	@.ci/programs
	@$(PY) -m coverage erase
	@$(PYTEST) -n auto --dist worksteal -m "not wallclock" $(ARGS) $(SELECTED)
	@$(PYTEST) --cov-append -m wallclock $(ARGS) $(SELECTED)
ifeq ($(strip $(ARGS)),)
	@$(PY) -m coverage report --skip-covered --fail-under=95
	@$(PY) -m coverage report --skip-covered --fail-under=100 --include='proxy/policy/*'
endif

check: $(DEV) ## verify format, lint, types and architecture
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) .venv/bin/lint-imports --no-logo

fmt: $(DEV) ## format, and mend what lint can
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

bench: $(DEV) ## take the measurements that need wall time, and print them
	@$(PY) -m pytest -m wallclock -s $(ARGS)

docs: $(DEV) ## write docs/metrics.md anew, from the code
	@$(PY) -m proxy.telemetry.reference > docs/metrics.md

# A stamp is touched last, so a set-up that failed is tried again. The interpreter is among the causes: it is
# missing at first, and dangles or is newer when the system's Python has moved on.
$(PY): ;

$(RUNTIME): $(PY) requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" .ci/venv requirements.lock
	@touch $@

$(DEV): $(PY) requirements-dev.lock requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" .ci/venv requirements-dev.lock
	@touch $(RUNTIME) $@

# Needs `uv` on the PATH. No header and no index in the output: they would name this machine. Extras stay: pip
# looks at `coverage[toml]` apart from `coverage`, takes its newest release, and then has no hash for it.
COMPILE := uv pip compile pyproject.toml --extra redis --extra otel --quiet --universal --generate-hashes --python-version 3.11 \
	--no-config --no-strip-extras --no-header --no-emit-index-url --no-emit-find-links
lock:
	@$(COMPILE) --group build -o requirements.lock
	@$(COMPILE) --group dev -c requirements.lock -o requirements-dev.lock
