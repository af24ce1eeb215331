"""`make bench`: builds what is deployed, lays it out as Lambda gets it, and
hands it to tests/bench, which measures and holds the budgets."""

import re
import shutil
import subprocess
import zipfile
from pathlib import Path

from tools import BINARIES, FUNCTIONS, LOCAL, PROFILE, ROOT, cargo, digest_of, has, run, step

NODE_FOLDER = ROOT / "tests" / "bench" / "node"
NODE_MAJOR = 20
YARDSTICK = "bare-lambda"


def measure() -> int:
    step("Building the release binaries (link-time optimisation: minutes when something changed)")
    run([cargo(), "build", *PROFILE, "-p", "bench"])
    packages = [part for name in (*FUNCTIONS, YARDSTICK) for part in ("-p", name)]
    # Apart from everything else: features that only tests need must not get in.
    run([cargo(), "build", "--release", *packages])
    step("Computations (criterion)")
    run([cargo(), "bench", "--quiet", "-p", "shared", "--bench", "payment", "--", "--quiet"])
    command = [
        BINARIES / "bench",
        "--functions", lay_out(LOCAL / "bench" / "functions"),
        "--memory-mb", re.search(r"MemorySize: (\d+)", (ROOT / "template.yaml").read_text())[1],
        "--criterion", ROOT / "target/criterion",
        *node(),
    ]  # fmt: skip
    step("Payments and cold starts")
    return subprocess.run([str(part) for part in command], cwd=ROOT).returncode


def lay_out(folder: Path) -> Path:
    """Each binary, and the zip with it that Lambda is given."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in (*FUNCTIONS, YARDSTICK):
        binary = ROOT / "target" / "release" / name
        shutil.copy2(binary, folder / name)
        with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.write(binary, "bootstrap")
    return folder


def node() -> list:
    """Node.js and the function written for it, or nothing and a word of why."""
    program = shutil.which("node")
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout if program else ""
    major = version.lstrip("v").partition(".")[0]
    if not major.isdigit() or int(major) < NODE_MAJOR or not shutil.which("npm"):
        step(f"No Node.js {NODE_MAJOR} with npm here: no ratios to it. Install both (apt-get install nodejs npm).")
        return []
    lock = NODE_FOLDER / "package-lock.json"
    stamp = LOCAL / "bench" / "node.sha256"
    mark = digest_of(lock)
    modules = NODE_FOLDER / "node_modules"
    if not modules.exists() or not has(stamp, mark):
        step("Installing tests/bench/node (npm ci)")
        run(["npm", "ci", "--no-audit", "--no-fund", "--prefix", NODE_FOLDER])
        stamp.write_text(mark)
    return ["--node", program, "--script", NODE_FOLDER / "notify.js"]
