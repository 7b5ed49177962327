# SPDX-License-Identifier: BSD-2-Clause
"""Acceptance tests of aoe.ko in a FreeBSD guest; see README.md beside this file."""

import importlib
import os
import pkgutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import cases  # noqa: E402
from lib.runner import main  # noqa: E402

if __name__ == "__main__":
    for module in sorted(m.name for m in pkgutil.iter_modules(cases.__path__)):
        importlib.import_module(f"cases.{module}")
    sys.exit(main(sys.argv[1:]))
