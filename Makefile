# The two commands are `make demo` and `make test`; infra/local.py does the work.
.DEFAULT_GOAL := help
.PHONY: help demo up down status test audit sim app build

help:
	@echo "make demo    set up, start the local stack, and run one payment through it"
	@echo "make up      the same without the payment"
	@echo "make down    stop what up started"
	@echo "make status  what is running"
	@echo "make test    every check and test, on a stack of its own"
	@echo "make audit   known vulnerabilities of what is linked in (needs the network)"
	@echo "make sim     play days of payments in which everything fails (ARGS='--help')"
	@echo "make app     register an app: make app ARGS='--help'"
	@echo "make build   cross-compile for AWS; sam deploy --guided comes next"
	@echo "Settings by environment: python3 infra/local.py --help"

demo up down status test audit build:
	@python3 infra/local.py $@

# Deterministic: a seed that breaks a promise is printed and replays exactly.
sim:
	@cargo run --quiet --profile local -p simulation -- $(ARGS)

# On the local stack; elsewhere run hubctl with AWS credentials and REGISTRY_TABLE.
app:
	@test -f .local/hub.env || { echo "No stack is up: make up"; exit 1; }
	@set -a; . ./.local/hub.env; target/local/hubctl app create $(ARGS)
