# Every target is three lines at most; longer work lives in e2e/tools. CI calls the same targets.
export CARGO ?= cargo
.DEFAULT_GOAL := help
.PHONY: help demo images cluster cluster-down test bench bench-peers bench-profile lint generate fuzz setup clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Build, start the operator and two auth servers on config/samples, and print a URL to log in at
	@e2e/tools/install build
	$(CARGO) build --workspace --bins
	@exec "$${CARGO_TARGET_DIR:-target}/debug/nauthera-operator" dev --ephemeral config/samples

images: ## Pack both programs into images, without a daemon (NAUTHERA_IMAGE_PROFILE=release|image|debug)
	@e2e/tools/install images
	@e2e/tools/images

cluster: ## Start a real Kubernetes with one node on this machine, and print how to reach it
	@e2e/tools/install cluster
	@e2e/tools/cluster/run up

cluster-down: ## Remove every trace of it
	@e2e/tools/cluster/run down

test: ## Install what is missing and run every test on real parts; ends with a summary
	@e2e/tools/install test
	@e2e/tools/test

bench: ## Measure speed, size and growth beside what the machine could do at most (BENCH_SECONDS=1.5 BENCH_ROUNDS=5 BENCH_ONLY=jwks,code)
	@e2e/tools/install bench
	@e2e/tools/bench

bench-peers: ## Measure other servers under the same load beside ours (fetches oidc-provider and Keycloak)
	@e2e/tools/install bench
	@e2e/tools/bench peers

bench-profile: ## Show where the server's time goes in each flow, as flame graphs and a table (fetches inferno)
	@e2e/tools/install profile
	@e2e/tools/bench profile

lint: ## Check formatting, lints (warnings are errors) and the syntax of scripts
	@e2e/tools/install build
	@e2e/tools/lint

generate: ## Rewrite the generated files that tests compare with their sources
	@e2e/tools/install build
	@e2e/tools/generate

fuzz: ## Run every fuzz target for a minute each (FUZZ_SECONDS=60)
	@e2e/tools/fuzz $${FUZZ_SECONDS:-60}

setup: ## Install everything that `make test` needs, and run nothing
	@e2e/tools/install test

clean: ## Remove what was built or installed inside the checkout
	$(CARGO) clean
	rm -rf e2e/relying-parties/node_modules e2e/relying-parties/.venv
