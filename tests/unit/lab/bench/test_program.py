from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from interceptor.lab.bench import program, record
from interceptor.lab.bench.meter import Rounds
from interceptor.lab.bench.part import Session
from interceptor.lab.bench.record import Outcome
from interceptor.lab.removal import LabFailed

DNS = Outcome("dns", "this machine", "2026-01-02", {}, {"ebpf": [{"many_cpu_us": 5.0}]})
SOAK = Outcome("soak", "this machine", "2026-01-02", {}, {"ebpf": [{"wrong": 0.0}]})


def test_every_part_has_a_name_of_its_own_and_explains_its_figures() -> None:
    names = [part.name for part in program.PARTS]
    assert len(set(names)) == len(names)
    for part in program.PARTS:
        figures = {row.figure for row in part.rows} | {chart.figure for chart in part.charts}
        assert figures <= part.figures.keys(), part.name


def test_every_part_has_a_target() -> None:
    assert all(any(row.limit for row in part.rows) for part in program.PARTS)


def test_a_part_takes_the_place_of_its_former_self_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "new" / "bench.json"
    for outcome in (DNS, SOAK, Outcome("dns", "another", "2026-01-03", {}, {})):
        program.keep(file, outcome)
    assert [(each.part, each.machine) for each in program.read(file)] == [
        ("dns", "another"),
        ("soak", "this machine"),
    ]


def test_the_page_and_the_picture_are_made_from_the_file_alone(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text(record.encode([DNS, SOAK]))
    assert program.main(["--render", "--docs", str(tmp_path)]) == 0
    assert "| ebpf | 5 |" in (tmp_path / "BENCHMARKS.md").read_text()
    assert "CPU per mesh query" in (tmp_path / "bench.svg").read_text()


def test_a_file_that_is_none_is_said_to_be_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bench.json").write_text("[]")
    assert program.main(["--render", "--docs", str(tmp_path)]) == 1
    assert "not a file of benchmarks" in capsys.readouterr().err


def test_a_part_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(session: Session) -> Rounds:
        raise LabFailed("no lab today")

    parts = (replace(program.PARTS[0], measure=broken), replace(program.PARTS[-1], measure=soaked))
    monkeypatch.setattr(program, "PARTS", parts)
    assert program.main(["--quick", "--docs", str(tmp_path)]) == 1
    assert "no lab today" in capsys.readouterr().err
    assert [each.part for each in program.read(tmp_path / "bench.json")] == ["soak"]


def soaked(session: Session) -> Rounds:
    return SOAK.rounds


def test_an_unknown_part_is_a_usage_error() -> None:
    with pytest.raises(SystemExit, match="2"):
        program.main(["nonsense"])
