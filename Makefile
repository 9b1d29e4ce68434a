# `make` alone lists the targets. They make their Python environment and install what they lack themselves.
SHELL := /bin/bash
IN_VENV := @tests/tools/in-venv
.DEFAULT_GOAL := help
.PHONY: help demo demo-down test test-all test-unit bench lint docs clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

demo: ## a two-node cluster on hosts in containers, by the real commands
	$(IN_VENV) python -m tests.demo up

demo-down: ## take the demo away
	$(IN_VENV) python -m tests.demo down

test: ## lint, types, unit and package tests, the core of the cluster tests
	$(IN_VENV) python -m tests.tools.run core

test-all: ## every test on Docker 26, 28 or both, and docs/test-report.md
	$(IN_VENV) python -m tests.tools.run all

test-unit: ## the tests that need no host: about a minute
	$(IN_VENV) python -m tests.tools.run unit

bench: ## how fast it is: ratios, measured side by side (docs/performance.md)
	$(IN_VENV) python -m tests.bench

lint: ## ruff and mypy
	$(IN_VENV) python -m tests.tools.run lint

docs: ## write what is generated in docs/ anew
	$(IN_VENV) python -m tests.tools.options_doc
	$(IN_VENV) python -m tests.tools.phases_doc
	$(IN_VENV) python -m tests.tools.promises

clean: ## remove what lint and tests left in the checkout
	rm -rf .mypy_cache .ruff_cache .pytest_cache build dist *.egg-info pyinfra-debug.log
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
