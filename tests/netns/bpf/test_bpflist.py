"""Every link of the kernel is listed, as long as it is there."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from interceptor.host import bpf, bpflink, bpflist, tcx
from interceptor.host.bpf import AttachType, ProgramType
from interceptor.host.bpflink import LinkType
from tests.conftest import Namespace

pytestmark = pytest.mark.root

LO = 1


def test_a_link_is_listed_with_its_program_until_it_is_gone(
    namespaces: Callable[[str], Namespace],
) -> None:
    namespace = namespaces("bpflist")
    program = bpf.load_program("listed", ProgramType.SCHED_CLS, AttachType.NONE, tcx.PASS)
    link = namespace.call(bpflink.create_on_device, program, LO, AttachType.TCX_EGRESS)
    try:
        number = bpflink.info(link).id
        (found,) = (each for each in bpflist.links() if each.id == number)
        assert (found.kind, found.attach, found.target) == (
            LinkType.TCX,
            AttachType.TCX_EGRESS,
            LO,
        )
        (line,) = (each for each in bpflist.render().splitlines() if each.startswith(f"{number}:"))
        assert line == f"{number}: tcx tcx_egress on 1, program {found.program_id} listed"
    finally:
        os.close(link)
        os.close(program)
    assert number not in {each.id for each in bpflist.links()}
