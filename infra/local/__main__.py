#!/usr/bin/env python3
"""The hub on this machine: the real template.yaml on a local AWS emulator,
with a simulated WeChat and a demo shop. Everything lives in .local/.

  up      build, start, deploy, register a demo app; prints the addresses
  demo    up, and then one payment from order to delivery
  down    stop what up started (the keys stay for the next time)
  status  what is running
  check   format, lints and the tests that need no stack: seconds once it is built
  test    every check and test of the project, on a stack of its own
  bench   start-up, memory, size and cost of what is deployed, against the budgets
  audit   known vulnerabilities of what is linked in (needs the network)
  load    2,000 payments at a steady rate, then the same with one app dead
  chaos   payments while AWS, WeChat, the shop and the hub's processes fail
  build   cross-compile for AWS (sam build); sam deploy --guided comes next

Settings by environment (all optional):
  WECHAT_API_BASE    another payment gateway than the simulator
  WECHAT_OAUTH_BASE  another server for OAuth than the simulator
  WECHAT_API_VERSION 3 (default) or 2: by which version new payments are opened
  WECHAT_PUBLIC_KEY_ID, WECHAT_PUBLIC_KEY
                     the key (a PEM file) with which another gateway signs version 3
  WECHAT_SIGN_TYPE   HMAC-SHA256 (default) or MD5
  WECHAT_APP_ID, WECHAT_MOBILE_APP_ID, WECHAT_MINI_APP_ID (one secret for all),
  WECHAT_MCH_ID, WECHAT_API_KEY, WECHAT_API_V3_KEY, WECHAT_APP_SECRET,
  WECHAT_SERVER_TOKEN,
  HUB_APP_ID, HUB_APP_SECRET
                     instead of the ones made at the first start
  RETRY_SCHEDULE     the 13 offsets in seconds, e.g. 1,2,3,...
  NOTIFY_TIME_SCALE  milliseconds that a second of the simulator's own repeats lasts
  LOG_LEVEL          of the functions (info)
  HUB_PORT, NOTIFY_PORT, SIMULATOR_PORT, SHOP_PORT, AWS_PORT, SIMULATOR_TLS_PORT,
  FAULTS_PORT        demo: 8600 to 8605, test: 8700 to 8705, others: 8800 to 8806
"""

import argparse
import os
import sys
from pathlib import Path

from tools import ROOT, Missing, build, check_machine, environment, run, step


def main() -> None:
    arguments = parse()
    check_machine()
    if arguments.command in ("bench", "check"):
        # Without a stack the standard library is enough.
        import bench
        import checks

        sys.exit(bench.measure() if arguments.command == "bench" else checks.run_quick())
    python = environment("stack") / "python"
    if Path(sys.prefix) != python.parent.parent:
        os.execv(python, [str(python), *sys.argv])
    if arguments.command in ("test", "audit"):
        import checks

        sys.exit(checks.run_all() if arguments.command == "test" else checks.audit())
    if arguments.command in ("load", "chaos"):
        import load_and_chaos

        sys.exit(load_and_chaos.drive(arguments.command, arguments.rest))
    if arguments.command == "build":
        build_for_aws()
        return
    from stack import Stack

    stack = Stack(arguments.name, iam=not arguments.no_iam)
    if arguments.command == "down":
        stack.down()
    elif arguments.command == "status":
        stack.status()
    else:
        build()
        stack.up()
        if arguments.command == "demo":
            import payment

            payment.demonstrate(stack)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 infra/local", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = ["up", "demo", "down", "status", "check", "test", "audit", "bench", "load", "chaos", "build"]
    parser.add_argument("command", choices=commands)
    parser.add_argument("--name", default="demo", help="which stack; each has its own ports and .local/NAME, the journeys' is test")
    parser.add_argument("--no-iam", action="store_true", help="let the functions do what their roles do not grant")
    arguments, arguments.rest = parser.parse_known_args()
    if arguments.rest and arguments.command not in ("load", "chaos"):
        parser.error(f"unknown arguments: {' '.join(arguments.rest)}")
    if arguments.name == "venv" or not arguments.name.isalnum():
        parser.error("--name must be letters and digits, and not venv")
    return arguments


def build_for_aws() -> None:
    sam, compiler = environment("sam"), environment("build")
    step("Cross-compiling the functions (sam build)")
    path = f"{compiler}:{os.environ['PATH']}"
    run([sam / "sam", "build"], env=os.environ | {"PATH": path, "SAM_CLI_TELEMETRY": "0"})
    step(f"Built. Now: {(sam / 'sam').relative_to(ROOT)} deploy --guided")


if __name__ == "__main__":
    try:
        main()
    except Missing as missing:
        sys.exit(f"\n{missing}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; running it again continues.")
