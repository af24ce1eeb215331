"""`make load` and `make chaos`: a stack of its own for each, and
tests/load-and-chaos to drive and judge it."""

import os
import subprocess

from stack import running
from tools import BINARIES, step


def drive(what: str, arguments: list[str]) -> int:
    # The wire changes the host that a request was signed for, so that the
    # emulator would refuse it. The roles are the journeys' matter.
    with running(what, iam=what != "chaos") as stack:
        step(f"tests/load-and-chaos: {what}")
        folder = [stack.folder] if what == "chaos" else []
        command = [BINARIES / "load-and-chaos", what, *folder, *arguments]
        return subprocess.run(command, env=os.environ | {"HUB_ENV": str(stack.env_file)}).returncode
