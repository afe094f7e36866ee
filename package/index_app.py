"""Run by the package's Python alone: indexes the app in a folder, and tells what it took.

Usage: python -I -S index_app.py FOLDER. Prints JSON: the functions, and where each module is from.
"""

import importlib
import json
import sys


def main(folder: str) -> None:
    """Import the app as the worker does, its own folder last, and ask it for its functions."""
    sys.path[:] = [f"{folder}/.python_packages/lib/site-packages", *sys.path, folder]
    entry = importlib.import_module("function_app")
    functions = [function.get_function_name() for function in entry.app.get_functions()]
    modules = {
        name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())
    }
    json.dump({"functions": sorted(functions), "modules": modules}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
