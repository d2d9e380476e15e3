"""From an observation to files, and what the mesh has already."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from interceptor import config, moving
from interceptor.config import Config
from interceptor.debug.draft import Wish
from interceptor.debug.observed import Asked, Call, Listening, Observation
from interceptor.errors import ConfigError, InterceptorError
from interceptor.moving import Outcome

MESH = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: vm}
spec:
  hosts: [db.example, "*.wild.example"]
  addresses: [192.0.2.8]
  ports: [{number: 3306, name: tcp-mysql, protocol: TCP}]
  resolution: STATIC
  endpoints: [{address: 192.0.2.7}]
"""
NAMES = ("db.example", "x.wild.example", "new.example", "under_score.example")
SEEN = Observation(
    host="vm",
    seconds=5,
    addresses=("10.0.0.5",),
    asked=(Asked("db.example", 1),),
    calls=tuple(Call("198.51.100.7", 80, name=n, evidence="dns", count=1) for n in NAMES),
)


@pytest.fixture
def ours(tmp_path: Path) -> Config:
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh" / "db.yaml").write_text(MESH)
    flags = {
        "mesh.files": [str(tmp_path / "mesh")],
        "mesh.state_dir": str(tmp_path / "state"),
        "dns.search": [],
    }
    return config.parse("", flags=flags)


def build(ours: Config, found: Observation, wish: Wish, folder: Path) -> Outcome:
    return moving.build(moving.observe_mesh(ours, folder), found, wish, folder)


def test_what_the_mesh_has_already_is_told_and_not_written(ours: Config, tmp_path: Path) -> None:
    outcome = build(ours, SEEN, Wish(), tmp_path / "out")
    assert [service.host for service in outcome.drafted.services] == ["new.example"]
    known = next(one for one in outcome.concerns if one.topic == "known-already")
    assert known.cases[0].startswith("db.example: ")
    assert known.cases[1].startswith("x.wild.example: ")


def test_a_service_of_the_vms_own_name_is_not_written_twice(ours: Config, tmp_path: Path) -> None:
    served = Observation(
        host="vm",
        addresses=("10.0.0.5",),
        listening=(Listening(80, addresses=("0.0.0.0",)),),
    )
    texts = dict(build(ours, served, Wish(), tmp_path / "out").texts)
    assert texts[moving.WORKLOAD].count("kind: ServiceEntry") == 1
    document = (
        "kind: Service\nmetadata: {name: vm}\nspec: {clusterIP: 10.96.0.9, ports: [{port: 80}]}\n"
    )
    (tmp_path / "mesh" / "vm.yaml").write_text(f"apiVersion: v1\n{document}")
    texts = dict(build(ours, served, Wish(), tmp_path / "out").texts)
    assert "kind: ServiceEntry" not in texts[moving.WORKLOAD]
    assert "# vm.default.svc.cluster.local is the mesh's already: " in texts[moving.WORKLOAD]


def test_what_an_earlier_watch_wrote_is_no_mesh_yet(ours: Config, tmp_path: Path) -> None:
    """--config of the first run's config.yaml, and its files again."""
    outcome = build(ours, SEEN, Wish(), tmp_path / "mesh")
    assert "db.example" in [service.host for service in outcome.drafted.services]


def test_files_are_written_whole_and_may_be_read_by_others(ours: Config, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "out"
    paths = moving.apply(build(ours, SEEN, Wish(), folder))
    assert {path.name for path in paths} == set(moving.FILES)
    assert {path.name for path in folder.iterdir()} == set(moving.FILES)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o644 for path in paths)
    written = config.parse((folder / moving.SETTINGS).read_text(), "config.yaml")
    assert written.mesh.files == (folder / moving.ENTRIES, folder / moving.WORKLOAD)


def test_nothing_is_written_over_unless_that_was_said(ours: Config, tmp_path: Path) -> None:
    assert moving.check_folder(tmp_path, force=False, append=False) is None
    (tmp_path / moving.REPORT).write_text("mine")
    with pytest.raises(InterceptorError, match=r"report\.md: --force"):
        moving.check_folder(tmp_path, force=False, append=False)
    assert moving.check_folder(tmp_path, force=True, append=False) is None


def test_an_earlier_run_is_there_to_be_added_to(ours: Config, tmp_path: Path) -> None:
    assert moving.check_folder(tmp_path, force=False, append=True) is None, "the first of them"
    moving.apply(build(ours, SEEN, Wish(), tmp_path))
    assert moving.check_folder(tmp_path, force=False, append=True) == SEEN
    (tmp_path / moving.STATE).write_text("[]")
    with pytest.raises(ConfigError, match=r"observation\.json"):
        moving.check_folder(tmp_path, force=False, append=True)


def test_a_vm_that_has_no_mesh_yet_has_no_names_of_one(tmp_path: Path) -> None:
    flags = {"mesh.files": [str(tmp_path / "missing")], "mesh.state_dir": str(tmp_path / "state")}
    answers = moving.observe_mesh(config.parse("", flags=flags), None)
    assert moving.known_names(answers, SEEN, Wish()) == {}


def test_a_wrong_mesh_is_told_before_anything_is_watched(ours: Config, tmp_path: Path) -> None:
    (tmp_path / "mesh" / "wrong.yaml").write_text("kind: ServiceEntry\nspec: {hosts: 7}\n")
    with pytest.raises(ConfigError):
        moving.observe_mesh(ours, tmp_path / "out")
