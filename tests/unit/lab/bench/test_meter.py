from __future__ import annotations

from interceptor.lab.bench import meter
from interceptor.lab.bench.meter import Row, Variant, at_least, at_most


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


def test_without_warming_up_every_round_counts() -> None:
    variants = [Variant("a", lambda: {"n": 1.0})]
    assert meter.alternate(variants, 2, lambda text: None, warm=False) == {"a": [{"n": 1.0}] * 2}


ROUNDS = {"a": [{"t": 1.0}, {"t": 20.0}], "b": [{"t": 2.0}, {"t": 10.0}], "c": [{"u": 1.0}]}


def test_ratios_are_taken_within_a_round() -> None:
    got = meter.compare(ROUNDS, Row("time", "t", "a", "b"))
    assert got is not None
    assert (got.least, got.median, got.most) == (0.5, 1.25, 2.0)


def test_a_row_with_nothing_to_compare_with_is_the_figure_itself() -> None:
    got = meter.compare(ROUNDS, Row("time", "t", "a"))
    assert got is not None
    assert got.median == 10.5


def test_rows_of_what_was_not_measured_are_left_out() -> None:
    rows = [
        Row("x", "t", "a", "c"),
        Row("x", "t", "absent"),
        Row("x", "t", "c"),
        Row("x", "t", "a"),
    ]
    assert [verdict.row for verdict in meter.judge(ROUNDS, rows)] == rows[-1:]


def test_limits_are_met_up_to_and_including_their_value() -> None:
    assert at_most(2).is_met(2)
    assert not at_most(2).is_met(2.1)
    assert at_least(2).is_met(2)
    assert not at_least(2).is_met(1.9)


def test_the_median_decides() -> None:
    row = Row("time", "t", "a", "b", at_most(1.25))
    assert [verdict.word for verdict in meter.judge(ROUNDS, [row])] == ["met"]
    assert meter.judge(ROUNDS, [Row("time", "t", "a")])[0].word == ""


def test_a_spread_reads_as_median_and_range() -> None:
    assert str(meter.spread([3, 1, 2])) == "2 [1..3]"
    assert str(meter.spread([45_678.0, 12_345.0])) == "29012 [12345..45678]"
    assert str(meter.spread([0.5])) == "0.5"


def test_a_verdict_shows_by_how_much_a_limit_is_missed() -> None:
    rounds = {"a": [{"t": 1.034}, {"t": 1.032}, {"t": 1.2}], "b": [{"t": 1.0}] * 3}
    [verdict] = meter.judge(rounds, [Row("time", "t", "a", "b", at_most(1.03))])
    assert (verdict.text, verdict.word) == ("1.034 [1.03..1.2]", "missed")


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert meter.percentile(values, 0.5) == 51
    assert meter.percentile(values, 0.99) == 100
    assert meter.percentile([7.0], 0.99) == 7
