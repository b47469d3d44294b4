# The one place a newcomer needs. Every target says what it does in `make help`.
.DEFAULT_GOAL := help
.PHONY: help dev run stop status test check bench image sim install

PYTEST := build/venv/bin/python -I -m pytest

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*##  *\(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

dev:  ## install what building and testing need: Debian packages, build/venv (Debian 12 or 13, root)
	@image/dev.sh

run: dev  ## three nodes on this machine, from nothing to a running engine
	@./trivet run

stop: dev  ## take those nodes down, leaving nothing behind
	@./trivet stop

status: dev  ## where the engine is, its address, its CA and its password file
	@./trivet status

test: dev  ## every test: house rules, unit, contract, images, lab (about an hour on 2 cores)
	@$(PYTEST) -n 3 --dist loadgroup --no-loadscope-reorder

check: dev  ## linters, types, import rules and the fast tests (under two minutes)
	@$(PYTEST) -m "not lab and not images and not slow"

bench: dev  ## measure for hours, and write docs/bench.md and docs/ha-report.md (parts: see tests/bench/run.py)
	@build/venv/bin/python -I tests/bench/run.py

image: dev  ## build the two images into build/images
	@./trivet image build node
	@./trivet image build engine

sim: dev  ## the brokers under random faults on virtual time: make sim SEED=1 N=500
	@./trivet ha sim --seed "$(or $(SEED),1)" --count "$(or $(N),500)"

install:  ## copy the programs to DESTDIR (make install DESTDIR=/some/root)
	@image/install.sh "$(DESTDIR)"
