"""Stop with one line if this Python is too old. Every Python can run this file, even 2.7."""

import sys

OLDEST = (3, 11)

if sys.version_info < OLDEST:
    this = ".".join(str(number) for number in sys.version_info[:3])
    sys.exit(
        "Python 3.11 or newer is needed, and this is Python "
        + this
        + ". Install a newer one, or name one: make run PYTHON=python3.12"
    )
