"""`make load` and `make chaos`: a stack of its own for each, tests/load-and-chaos to
drive and judge it, and the stack's end, whatever happened."""

import os
import subprocess

from stack import Stack
from tools import BINARIES, build, step


def prove(what: str, arguments: list[str]) -> int:
    build()
    # The wire changes the host that a request was signed for, so that the
    # emulator would refuse it. The roles are the journeys' matter.
    stack = Stack(what, iam=what != "chaos")
    try:
        stack.up()
        step(f"Proving under {what}")
        folder = [stack.folder] if what == "chaos" else []
        command = [BINARIES / "load-and-chaos", what, *folder, *arguments]
        return subprocess.run(command, env=os.environ | {"HUB_ENV": str(stack.env_file)}).returncode
    finally:
        stack.down()
