# A thin front of `cargo xtask`, which does the work. Each target sets up by itself what it needs.

CARGO ?= cargo
# The first build of the task runner shows itself; later ones are quick and silent.
BUILT := $(wildcard $(or $(CARGO_TARGET_DIR),target)/debug/xtask)
XTASK := $(CARGO) run $(if $(BUILT),--quiet) --package sluice-xtask --

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help setup demo bench test test-all lint images kernels cluster cluster-down cluster-env clean cargo

help: ## Show this list.
	@echo "Sluice. Each target sets up what it needs; the first run takes a while, later ones do not."
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: cargo ## Install and build every tool that the other targets need (root, for Debian packages).
	@$(XTASK) setup

demo: cargo ## Show on this kernel what Sluice promises, with numbers (root); STAY=1 keeps it to play with.
	@$(XTASK) demo $(if $(STAY),--stay)

test: cargo ## Run unit tests and every tier; the last line counts passed, failed and skipped.
	@$(XTASK) test

test-all: cargo ## Like test, with the long forms.
	@$(XTASK) test-all

lint: cargo ## Check format, lints, shell, Go, and the rules on dependencies.
	@$(XTASK) lint

images: cargo ## Write the container images (OCI archives) into target/images; TAG=… names another version.
	@$(XTASK) images $(if $(TAG),--tag $(TAG))

bench: cargo ## Measure Sluice beside kube-proxy into docs/benchmarks (root); QUICK=1 in minutes, ONLY=p1,p3,p4,p6,p7.
	@$(XTASK) bench $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

kernels: cargo ## Boot Linux 5.10, 6.1, 6.12 and the newest in qemu: a table of features and tests.
	@$(XTASK) kernels

cluster: cargo ## Raise a real cluster, until Ctrl-C: NODES=2 PROXY=kube-proxy|sluice|none MODE=nftables|iptables IMAGES="a.tar" DETACH=1.
	@$(XTASK) testbed cluster $(if $(NODES),--nodes $(NODES)) $(if $(PROXY),--proxy $(PROXY)) \
	  $(if $(MODE),--mode $(MODE)) $(foreach image,$(IMAGES),--image $(image)) $(if $(DETACH),--detach)

cluster-down: cargo ## Remove a cluster that was raised with DETACH=1 (of several, the one of RUN).
	@$(XTASK) testbed cluster-down $(if $(RUN),--run $(RUN))

cluster-env: cargo ## Print the lines by which a shell uses the cluster, to be evaluated there.
	@$(XTASK) testbed cluster-env $(if $(RUN),--run $(RUN))

clean: cargo ## Remove build results; with CACHE=1 also the downloaded and built tools.
	@$(XTASK) clean $(if $(CACHE),--cache)

cargo:
	@command -v $(CARGO) >/dev/null || { \
	  echo "error: cargo is not on PATH: install Rust 1.95 or later from https://rustup.rs" >&2; exit 1; }
