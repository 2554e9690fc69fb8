# The first python3 that is new enough; uv makes .venv with it and never downloads another.
PYTHON := $(shell for name in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11) or print(sys.executable))' 2>/dev/null && break; done)
# The uv on PATH if it is new enough to read our lock, else one that pip brings.
UV := $(shell printf 'uv 0.9\n%s\n' "$$(uv --version 2>/dev/null)" | sort -VC && command -v uv || echo .uv/bin/uv)
# What pip was told of this machine (a folder of wheels, another index, a certificate, patience), uv is told too.
pip = $(or $(PIP_$(1)),$(shell $(PYTHON) -m pip config get global.$(2) 2>/dev/null))
empty :=
comma := ,
uv_settings = UV='$(UV)' UV_PYTHON='$(PYTHON)' UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=.venv \
	UV_FIND_LINKS='$(or $(UV_FIND_LINKS),$(subst $(empty) $(empty),$(comma),$(strip $(call pip,FIND_LINKS,find-links))))' \
	UV_HTTP_TIMEOUT='$(or $(UV_HTTP_TIMEOUT),$(call pip,DEFAULT_TIMEOUT,timeout),60)' \
	$(addprefix UV_DEFAULT_INDEX=,$(or $(UV_DEFAULT_INDEX),$(call pip,INDEX_URL,index-url))) \
	$(addprefix SSL_CERT_FILE=,$(or $(SSL_CERT_FILE),$(call pip,CERT,cert)))

# One more than cores, for many a test waits, but no more than a laptop's memory holds; the tests of a file stay together
# and share what they make.
WORKERS = $(shell $(PYTHON) -c 'import os; print(min(1 + (os.cpu_count() or 1), 4))')
SIDE_BY_SIDE = -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# The last, where it is set, has each of the hundreds of processes of a test run compile spamctl anew.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help set-up demo test test-more coverage test-fast node-clients test-scale test-image test-reliability check format docs bench record-train record-tour record-demo record-bench lock clean new-python

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

set-up: .venv/.set-up ## make .venv with everything in it; the other targets do so themselves

demo: .venv/.set-up ## play a spam filter's whole life in the folder demo/: train, serve, drift, watch, retrain
	.venv/bin/spamctl demo --folder demo

test: .venv/.set-up ## run the tests of every room, in a few minutes
	@.venv/bin/pytest $(SIDE_BY_SIDE) -m 'not more' $(ARGS)

test-more: .venv/.set-up ## run what make test leaves out: browser, PostgreSQL, mail servers, faults, long suites
	@SPAMCTL_TESTS_EXAMPLES=$${SPAMCTL_TESTS_EXAMPLES:-100} \
	.venv/bin/pytest $(SIDE_BY_SIDE) -m '(more or hypothesis) and not alone and not scale' $(ARGS) || test $$? = 5 && status=0 || status=1; \
	.venv/bin/pytest -m alone $(ARGS) || test $$? = 5 || status=1; exit $$status

coverage: .venv/.set-up ## run every test but those that run alone, a fifth slower, and show what they cover
	@.venv/bin/coverage erase
	@.venv/bin/coverage run -m pytest $(SIDE_BY_SIDE) -m 'not alone' $(ARGS) && status=0 || status=$$?; \
	.venv/bin/coverage combine --quiet; .venv/bin/coverage report; exit $$status

test-fast: .venv/.set-up ## run the tests that are done within a minute
	@.venv/bin/pytest $(SIDE_BY_SIDE) -m 'not slow and not more' $(ARGS)

node-clients: ## install the clients of other languages that tests speak with, as tests/clients/package-lock.json says
	npm ci --prefix tests/clients --ignore-scripts --no-audit --no-fund

test-scale: .venv/.set-up ## install its S3 server, Spark and helm, and run what leaves one machine: flows, parts, charts, replicas
	@$(uv_settings) $(PYTHON) .ci/lock.py --sync --group scale
	.venv/bin/pytest $(SIDE_BY_SIDE) -m 'scale and not image' $$(grep -rl --include='test_*.py' 'mark\.scale' tests) $(ARGS)

test-image: .venv/.set-up ## build the images of a deployment, run the server's and the steps of a workflow in them; as root
	.venv/bin/pytest -m image tests/deploy $(ARGS)

test-reliability: .venv/.set-up ## kill, fill, flood and starve the store and the server at length; takes an hour
	RELIABILITY_CYCLES=30 RELIABILITY_SECONDS=60 SPAMCTL_TESTS_EXAMPLES=500 SPAMCTL_TESTS_REQUIRE="browser postgres" \
		.venv/bin/pytest tests/faults tests/flows/test_signals.py tests/store/test_survival.py tests/serving/test_openapi.py \
		$(ARGS)
	SPAMCTL_TESTS_EXAMPLES=500 .venv/bin/pytest $(SIDE_BY_SIDE) -m hypothesis $(ARGS)

check: .venv/.set-up ## check everything against the rules: lint, format, types, spelling, printed output, lock
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/codespell spamctl tests configs .ci Makefile README.md pyproject.toml
	.venv/bin/python .ci/docs.py --check
	.venv/bin/python .ci/lock.py --check

format: .venv/.set-up ## put the code into its standard form
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

docs: .venv/.set-up ## write the program's own output into the documents
	.venv/bin/python .ci/docs.py --write

bench: .venv/.set-up ## measure what one of tests/bench measures, beside the usual way: NAME=train, serve, alarm...
	.venv/bin/python tests/bench/$(NAME).py $(ARGS)

record-train: .venv/.set-up ## train afresh in demo/ and keep the output for the documents
	rm -rf demo && mkdir demo && touch demo/.spamctl-demo
	cd demo && ../.venv/bin/python ../.ci/docs.py --record train spamctl train --accuracy-threshold 0.7

record-tour: .venv/.set-up ## serve, send and label where the demo was trained, and keep the output for the documents
	.venv/bin/python .ci/docs.py --record tour python .ci/tour.py

record-demo: .venv/.set-up ## play the demo, and keep its output and the picture of its page for the documents
	.venv/bin/python .ci/docs.py --record demo spamctl demo --folder demo
	.venv/bin/python .ci/picture.py demo demo/reports/demo.html

record-bench: .venv/.set-up ## run a benchmark where the demo was trained, and keep its tables for tests/bench/RESULTS.md: NAME=serve
	.venv/bin/python .ci/docs.py --record bench-$(NAME) python tests/bench/$(NAME).py $(ARGS)

lock: $(filter .uv/%,$(UV)) ## lock the versions that fit pyproject.toml; ARGS=--upgrade takes the newest
	$(uv_settings) $(PYTHON) .ci/lock.py --make $(ARGS)

clean: ## remove what the targets made
	rm -rf .venv .uv demo dist tests/clients/node_modules .coverage* .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.set-up: pyproject.toml uv.lock .ci/lock.py $(filter .uv/%,$(UV)) | new-python
	@test ! -e .git || git config filter.spamctl-lock.clean '"$(PYTHON)" .ci/lock.py --clean' \
		|| echo 'git could not be told to keep hosts out of uv.lock; all else goes on'
	@$(uv_settings) $(PYTHON) .ci/lock.py --sync
	@touch $@

.uv/bin/uv: | new-python
	@$(PYTHON) -m pip --version >/dev/null || { echo 'pip is missing: $(PYTHON) -m ensurepip brings it'; exit 1; }
	PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 $(PYTHON) -m pip install --quiet --upgrade --target .uv 'uv>=0.9'

new-python:
	@test -n '$(PYTHON)' || { echo 'spamctl needs Python 3.11 or newer; here is $(or $(shell python3 -V 2>/dev/null),no python3)'; exit 1; }
