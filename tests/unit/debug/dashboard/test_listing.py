"""The printed list of metrics is the list that there is."""

from __future__ import annotations

from interceptor.debug import metrics
from interceptor.debug.dashboard import listing


def test_the_list_is_up_to_date() -> None:
    assert listing.PATH.read_text() == listing.render(), (
        "run `python -m interceptor.debug.dashboard.listing`"
    )


def test_every_family_has_its_line() -> None:
    lines = listing.render().splitlines()
    for each in metrics.FAMILIES:
        (line,) = (line for line in lines if f"`{each.page_name}`" in line)
        assert each.text in line
