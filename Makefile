# Two commands do everything on a fresh Debian or Ubuntu machine: `make demo` and `make test`.
SHELL := /bin/bash
VENV := .venv
PYTHON ?= python3
STAMP := $(VENV)/.requirements-installed

# Ansible and its tools keep their caches among ours, not in the home.
export ANSIBLE_HOME ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/strixfleet/ansible

.NOTPARALLEL:
.PHONY: help setup machine demo unit test check docs soak clean

help:
	@echo 'make demo   provision a disposable host from bare OS to verified llama-server (root)'
	@echo 'make unit   tests of the pure parts and their coverage: no root, network or Ansible, seconds'
	@echo 'make test   every test that CI runs (root)'
	@echo 'make check  lint, types, import contracts: no root, seconds'
	@echo 'make docs   regenerate the reference pages'
	@echo 'make soak   the long trials; figures go to docs/evidence/'

$(STAMP): requirements.lock pyproject.toml scripts/setup
	@scripts/setup '$(PYTHON)' '$(VENV)'
	@touch $@

setup: $(STAMP)

machine:
	@GOAL='$(firstword $(filter demo test soak,$(MAKECMDGOALS)))' scripts/need os root network $(if $(filter test,$(MAKECMDGOALS)),browser)

demo: machine $(STAMP)
	@$(VENV)/bin/strixfleet demo

check: $(STAMP)
	@scripts/check

# What a test needs is read from its code: tests/needs.py. Journals flush to disk, so their folder is in memory.
unit: export PYTEST_DEBUG_TEMPROOT = $(firstword $(wildcard /dev/shm) /tmp)
unit: $(STAMP)
	@$(VENV)/bin/python -m pytest tests/unit tests/cases tests/test_conventions.py -n 2 \
		-m 'not ansible and not programs and not slow' --hypothesis-profile=quick --cov --cov-report=term

test: machine $(STAMP)
	@scripts/check
	@$(VENV)/bin/python -m pytest -m 'not host and not soak' -n auto
	@$(VENV)/bin/python -m pytest -m 'host and not soak and not quiet' -n 2 --dist loadfile --no-loadscope-reorder
	@$(VENV)/bin/python -m pytest -m 'quiet and not soak'

docs: $(STAMP)
	@$(VENV)/bin/python scripts/docs

soak: machine $(STAMP)
	@$(VENV)/bin/python -m pytest -m soak

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist out .coverage
