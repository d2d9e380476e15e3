from __future__ import annotations

import pytest

from interceptor.lab import meter
from interceptor.lab.meter import Ratio, Variant


def test_each_round_begins_with_another_variant_and_the_first_is_not_measured() -> None:
    ran: list[str] = []

    def variant(name: str) -> Variant:
        def measure() -> dict[str, float]:
            ran.append(name)
            return {"n": float(len(ran))}

        return Variant(name, measure)

    results = meter.alternate([variant("a"), variant("b")], 2, lambda text: None)
    assert ran == ["a", "b", "b", "a", "a", "b"]
    assert results == {"a": [{"n": 4.0}, {"n": 5.0}], "b": [{"n": 3.0}, {"n": 6.0}]}


def test_ratios_are_taken_within_a_round() -> None:
    rounds = {"a": [{"t": 1.0}, {"t": 20.0}], "b": [{"t": 2.0}, {"t": 10.0}]}
    got = meter.compare(rounds, Ratio("t", "a", "b"))
    assert (got.least, got.median, got.most) == (0.5, 1.25, 2.0)


def test_a_spread_reads_as_median_and_range() -> None:
    assert str(meter.spread([3, 1, 2])) == "2 [1..3]"


def test_the_load_generators_line_is_understood() -> None:
    line = "ok=20000 bad=3 seconds=0.5 p50_us=19.70\n"
    assert meter.decode_load(line) == {"ok": 20000, "bad": 3, "seconds": 0.5, "p50_us": 19.7}


def test_a_line_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError):
        meter.decode_load("usage: load ...\n")


def test_the_machine_is_named_by_processors_and_kernel() -> None:
    assert "Linux" in meter.observe_machine()
