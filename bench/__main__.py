"""`python -m bench`: the whole bench; `http`: a deployed app; `faults`: what callers see."""

import argparse
import asyncio
import os
import sys

from bench import deployed, faults, whole


def main() -> int:
    """Run the command."""
    options = _parser().parse_args()
    match options.command:
        case "http":
            asyncio.run(deployed.measure(options.url, options.key))
        case "faults":
            asyncio.run(faults.write())
        case _:
            whole.run()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    http = commands.add_parser("http", help="measure an app by its address")
    for name, variable, meaning in (
        ("--url", "FUNCTIONS_URL", "where it is, without /api"),
        ("--key", "FUNCTION_KEY", "a key for its functions"),
    ):
        known = os.environ.get(variable)
        http.add_argument(
            name, default=known, required=not known, help=f"{meaning} (default: ${variable})"
        )
    commands.add_parser("faults", help="write docs/faults.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
