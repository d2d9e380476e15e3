"""What a control plane may do wrong: the reason is told, and what was right last stays in force."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.netns import istiod
from tests.netns.istiod import REVIEWS, Member, entry

LONG = "INTERCEPTOR_ISTIOD_ROUNDS" in os.environ  # more than a gate has time for

pytestmark = [pytest.mark.root, pytest.mark.envoy]


@pytest.fixture(scope="module")
def vm() -> Iterator[Member]:
    with istiod.member() as made:
        yield made


@dataclass(frozen=True)
class Case:
    """``faults`` of the control plane; ``is_cut``: they show at the next connection only.
    ``words`` stand in the status. ``is_long``: not for a gate."""

    title: str
    faults: dict[str, object]
    words: str
    is_cut: bool = False
    is_long: bool = False

    def __str__(self) -> str:
        return self.title


NDS, CDS = ["nds"], ["cds"]
NOTHING = "  [] []"
WRONG = "type.googleapis.com/wrong.Thing"
CASES = (
    Case("a truncated name table", {"types": NDS, "truncate": 3}, "cannot be decoded"),
    Case("a resource of another type", {"types": NDS, "inner_url": WRONG}, WRONG),
    Case("truncated clusters", {"types": CDS, "truncate": 3}, "Unable to unpack"),
    Case("another authority", {"certificate": "other"}, "another authority", is_cut=True),
    Case("a clock an hour off", {"certificate": "future"}, "not valid yet", is_cut=True),
    Case("10 MB of metadata", {"header_bytes": 10 << 20}, "metadata size", is_cut=True),
    Case("rubbish in a table", {"types": NDS, "garbage": "resource"}, "decoded", is_long=True),
    Case("rubbish as a message", {"garbage": "frame"}, "no discovery response", is_long=True),
    Case("an end of life", {"certificate": "expired"}, "has expired", is_cut=True, is_long=True),
    Case("another name", {"certificate": "name"}, "other names", is_cut=True, is_long=True),
    Case("refusal", {"refuse": "ABORTED"}, "ABORTED", is_cut=True, is_long=True),
)


@pytest.mark.parametrize("case", [case for case in CASES if LONG or not case.is_long], ids=str)
def test_the_last_good_state_stays_in_force_and_the_reason_is_told(vm: Member, case: Case) -> None:
    assert vm.wrong() == NOTHING
    with vm.control.spoilt(**case.faults):
        vm.control.order("cut" if case.is_cut else "push")
        vm.wait(lambda: case.words in vm.wrong(), case.words)
        assert vm.dig(REVIEWS) == ["10.96.0.11"]
        assert vm.curl(istiod.CALLED) in ("reviews-v1", "reviews-v2")
    heal(vm)


def test_a_token_that_has_expired_is_told_and_a_fresh_one_is_read(vm: Member) -> None:
    good = vm.control.token.read_text()
    vm.control.token.write_text(vm.control.order("token", ttl_s=-60))
    try:
        vm.control.order("cut")
        vm.wait(lambda: "the token has expired" in vm.wrong(), "a word of the token")
        assert vm.dig(REVIEWS) == ["10.96.0.11"]
    finally:
        vm.control.token.write_text(good)
    heal(vm)


ODD: tuple[dict[str, object], ...] = (
    {"duplicate": 2, "unasked": True},
    {"nonce": "none", "types": ["nds"]},
    {"nonce": "deaf", "types": ["nds"]},
    {"close_after_s": 0.5},
    {"close_after_s": 0.5, "close_code": "UNAVAILABLE"},
    {"delay_s": 0.5, "drip_bps": 200_000},
)


@pytest.mark.parametrize("faults", ODD, ids=str)
def test_what_is_odd_but_no_error_stops_nothing(vm: Member, faults: dict[str, object]) -> None:
    with vm.control.spoilt(**faults):
        vm.control.order("push")
        heal(vm)


if LONG:

    def test_a_connection_that_is_half_open_is_given_up_and_made_again(vm: Member) -> None:
        with vm.control.spoilt(half_open=True):
            vm.wait(lambda: vm.status("control_plane")["connected"] is False, "the loss", 60)
            assert vm.dig(REVIEWS) == ["10.96.0.11"]
        heal(vm)


def heal(vm: Member) -> None:
    """What comes after is believed again: a host more is answered and called, and gone again."""
    vm.control.order("push")
    vm.control.write("healed.yaml", entry("healed"))
    vm.wait(lambda: vm.dig("healed.mesh.internal"), "a host more", 60)
    vm.wait(lambda: vm.curl("http://healed.mesh.internal/") == "www.corp.example", "a call", 60)
    (vm.control.folder / "healed.yaml").unlink()
    vm.wait(lambda: not vm.dig("healed.mesh.internal"), "its end", 60)
    vm.wait(lambda: vm.wrong() == NOTHING, "nothing wrong")
