# The two commands are `make demo` and `make test`; infra/local does the work.
.DEFAULT_GOAL := help
.PHONY: help demo up down status test audit sim bench load chaos fuzz app build

help:
	@echo "make demo    set up, start the local stack, and run one payment through it"
	@echo "make up      the same without the payment"
	@echo "make down    stop what up started"
	@echo "make status  what is running"
	@echo "make test    every check and test, on a stack of its own"
	@echo "make bench   start-up, memory, size and cost, against their budgets"
	@echo "make audit   known vulnerabilities of what is linked in (needs the network)"
	@echo "make sim     play days of payments in which everything fails (ARGS='--help')"
	@echo "make load    2,000 payments, each notified three times, with and without a dead app"
	@echo "make chaos   payments while AWS, WeChat, the shop and the hub's processes fail"
	@echo "make fuzz    mutated notifications, requests and answers, FUZZ_SECONDS each"
	@echo "make app     register an app: make app ARGS='--help'"
	@echo "make build   cross-compile for AWS; sam deploy --guided comes next"
	@echo "Settings by environment: python3 infra/local --help"

demo up down status test bench audit build:
	@python3 infra/local $@

# Deterministic: a seed that breaks a promise is printed and replays exactly.
sim:
	@cargo run --quiet --profile local -p simulation -- $(ARGS)

# "load" first would be a directive of make.
chaos load:
	@python3 infra/local $@ $(ARGS)

# On the local stack; elsewhere run hubctl with AWS credentials and REGISTRY_TABLE.
app:
	@test -f .local/hub.env || { echo "No stack is up: make up"; exit 1; }
	@set -a; . ./.local/hub.env; target/local/hubctl app create $(ARGS)

# No sanitizer: the hub has no unsafe code, so panics, asserts and memory are
# what can go wrong. That also makes the pinned, stable compiler enough.
FUZZ_SECONDS ?= 60
CARGO_FUZZ := 0.13.1
fuzz:
	@test -x .local/fuzz/bin/cargo-fuzz || cargo install cargo-fuzz --version $(CARGO_FUZZ) --locked --root .local/fuzz
	@for target in notification refund request answer; do \
		mkdir -p .local/fuzz/corpus/$$target; \
		.local/fuzz/bin/cargo-fuzz run --sanitizer none --fuzz-dir tests/fuzz $$target \
			.local/fuzz/corpus/$$target tests/fuzz/seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=70000 -rss_limit_mb=512 -timeout=5 -print_final_stats=1 || exit 1; \
	done
