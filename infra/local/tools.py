"""What must be there before anything runs: the Python environments, the Rust
binaries, and words for what is missing. Standard library only: the first of
the environments does not exist yet when this is imported."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LOCAL = ROOT / ".local"
# One profile for all, so that what one command has built the others find.
PROFILE = ("--profile", "local")
BINARIES = ROOT / "target" / "local"
FUNCTIONS = sorted(path.name for path in (ROOT / "functions").iterdir())

# Handed on when __main__.py starts itself again in its own environment.
STARTED = float(os.environ.setdefault("HUB_RUN_STARTED", str(time.time())))


class Missing(Exception):
    """Something the person at the keyboard has to put right."""


def step(text: str) -> None:
    print(f"[{time.time() - STARTED:6.1f} s] {text}", flush=True)


def check_machine() -> None:
    missing = []
    if sys.version_info < (3, 11):
        missing.append(f"Python 3.11 or later (python3 is {platform.python_version()})")
    try:
        import ensurepip  # noqa: F401  Debian packs it apart from python3
    except ImportError:
        missing.append("python3-venv (apt-get install python3-venv)")
    if not cargo():
        missing.append("Rust: install rustup from https://rustup.rs")
    if not shutil.which("cc"):
        missing.append("a C compiler (apt-get install build-essential)")
    if missing:
        raise Missing("Missing on this machine:\n" + "\n".join(f"  - {item}" for item in missing))


def cargo() -> str | None:
    return shutil.which("cargo") or shutil.which("cargo", path=str(Path.home() / ".cargo/bin"))


def environment(name: str) -> Path:
    """The bin folder of a Python environment, made anew when its list changed."""
    wanted = ROOT / "infra" / "local" / "requirements" / f"{name}.txt"
    folder = LOCAL / "venv" / name
    stamp = folder / "requirements.sha256"
    digest = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()
    if not has(stamp, digest):
        step(f"Installing infra/local/requirements/{name}.txt into {folder.relative_to(ROOT)}")
        run([sys.executable, "-m", "venv", "--clear", folder])
        run([folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted])
        stamp.write_text(digest)
    return folder / "bin"


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def has(stamp: Path, mark: str) -> bool:
    """Whether what left this stamp was done for this mark."""
    return stamp.exists() and stamp.read_text() == mark


def write_private(path: Path, content: bytes) -> None:
    """For its owner only: there are keys in it."""
    path.touch(mode=0o600)
    path.write_bytes(content)


def build() -> None:
    step("Building the functions, the simulator and the shop (cargo, profile local)")
    run([cargo(), "build", *PROFILE, "--workspace", "--bins"])


def run(command: list, **options) -> None:
    code = subprocess.run([str(part) for part in command], cwd=ROOT, **options).returncode
    if code:
        shown = " ".join(str(part) for part in command[:4])
        raise Missing(f"This failed with exit code {code}, see above: {shown} ...")
