from __future__ import annotations

import pytest

from interceptor.errors import InterceptorError
from interceptor.lab.bench import record
from interceptor.lab.bench.record import Outcome

ONE = Outcome("dns", "machine", "2026-01-02", {"n": 1}, {"ebpf": [{"t": 1.0}]}, ("a note",))
TWO = Outcome("soak", "machine", "2026-01-02", {}, {})


def test_outcomes_survive_the_file() -> None:
    assert record.decode(record.encode([ONE, TWO])) == (ONE, TWO)


@pytest.mark.parametrize("text", ["", "[]", '{"dns": 1}', '{"dns": {"part": "dns"}}'])
def test_what_is_no_such_file_is_an_error(text: str) -> None:
    with pytest.raises(InterceptorError, match="not a file of benchmarks"):
        record.decode(text)


def test_a_new_outcome_replaces_the_old_one_of_its_part() -> None:
    new = Outcome("dns", "other", "2026-01-03", {}, {})
    assert record.merge([ONE, TWO], [new]) == (new, TWO)


def test_the_machine_is_named_by_processors_and_kernel() -> None:
    assert "Linux" in record.observe_machine()
