"""`python -m bench.soak`: is it still right, and no larger, after a long time of faults?"""

import argparse
import asyncio
import sys

from bench.soak.plan import plan
from bench.soak.report import report
from bench.soak.run import soak

SECONDS = 600.0


def main() -> int:
    """Run the command; the exit code is 1 when something is not as it must be."""
    parser = _parser()
    options = parser.parse_args()
    if sys.platform != "linux":
        parser.error("memory and sockets of another process can be told on Linux alone")
    found = asyncio.run(soak(options.seconds, options.seed, plan(options.seconds, options.seed)))
    print(report(found))
    return 1 if found.defects() else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="which faults when; default 0")
    return parser


if __name__ == "__main__":
    sys.exit(main())
