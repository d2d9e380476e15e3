"""How full the pinned maps are, how old the pinned lease is: by what was put there."""

from __future__ import annotations

from pathlib import Path
from time import sleep

import pytest

from interceptor.capture import fill, lease
from interceptor.capture.fill import Fill
from interceptor.host import pin
from interceptor.host.layout import SPECS, Map

pytestmark = pytest.mark.root


def test_each_map_tells_what_is_in_it_and_what_there_is_room_for(bpffs: Path) -> None:
    assert fill.observe(bpffs) == {}, "nothing is pinned yet"
    opened = pin.open_maps(bpffs)
    try:
        keys = [number.to_bytes(4, "big") for number in range(9_000)]
        opened[Map.ALIAS4].update_batch(keys, keys)
        found = fill.observe(bpffs)
        assert found["alias4"] == Fill(9_000, SPECS[Map.ALIAS4].max_entries)
        assert found["alias6"].entries == found["networks"].entries == 0
        opened[Map.ALIAS4].delete_batch(keys[:8_999])
        assert fill.observe(bpffs)["alias4"].entries == 1
    finally:
        for each in opened.values():
            each.close()


def test_the_lease_that_is_pinned_grows_old(bpffs: Path) -> None:
    assert lease.observe_age_s(bpffs) is None
    opened = pin.open_maps(bpffs)
    try:
        assert lease.observe_age_s(bpffs) is None, "nobody has signed"
        lease.Lease(opened).beat()
        sleep(0.05)
        age_s = lease.observe_age_s(bpffs)
        assert age_s is not None
        assert 0.05 <= age_s < 5
    finally:
        for each in opened.values():
            each.close()
