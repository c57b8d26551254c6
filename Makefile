# OpenOrigin. "make" alone lists the targets; every target works in a fresh clone.

PORT ?= 8080#      where to serve
MEDIA ?=#          folder to serve instead of the sample
WORKERS ?= 2#      sidecar processes
RUN ?= run#        folder of this instance: sockets, logs, configuration
PREFIX ?= /usr/local#  where "make install" puts it; also DESTDIR, SYSCONFDIR
DESTDIR ?=#
SYSCONFDIR ?= /etc#
PYTHON ?= python3# 3.11 or newer, makes .venv
BENCH ?=#          arguments of tests/bench/run.py (--quick)
FUZZ ?= --count 10000 --seed 1#  arguments of tests/fuzz/run.py
KILL ?= --kills 200 --seed 1#  arguments of tests/kill/run.py

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules --no-print-directory

port := $(strip $(PORT))
media := $(or $(MEDIA),$(CURDIR)/media)
run := $(RUN)
python := .venv/bin/python
origin := $(python) -m sidecar
generated := sidecar/rpc/origin_pb2.py
instance := --run "$(run)" --port $(port) --media "$(media)" --workers $(strip $(WORKERS))
installing = --destdir "$(strip $(DESTDIR))" --prefix "$(strip $(PREFIX))" --sysconfdir "$(strip $(SYSCONFDIR))"
# Focused tests and debugger stops do not belong in a commit.
focus := breakpoint\(\)|set_trace\(\)|\b(describe|it|test)\.only\(|\b(fdescribe|fit)\(

.PHONY: help
help: ## list the targets
	@echo "make TARGET [PORT=$(port)] [MEDIA=folder] [WORKERS=$(strip $(WORKERS))] [RUN=$(run)]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: packages .venv/.installed $(generated) ## install what is missing: packages, .venv, generated code, folders
	@$(origin) prepare .

.PHONY: run
run: setup $(if $(MEDIA),,media/sample.ism) ## serve in the foreground until Ctrl-C; prints the player URLs
	@exec $(origin) run $(instance)

.PHONY: start
start: setup $(if $(MEDIA),,media/sample.ism) ## the same in the background; returns when the first manifest is served
	@$(origin) start $(instance)

.PHONY: stop
stop: .venv/.installed $(generated) ## stop what "make start" with the same RUN has started
	@$(origin) stop --run "$(run)"

.PHONY: check-conf
check-conf: setup ## start nginx once with openresty.conf, directives included, and stop it
	@$(origin) check-conf

.PHONY: test
test: setup test-packages node-packages lint ## lint, then the whole test suite
	@$(python) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

.PHONY: lint
lint: setup test-packages ## ruff, mypy --strict, luacheck, focus markers
	@$(python) -m ruff check --quiet .
	@$(python) -m ruff format --quiet --check .
	@$(python) -m mypy --no-error-summary
	@luacheck --quiet --no-color lua | sed '/^Total: 0 warnings . 0 errors/d; /^$$/d'
	@! grep -rnE '$(focus)' sidecar lua tests --include='*.py' --include='*.lua' \
		--include='*.js' --include='*.mjs' --exclude-dir=node_modules

.PHONY: fmt
fmt: setup ## rewrite Python to the project's format
	@$(python) -m ruff check --quiet --fix .
	@$(python) -m ruff format --quiet .

.PHONY: bench
bench: setup bench-packages ## measure the stack next to nginx static (some minutes, a few GB of media)
	@$(python) tests/bench/run.py $(BENCH)

.PHONY: fuzz
fuzz: setup ## ten thousand mutated media files through the parser
	@$(python) tests/fuzz/run.py $(FUZZ)

.PHONY: kill
kill: setup ## two hundred processes killed while encoders push (some minutes)
	@$(python) tests/kill/run.py $(KILL)

.PHONY: docs
docs: setup ## write docs/directives.md from the table of the directives
	@$(python) -m tests.support.directive_docs

.PHONY: proto
proto: setup ## generate the protobuf code anew
	@rm -f sidecar/rpc/*_pb2*
	@$(MAKE) $(generated)

.PHONY: install
install: .venv/.installed $(generated) ## put it below PREFIX with its systemd units (docs/deploy.md)
	@$(python) deploy/install.py install $(installing)

.PHONY: uninstall
uninstall: .venv/.installed ## remove what "make install" has put there and nobody has changed
	@$(python) deploy/install.py uninstall $(installing)

.PHONY: clean
clean: ## remove everything that was made here, the sample and .venv too
	@if [ -x $(python) ] && [ -f "$(run)/stack.json" ]; then $(origin) stop --run "$(run)"; fi
	@rm -rf .venv .cache .setup .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@rm -rf run logs tmp cache sockets spool modules.d tests/node_modules *.egg-info
	@rm -f media/sample*.mp4 media/sample.ism sidecar/rpc/*_pb2*
	@if [ -L cert/ca.pem ]; then rm cert/ca.pem; fi
	@rmdir media cert 2>/dev/null || true
	@find sidecar tests -name __pycache__ -not -path '*/node_modules/*' -prune -exec rm -rf {} +

# What the targets above are made of.

.PHONY: packages test-packages bench-packages node-packages
packages:
	@deploy/install-packages run $(PYTHON)
test-packages:
	@deploy/install-packages test $(PYTHON)
bench-packages:
	@deploy/install-packages bench $(PYTHON)
node-packages: test-packages
	@sh tests/support/install_node.sh

.venv/.installed: pyproject.toml | packages
	@echo "installing Python packages into .venv ..."
	@$(python) -c 'import pip' 2>/dev/null || $$(deploy/find-python $(PYTHON)) -m venv --clear .venv
	@$(python) -m pip install -qq --disable-pip-version-check --root-user-action=ignore -e '.[dev]'
	@touch $@

$(generated): proto/origin/v1/origin.proto .venv/.installed
	@rm -f sidecar/rpc/*_pb2*
	@$(python) -m grpc_tools.protoc -Isidecar/rpc=proto/origin/v1 \
		--python_out=. --grpc_python_out=. --pyi_out=. sidecar/rpc/origin.proto
	@grep -q '^from sidecar.rpc import origin_pb2' sidecar/rpc/origin_pb2_grpc.py

media/sample.ism: deploy/make-sample .venv/.installed $(generated)
	@deploy/make-sample media
