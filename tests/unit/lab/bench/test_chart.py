from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from interceptor.lab.bench import chart
from interceptor.lab.bench.part import Chart

SVG = "{http://www.w3.org/2000/svg}"
CPU = Chart("CPU <per> query", "cpu", "µs")
ROUNDS = {
    "ebpf": [{"cpu": 4.0}, {"cpu": 5.0}, {"cpu": 6.0}],
    "dnsmasq, REDIRECT": [{"cpu": 20.0}],
    "no agent": [{"other": 1.0}],
}


def drawn() -> ElementTree.Element:
    return ElementTree.fromstring(chart.render([chart.build_panel(CPU, ROUNDS)], "a & b"))


def test_a_panel_has_a_bar_for_each_variant_that_has_the_figure() -> None:
    panel = chart.build_panel(CPU, ROUNDS)
    assert [name for name, _ in panel.bars] == ["ebpf", "dnsmasq, REDIRECT"]


def test_bars_are_as_long_as_the_medians_say() -> None:
    bars = [bar for bar in drawn().iter(f"{SVG}rect") if bar.get("x")]
    lengths = [float(bar.get("width", "0")) for bar in bars]
    assert lengths == [chart.BAR * 5 / 20, chart.BAR]
    assert bars[0].get("fill") != bars[1].get("fill"), "ours stand out"


def test_what_is_far_off_is_cut_short_and_marked() -> None:
    rounds = {name: [{"cpu": value}] for name, value in {"a": 1.0, "b": 1.0, "c": 99.0}.items()}
    panel = chart.build_panel(CPU, rounds)
    assert panel.end == chart.FAR
    assert f"width='{chart.BAR:.1f}'" in chart.render_panel(panel)
    assert chart.render_panel(panel).count("»") == 1


def test_text_is_escaped() -> None:
    texts = [text.text for text in drawn().iter(f"{SVG}text")]
    assert "CPU <per> query" in texts
    assert "a & b" in texts


def test_panels_without_bars_are_left_out() -> None:
    text = chart.render([chart.build_panel(Chart("none", "nothing", "s"), ROUNDS)], "")
    assert "none" not in text


def test_nothing_measured_at_nought_is_a_bar_of_no_length() -> None:
    panel = chart.build_panel(CPU, {"ebpf": [{"cpu": 0.0}]})
    assert "width='0.0'" in chart.render_panel(panel)


def test_values_are_short() -> None:
    assert [chart.render_value(value) for value in (4.7712, 212_345, 999)] == [
        "4.77",
        "212k",
        "999",
    ]
