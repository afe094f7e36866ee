"""`python -m tools.setup run` or `all`: checks this machine, then installs what is missing.

After `run` come the arguments of `python -m local`, whose ports are checked too.
"""

import sys

from tools.setup.machine import missing, ports, taken
from tools.setup.steps import EVERYTHING, TO_RUN, Failed, install


def main(what: str, *arguments: str) -> int:
    """Install. The exit code is 0 on success."""
    kinds = TO_RUN if what == "run" else EVERYTHING
    waiting = [[step for step in steps if not step.is_done()] for steps in kinds]
    if not any(waiting):
        return 0
    problems = missing()
    if what == "run" and (in_use := taken(ports(arguments))):
        problems += [*in_use, 'For example: make run ARGS="--app-port 0" (0 is any free port)']
    if problems:
        print(*problems, sep="\n", file=sys.stderr)
        return 1
    try:
        install(waiting)
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
