# `make demo` and `make test` are the two to know; infra/local does the work.
# ARGS goes on to the command: make up ARGS='--name test', make sim ARGS=--help.
.DEFAULT_GOAL := help
.PHONY: help demo up down status check test audit sim bench load chaos fuzz mutants app build

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Settings by environment: python3 infra/local --help"

demo: ## set up, start the local stack, and run one payment through it
up: ## the same without the payment
down: ## stop what up started
status: ## what is running
check: ## format, lints and the tests without a stack: seconds when warm
test: ## every check and test, on a stack of its own
bench: ## start-up, memory, size and cost, against their budgets
audit: ## known vulnerabilities of what is linked in (needs the network)
load: ## 2,000 payments, each notified three times, with and without a dead app
chaos: ## payments while AWS, WeChat, the shop and the hub's processes fail
build: ## cross-compile for AWS; sam deploy --guided comes next
# "load" first would be a directive of make.
demo up down status check test bench audit chaos load build:
	@python3 infra/local $@ $(ARGS)

# Deterministic: a seed that breaks a promise is printed and replays exactly.
sim: ## play days of payments in which everything fails (ARGS=--help)
	@cargo run --quiet --profile local -p simulation -- $(ARGS)

# On the local stack; elsewhere run hubctl as docs/runbook.md says.
app: ## register an app on the stack that is up (ARGS=--help)
	@test -f .local/hub.env || { echo "No stack is up: make up"; exit 1; }
	@set -a; . ./.local/hub.env; target/local/hubctl app create \
		--account "$$WECHAT_APP_ID" --account "$$WECHAT_MOBILE_APP_ID" --account "$$WECHAT_MINI_APP_ID" $(ARGS)

# cargo's own tools, each version in a folder of its own: a new pin is installed.
CARGO_FUZZ := .local/tools/cargo-fuzz@0.13.1/bin/cargo-fuzz
CARGO_MUTANTS := .local/tools/cargo-mutants@27.1.0/bin/cargo-mutants
.local/tools/%:
	cargo install $(firstword $(subst /, ,$*)) --locked --root $(dir $(@D))

# No sanitizer: the hub has no unsafe code, so panics, asserts and memory are
# what can go wrong. That also makes the pinned, stable compiler enough.
FUZZ_SECONDS ?= 60
fuzz: $(CARGO_FUZZ) ## mutated notifications, requests and answers, FUZZ_SECONDS each
	@for target in notification v3_notification refund request answer v3_answer v3_authorization; do \
		mkdir -p .local/fuzz/corpus/$$target; \
		$(CARGO_FUZZ) run --sanitizer none --fuzz-dir tests/fuzz $$target \
			.local/fuzz/corpus/$$target tests/fuzz/seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=70000 -rss_limit_mb=512 -timeout=5 -print_final_stats=1 || exit 1; \
	done

# .cargo/mutants.toml says what is changed and which tests run. A fixed seed, so
# that a verdict is the same each time. One target folder, so that a part starts
# within seconds; jobs side by side would overwrite each other's work in it.
# The report: .local/mutants/mutants.out. Code 3 is of a mutant that did not come
# to an end, and that is noticed too.
mutants: export CARGO_TARGET_DIR := $(CURDIR)/.local/mutants/target
mutants: export CARGO_PROFILE_DEV_DEBUG := none
mutants: export PROPTEST_RNG_SEED := 1
mutants: export PROPTEST_MAX_SHRINK_ITERS := 0
mutants: export PROPTEST_DISABLE_FAILURE_PERSISTENCE := true
mutants: $(CARGO_MUTANTS) ## one change of a rule at a time: unit tests must fail (ARGS='--shard 0/8')
	@mkdir -p .local/mutants
	@$(CARGO_MUTANTS) mutants --package shared --jobs 1 --output .local/mutants $(ARGS) \
		|| { test $$? -eq 3 && test ! -s .local/mutants/mutants.out/missed.txt; }
