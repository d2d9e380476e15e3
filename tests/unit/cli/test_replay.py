"""`replay`: what would happen to a capture, how two configurations differ, and what is said."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dnslib import QTYPE, RR, A, DNSRecord
from scapy.layers.inet import IP, TCP, UDP
from scapy.utils import PcapNgWriter, wrpcap

Run = Callable[..., tuple[int, str, str]]
VM, SERVER = "198.51.100.10", "198.51.100.53"


def question(name: str, ident: int, kind: str = "A") -> bytes:
    made = DNSRecord.question(name, kind)
    made.header.id = ident
    return bytes(made.pack())


PACKETS = [
    IP(src=VM, dst=SERVER) / UDP(sport=4000, dport=53) / question("reviews.bookinfo", 1),
    IP(src=VM, dst=SERVER) / UDP(sport=4001, dport=53) / question("www.example.com", 2),
    IP(src=VM, dst="10.0.0.7") / TCP(sport=5000, dport=9080, flags="S", seq=1),
    IP(src=VM, dst="203.0.113.7") / TCP(sport=5001, dport=443, flags="S", seq=1),
    IP(src="203.0.113.9", dst="203.0.113.7") / TCP(dport=443, flags="S"),
]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "a.pcap"
    wrpcap(str(path), PACKETS)
    return path


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    path = tmp_path / "vm.json"
    path.write_text(json.dumps({"own_addresses": [VM], "search": ["corp.example"]}))
    return path


@pytest.fixture
def words(configuration: Path, capture: Path, facts: Path) -> tuple[str, ...]:
    return ("replay", str(capture), "--facts", str(facts), "--config", str(configuration))


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_attempt_is_a_line_with_its_fate(run: Run, words: tuple[str, ...]) -> None:
    code, out, err = run(*words)
    assert code == 0
    found = [line.split()[0] for line in out.splitlines()]
    assert found == ["1", "2", "3", "4"]
    assert "answer 10.0.0.7" in out.splitlines()[0]
    assert "outbound → 127.0.0.1:15001" in out.splitlines()[2]
    assert "4 attempts do not tell their process" in err


def test_json_is_an_object_a_line(run: Run, words: tuple[str, ...]) -> None:
    _, out, _ = run(*words, "--json", "--uid", "1000")
    assert [(row["packet"], row["verdict"]) for row in lines(out)] == [
        (1, "answer"),
        (2, "pass"),
        (3, "outbound"),
        (4, "pass"),
    ]


def test_pcapng_is_read_too(run: Run, words: tuple[str, ...], capture: Path) -> None:
    with PcapNgWriter(str(capture)) as writer:
        for packet in PACKETS:
            writer.write(packet)
    _, out, _ = run(*words, "--json")
    assert [row["packet"] for row in lines(out)] == [1, 2, 3, 4]


def test_a_capture_may_come_by_a_pipe(
    run: Run, words: tuple[str, ...], capture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture.open("rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        _, out, _ = run("replay", "-", *words[2:], "--json")
    assert [row["packet"] for row in lines(out)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("more", "packets"),
    [
        (("--verdict", "pass"), [2, 4]),
        (("--verdict", "answer", "--verdict", "outbound"), [1, 3]),
        (("--name", "*.Bookinfo*"), [1, 3]),
        (("--name", "www.*"), [2]),
        (("--name", "www.*", "--verdict", "answer"), []),
    ],
)
def test_names_and_verdicts_choose(
    run: Run, words: tuple[str, ...], more: tuple[str, ...], packets: list[int]
) -> None:
    _, out, _ = run(*words, "--json", *more)
    assert [row["packet"] for row in lines(out)] == packets


def test_a_migration_is_rehearsed_from_name_to_connection(
    run: Run, words: tuple[str, ...], capture: Path
) -> None:
    """The VM was captured before it had an agent: its names led to other addresses."""
    asked = question("reviews.bookinfo", 1)
    reply = DNSRecord.parse(asked).reply()
    reply.add_answer(RR("reviews.bookinfo", QTYPE.A, rdata=A("203.0.113.50")))
    told = IP(src=SERVER, dst=VM) / UDP(sport=53, dport=4000) / bytes(reply.pack())
    call = IP(src=VM, dst="203.0.113.50") / TCP(sport=5000, dport=9080, flags="S", seq=1)
    wrpcap(str(capture), [PACKETS[0], told, call])
    _, out, _ = run(*words, "--json")
    row = lines(out)[-1]
    assert (row["packet"], row["verdict"], row["name"]) == (3, "outbound", "reviews.bookinfo")
    assert (row["destination"], row["dialled"]) == ("203.0.113.50", "10.0.0.7:9080")
    _, out, _ = run(*words)
    assert "by its new answer it would call 10.0.0.7:9080" in out


def test_a_summary_counts(run: Run, words: tuple[str, ...]) -> None:
    _, out, _ = run(*words, "--summary", "--json")
    tree = json.loads(out)
    assert (tree["packets"], tree["attempts"]) == (5, 4)
    assert tree["verdicts"]["connection outbound"] == 1
    assert tree["left"] == {"neither from nor to this VM": 1}
    _, out, _ = run(*words, "--summary")
    assert out.startswith("4 attempts in 5 packets")


def test_two_meshes_are_told_apart(run: Run, words: tuple[str, ...], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    text = (tmp_path / "mesh" / "a.yaml").read_text()
    (other / "a.yaml").write_text(text.replace("10.0.0.7", "10.0.0.8"))
    code, out, _ = run(*words, "--against-mesh", str(other))
    assert code == 4
    assert "2 of 4 differ" in out
    row = next(line for line in out.splitlines() if "A reviews.bookinfo" in line)
    assert row.index("10.0.0.7") < row.index("10.0.0.8")
    assert "www.example.com" not in out
    code, out, _ = run(*words, "--against-mesh", str(other), "--all", "--json")
    assert [row["differs"] for row in lines(out)] == [True, False, True, False]


def test_two_configurations_are_told_apart(
    run: Run, words: tuple[str, ...], configuration: Path, tmp_path: Path
) -> None:
    other = tmp_path / "new.yaml"
    text = configuration.read_text()
    other.write_text(f"{text}capture: {{outbound: {{ports: [443], exclude_ports: [9080]}}}}\n")
    code, out, _ = run(*words, "--against", str(other), "--json")
    assert code == 4
    assert [
        (row["packet"], row["left"]["verdict"], row["right"]["verdict"])  # type: ignore[index]
        for row in lines(out)
    ] == [(3, "outbound", "pass"), (4, "pass", "outbound")]
    _, out, _ = run(*words, "--against", str(other), "--summary", "--json")
    assert json.loads(out) == {"connection outbound → pass": 1, "connection pass → outbound": 1}


def test_what_does_not_differ_ends_with_0(
    run: Run, words: tuple[str, ...], configuration: Path
) -> None:
    code, out, _ = run(*words, "--against", str(configuration))
    assert (code, out) == (0, "0 of 4 differ\n")


def test_a_capture_of_another_vm_is_told_with_the_way_out(
    run: Run, words: tuple[str, ...], facts: Path
) -> None:
    facts.write_text(json.dumps({"own_addresses": ["192.0.2.99"]}))
    code, out, err = run(*words)
    assert (code, out) == (0, "")
    assert f"{VM} begins 4 of others: --own" in err
    _, out, _ = run(*words, "--own", VM, "--json")
    assert len(lines(out)) == 4


def test_a_damaged_capture_gives_what_came_before(
    run: Run, words: tuple[str, ...], capture: Path
) -> None:
    capture.write_bytes(capture.read_bytes()[:-3])
    code, out, err = run(*words, "--json")
    assert code == 1
    assert len(lines(out)) == 4
    assert "cut off" in err


def test_what_is_no_capture_or_no_facts_is_said(
    run: Run, words: tuple[str, ...], capture: Path, facts: Path
) -> None:
    capture.write_text("not one")
    code, _, err = run(*words)
    assert (code, "pcapng" in err) == (1, True)
    facts.write_text("{")
    code, _, err = run(*words)
    assert (code, "plan --facts" in err) == (2, True)
    assert run("replay", str(capture), "--own", "here")[0] == 2


def test_facts_of_this_host_are_what_replay_takes(
    run: Run, configuration: Path, capture: Path, tmp_path: Path
) -> None:
    code, out, _ = run("plan", "--facts", "--config", str(configuration))
    assert code == 0
    path = tmp_path / "here.json"
    path.write_text(out)
    argv = ("replay", str(capture), "--facts", str(path), "--own", VM, "--json")
    assert len(lines(run(*argv, "--config", str(configuration))[1])) == 4


def test_ctrl_c_ends_with_what_was_found(
    run: Run, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from interceptor.debug import pcap

    decode = pcap.decode

    def interrupted(*stream: object) -> object:
        for number, record in enumerate(decode(*stream)):  # type: ignore[arg-type]
            if number == 3:
                raise KeyboardInterrupt
            yield record

    monkeypatch.setattr(pcap, "decode", interrupted)
    code, out, err = run(*words, "--json")
    assert code == 0
    assert len(lines(out)) == 3
    assert "stopped after packet 3" in err
