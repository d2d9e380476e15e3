"""The C compiler as an oracle: what headers say that Python says too."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

BPF = Path(__file__).parents[3] / "bpf"


@pytest.fixture
def c_values(tmp_path: Path) -> Callable[[Iterable[str], Iterable[str]], dict[str, int]]:
    """The values of C's integer expressions, given the headers that they need."""

    def evaluate(headers: Iterable[str], expressions: Iterable[str]) -> dict[str, int]:
        wanted = list(expressions)
        prints = "".join(f'printf("%llu\\n", (unsigned long long)({each}));\n' for each in wanted)
        includes = "".join(f"#include <{header}>\n" for header in ("stdio.h", "stddef.h", *headers))
        source = tmp_path / "values.c"
        source.write_text(f"{includes}int main(void) {{\n{prints}return 0; }}\n")
        program = tmp_path / "values"
        argv = ["gcc", f"-I{BPF}/include", "-o", str(program), str(source)]
        subprocess.run(argv, check=True)
        done = subprocess.run([str(program)], check=True, capture_output=True, text=True)
        return dict(zip(wanted, map(int, done.stdout.split()), strict=True))

    return evaluate
