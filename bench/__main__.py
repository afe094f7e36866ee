"""`python -m bench COMMAND`: see README.md."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from bench import faults, speed, sweep
from bench.soak import run as soak


def main() -> int:
    """Run the command."""
    parser = _parser()
    options = parser.parse_args()
    match options.command:
        case "speed":
            if sys.platform != "linux":
                parser.error("reading the CPU time of another process needs Linux")
            try:
                speed.compare(options.rounds, options.against, options.plot)
            except speed.NoCommit as reason:
                parser.error(str(reason))
        case "http":
            asyncio.run(speed.measure_deployed(options.url, options.key))
        case "sweep":
            sweep.compare(options.due, options.speedup)
        case "faults":
            asyncio.run(faults.write())
        case "soak":
            if sys.platform != "linux":
                parser.error("the soak reads memory and sockets from /proc: it needs Linux")
            return soak.main(options.seconds, options.seed)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    compared = commands.add_parser(
        "speed", help="compare the app with an earlier commit and with two quickstarts"
    )
    compared.add_argument("--rounds", type=int, default=10, help="default %(default)s")
    compared.add_argument(
        "--against", default=speed.BEFORE_COMMIT, metavar="COMMIT", help="default %(default)s"
    )
    compared.add_argument("--plot", type=Path, default=speed.PLOT, help="default %(default)s")
    http = commands.add_parser("http", help="measure a running app over HTTP")
    for name, variable, meaning in (
        ("--url", "FUNCTIONS_URL", "the app's address, without /api"),
        ("--key", "FUNCTION_KEY", "a function key"),
    ):
        value = os.environ.get(variable)
        http.add_argument(
            name, default=value, required=not value, help=f"{meaning} (default: ${variable})"
        )
    swept = commands.add_parser("sweep", help="measure a sweep, and a list of what is due")
    swept.add_argument(
        "--due", type=int, default=sweep.DUE, help="due identities; default %(default)s"
    )
    swept.add_argument(
        "--speedup",
        type=float,
        default=sweep.SPEEDUP,
        help="how much faster than in production; default %(default)s",
    )
    commands.add_parser("faults", help="measure what callers see of faults; write docs/faults.md")
    load = commands.add_parser("soak", help="run steady load with changing faults")
    load.add_argument("--seconds", type=float, default=600.0, help="default %(default)s")
    load.add_argument("--seed", type=int, default=0, help="order of the faults; default 0")
    return parser


if __name__ == "__main__":
    sys.exit(main())
