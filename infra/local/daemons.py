"""Processes that outlive the command that started them, and a record by which
exactly they are found again: a pid together with its start time."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from tools import Missing, step, write_private


class Daemons:
    """The processes of one stack, recorded in its state folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.record = folder / "processes.json"
        self.known: dict = json.loads(self.record.read_text()) if self.record.exists() else {}

    def alive(self, name: str) -> bool:
        entry = self.known.get(name)
        return bool(entry) and started_at(entry["pid"]) == entry["started"]

    def ensure(self, name: str, command: list, env: dict, port: int, mark: str = "") -> None:
        """Leaves a running process alone unless its command, environment or
        `mark` (what it was built from) changed."""
        command = [str(part) for part in command]
        identity = json.dumps([command, env, mark], sort_keys=True)
        if self.alive(name) and self.known[name]["identity"] == identity:
            return
        self.stop(name)
        if reachable(port):
            raise Missing(f"Port {port} for {name} is taken by another program; infra/local --help says how to change it.")
        log = self.folder / f"{name}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                command, env=env, cwd=self.folder, stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        self.known[name] = {
            "pid": process.pid, "started": started_at(process.pid), "identity": identity,
        }  # fmt: skip
        self._save()
        deadline = time.time() + 20
        while not reachable(port):
            if process.poll() is not None or time.time() > deadline:
                tail = log.read_text(errors="replace").splitlines()[-15:]
                raise Missing(f"{name} did not start ({log}):\n" + "\n".join(tail))
            time.sleep(0.05)
        step(f"Started {name} on 127.0.0.1:{port}")

    def stop(self, name: str) -> bool:
        entry = self.known.get(name)
        running = self.alive(name)
        if running:
            os.killpg(entry["pid"], signal.SIGTERM)
            deadline = time.time() + 5
            while self.alive(name) and time.time() < deadline:
                time.sleep(0.05)
            # The group, so that no function's process stays behind.
            try:
                os.killpg(entry["pid"], signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.known.pop(name, None):
            self._save()
        return running

    def _save(self) -> None:
        # It holds the processes' environments, keys among them.
        write_private(self.record, json.dumps(self.known, indent=1).encode())


def started_at(pid: int) -> str | None:
    """Clock ticks since boot at which the process started; None for none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]


def reachable(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
