"""Random requests by docs/openapi.yaml to the stack that is up, each of them signed, or
with a session or a key, after it was made, so that it meets the logic and not only 401:

    HUB_ENV=$PWD/.local/test/hub.env .local/venv/schemathesis/bin/python tests/contract/schemathesis

No answer may be other than the document says, nor a 5xx, and each operation must have
succeeded at least once. What is random is the same each time. Arguments go on to
schemathesis: --include-operation-id createOrder."""

import os
import re
import shlex
import sys
import time

import schemathesis
import yaml
from schemathesis.cli import schemathesis as command

from hook import Hook
from known import ROOT, Known, settings

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)
ARGUMENTS = [
    "run", str(ROOT / "docs/openapi.yaml"), "--phases", "examples,coverage,fuzzing", "--mode", "all",
    "--checks", CHECKS, "--continue-on-failure", "--max-examples", "8", "--seed", "1", "--generation-deterministic",
    "--workers", "1", "--max-redirects", "0", "--output-sanitize", "false",
    "--generation-with-security-parameters", "false", "--no-color", "--warnings", "off",
]  # fmt: skip


def main() -> int:
    began = time.time()
    known = Known(settings())
    hook = Hook(known)

    @schemathesis.hook
    def filter_path_parameters(context, path_parameters):
        # They end a segment, and make it another path.
        return not any(re.search(r"[/?#%]", str(value)) for value in (path_parameters or {}).values())

    @schemathesis.hook
    def before_call(context, case, kwargs):
        hook.prepare(case)

    @schemathesis.hook
    def after_call(context, case, response):
        hook.reached[name_of(case)][response.status_code] += 1

    given = sys.argv[1:]
    # It keeps what it saw of the last run where it stands.
    os.chdir(ROOT / ".local")
    try:
        code = command([*ARGUMENTS, "--url", known.hub, *given], standalone_mode=False)
    except SystemExit as end:
        code = end.code
    wanted = hook.reached.keys() if given else operations()
    unreached = sorted(name for name in wanted if min(hook.reached[name], default=500) >= 400)
    answers = sum(statuses.total() for statuses in hook.reached.values())
    print(f"{answers} answers of {len(hook.reached)} operations in {time.time() - began:.0f} s")
    for name in unreached:
        print(f"{name} never succeeded: {dict(hook.reached[name])}")
    if code:
        again = shlex.join([f"HUB_ENV={known.env_file}", sys.executable, "tests/contract/schemathesis"])
        print(f"The same again, signed anew: {again} --include-operation-id NAME")
    return 1 if code or unreached else 0


def operations() -> set:
    """All of the document; its webhooks are the hub's own calls."""
    paths = yaml.safe_load((ROOT / "docs/openapi.yaml").read_text())["paths"].values()
    parts = [part for path in paths for part in path.values() if isinstance(part, dict)]
    return {part["operationId"] for part in parts if "operationId" in part}


def name_of(case) -> str:
    return case.operation.definition.raw["operationId"]


if __name__ == "__main__":
    sys.exit(main())
