"""``python -m interceptor.lab.bench``."""

from __future__ import annotations

import sys

from interceptor.lab.bench import program

if __name__ == "__main__":
    sys.exit(program.main())
