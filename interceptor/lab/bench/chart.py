"""The figures as bars, in an SVG file. Pure.

A panel for each chart, a bar for each variant: its median, with a line from the least to the
most. The scale of a panel is its own and begins at nought. What is far off the scale of the others
is cut short, and marked.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from interceptor.lab.bench import meter
from interceptor.lab.bench.meter import Rounds, Spread
from interceptor.lab.bench.part import BACKENDS, Chart

WIDTH = 560  # of a panel
LABEL, BAR = 190, 270  # its columns; the value stands behind
LINE, HEAD, GAP = 22, 40, 18
FAR = 4  # times the median of the bars
COLUMNS = 2
OURS = dict(zip(BACKENDS, ("#1f77b4", "#7fb2d9", "#7fb2d9"), strict=True))
THEIRS, INK, FAINT = "#b0b4ba", "#222222", "#666666"
FONT = "font-family='sans-serif' font-size='12'"


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart with its bars, in the order in which they stand."""

    chart: Chart
    bars: tuple[tuple[str, Spread], ...]

    @property
    def height(self) -> int:
        return HEAD + LINE * len(self.bars) + GAP

    @property
    def end(self) -> float:
        """The value at which the scale ends."""
        far = FAR * statistics.median(one.median for _, one in self.bars)
        return min(max(one.most for _, one in self.bars), far) or 1.0


def build_panel(chart: Chart, rounds: Rounds) -> Panel:
    """The bars of a chart: of every variant that has its figure."""
    found = ((variant, meter.summarise(rounds, variant, chart.figure)) for variant in rounds)
    return Panel(chart, tuple((variant, one) for variant, one in found if one is not None))


def render(panels: Sequence[Panel], caption: str) -> str:
    """The whole picture: panels in two columns, the machine below."""
    heights = [GAP // 2] * COLUMNS
    pieces: list[str] = []
    for panel in panels:
        if not panel.bars:
            continue
        column = heights.index(min(heights))
        place = f"translate({column * WIDTH + GAP},{heights[column]})"
        pieces.append(f"<g transform='{place}'>{render_panel(panel)}</g>")
        heights[column] += panel.height
    width, height = COLUMNS * WIDTH + 2 * GAP, max(heights) + 2 * LINE
    foot = _text(GAP, height - LINE // 2, caption, f"fill='{FAINT}'")
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' "
        f"viewBox='0 0 {width} {height}' {FONT} fill='{INK}'>\n"
        "<rect width='100%' height='100%' fill='white'/>\n"
        + "\n".join([*pieces, foot])
        + "\n</svg>\n"
    )


def render_panel(panel: Panel) -> str:
    """One panel, its upper left corner at nought."""
    chart = panel.chart
    pieces = [
        _text(0, GAP, chart.title, "font-weight='bold'"),
        _text(0, GAP + 15, f"{chart.unit}, {chart.note}", f"fill='{FAINT}' font-size='11'"),
    ]
    for number, (variant, one) in enumerate(panel.bars):
        top = HEAD + LINE * number
        colour = next((OURS[each] for each in BACKENDS if variant.startswith(each)), THEIRS)
        median, least, most = (
            BAR * min(value / panel.end, 1) for value in (one.median, one.least, one.most)
        )
        mark = " »" if one.median > panel.end else ""
        pieces += [
            _text(LABEL - 8, top + 13, variant, "text-anchor='end'"),
            f"<rect x='{LABEL}' y='{top}' width='{median:.1f}' height='{LINE - 6}' "
            f"fill='{colour}'/>",
            f"<path d='M{LABEL + least:.1f} {top + 8}H{LABEL + most:.1f}' stroke='{INK}'/>",
            _text(LABEL + BAR + 6, top + 13, render_value(one.median) + mark, ""),
        ]
    return "".join(pieces)


def render_value(value: float) -> str:
    """Three digits that count, thousands as k."""
    return f"{value / 1000:.3g}k" if value >= 10_000 else f"{value:.3g}"


def _text(x: int, y: int, text: str, more: str) -> str:
    return f"<text x='{x}' y='{y}' {more}>{escape(text)}</text>"
