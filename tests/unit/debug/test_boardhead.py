"""The head says how the daemon is, and says loudly what is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interceptor.debug import boardhead
from interceptor.debug.boardhead import Line, Tone
from interceptor.debug.top import View
from tests.unit.debug import showcase


def lines(**over: object) -> list[Line]:
    view = showcase.view()
    return boardhead.render(replace(view, status={**view.status, **over}))


def alerts(found: list[Line]) -> list[str]:
    return [line.text for line in found if line.tone is Tone.ALERT]


def test_a_daemon_that_is_well_has_its_figures_and_no_alert() -> None:
    found = lines()
    text = "\n".join(line.text for line in found)
    assert alerts(found) == []
    for words in (
        "interceptor 1.2.3  ready  ebpf  up 01:02:03",
        "14 hosts of files, right now",
        "1100.0/s by ebpf, answer 1000.0/s, pass 100.0/s",
        "dns tcp of IPv4 IPv6, outbound 200.0/s, inbound 0/s (0)",
        "none, put back: rules 2, lease 0.31 of 10.0 s",
        "live pid 77, 3 connections to endpoints",
        "nft table inet filter",
    ):
        assert words in text, text


WRONG: list[tuple[dict[str, object], str]] = [
    ({"ready": False, "why": "the DNS worker is away"}, "NOT READY: the DNS worker is away"),
    ({"drift": True}, "THE HOST DIFFERS"),
    ({"lease": {"age_s": 11.0, "limit_s": 10.0}}, "lease 11.0 of 10.0 s"),
    ({"dns": {"enabled": True, "alive": False}}, "worker AWAY"),
    ({"capture": {"installed": False}}, "nothing is installed"),
    ({"sidecar": {"mode": "managed", "state": "down"}}, "down"),
    ({"sidecar": {"mode": "managed", "state": "live", "refused": [{}]}}, "1 REFUSED"),
    ({"table": {"hosts": 3, "source": "files", "held": 2, "good_age_s": 90.0}}, "90s old"),
]


@pytest.mark.parametrize(("over", "words"), WRONG, ids=[words for _, words in WRONG])
def test_what_is_wrong_is_an_alert(over: dict[str, object], words: str) -> None:
    found = alerts(lines(**over))
    assert len(found) == 1
    assert words in found[0]


def test_a_daemon_that_is_away_is_all_there_is_to_say() -> None:
    found = boardhead.render(View(2.0, problem="no daemon answers"))
    assert alerts(found) == ["no daemon answers"]
    assert len(found) == 2


def test_what_was_left_out_is_said() -> None:
    view = replace(showcase.view(), left_out=40, crowded_out=2)
    assert "42 left out" in boardhead.render(view)[-1].text


def test_a_name_cannot_steer_the_terminal() -> None:
    assert boardhead.printable("a\x1b[2Jb\n") == "a\\x1b[2Jb\\n"


@pytest.mark.parametrize(
    ("value_s", "text"),
    [(None, "-"), (1.2e-5, "12us"), (0.0034, "3.4ms"), (1.5, "1.5s"), (90061.0, "1d 01:01:01")],
)
def test_a_time_is_told_in_few_characters(value_s: float | None, text: str) -> None:
    assert boardhead.span(value_s) == text


def test_the_identity_has_a_line_where_there_is_one() -> None:
    def line(identity: dict[str, object]) -> list[Line]:
        return [each for each in lines(identity=identity) if each.text.startswith("identity")]

    assert line({}) == []
    (good,) = line({"who": "spiffe://a/b", "remaining_s": 7200, "alarms": []})
    assert ("spiffe://a/b" in good.text, good.tone) == (True, Tone.PLAIN)
    (bad,) = line({"who": "spiffe://a/b", "alarms": ["the certificate ended"]})
    assert ("the certificate ended" in bad.text, bad.tone) == (True, Tone.ALERT)
