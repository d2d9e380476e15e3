"""The steps of the ebpf back end, as they are printed and undone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interceptor.capture import ebpfstep, step
from interceptor.capture.attachment import FILTERS, LINKS
from interceptor.capture.ebpfstep import Sites
from interceptor.capture.plan import Device
from interceptor.host.probe import LinkLayer

SITES = Sites(Path("/pins"), Path("/groups"), Path("/groups/agent"))
DEVICES = (Device("lo", 1, LinkLayer.LOOPBACK), Device("docker0", 2, LinkLayer.ETHERNET))


def test_every_shape_is_printed_as_it_was(make: Any, shape: str, golden: Any) -> None:
    plan = replace(make(shape), devices=DEVICES)
    undo = "".join(
        f"undo: {step.shell(each)}" for item in ebpfstep.render(plan, SITES) for each in item.undo
    )
    golden(f"ebpf_{shape}.txt", step.text(ebpfstep.render(plan, SITES)) + undo)


def test_what_is_undone_is_what_lasts(make: Any) -> None:
    plan = replace(make("everything"), devices=DEVICES)
    every, lasting = ebpfstep.render(plan, SITES), ebpfstep.lasting(plan, SITES)
    assert lasting == tuple(item for item in every if item.undo)
    assert [item.do.argv[0] for item in every] == [":"] * len(every)


def test_the_other_way_round_what_captures_goes_first(make: Any) -> None:
    *_, last = ebpfstep.lasting(make("default"), SITES)
    (undo,) = last.undo
    assert undo.argv == ("rm", "-f", "/pins/links/connect6")


def test_by_tcx_nothing_is_asked_of_tc(make: Any) -> None:
    plan = replace(make("everything"), devices=DEVICES)
    with_tc, without = (ebpfstep.render(plan, SITES, tcx=tcx) for tcx in (False, True))
    undo = [command.argv[0] for item in without for command in item.undo]
    assert set(undo) == {"rm"}
    attached = [item.do.argv for item in without if item.do.argv[-1] == "tcx"]
    assert (":", "attach", "dns_lo", "to", "dev", "lo", "egress", "by", "tcx") in attached
    assert len(without) == len(with_tc)


@pytest.mark.parametrize("name", [*LINKS, *FILTERS])
def test_every_program_says_what_it_is_for(name: str) -> None:
    assert 0 < len(ebpfstep.WHY[name]) <= 120
