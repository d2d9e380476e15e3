"""The file of this VM's own entry."""

from __future__ import annotations

import errno
import stat
from ipaddress import ip_address
from pathlib import Path

import pytest
import yaml

from interceptor.config import Config
from interceptor.mesh.model import WorkloadGroup
from interceptor.workload import registration
from interceptor.workload.entry import Fitness
from interceptor.workload.registration import Facts, Registration

GROUP = WorkloadGroup("g", "vm", labels=(("app", "a"),))
FIT = Facts(GROUP, ip_address("10.0.0.2"), Fitness(True))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "run").mkdir()
    return Config.model_validate(
        {
            "node": {"namespace": "vm"},
            "workload": {"group": "g", "entry": tmp_path / "mesh/own.yaml"},
            "agent": {"run_dir": tmp_path / "run"},
        }
    )


def path_of(config: Config) -> Path:
    assert config.workload.entry is not None
    return config.workload.entry


def test_the_entry_is_written_for_others_to_read_and_only_when_it_differs(config: Config) -> None:
    one, path = Registration(config), path_of(config)
    one.apply(FIT)
    first = path.stat()
    assert stat.S_IMODE(first.st_mode) == 0o644
    assert yaml.safe_load(path.read_text())["spec"]["address"] == "10.0.0.2"
    one.apply(FIT)
    assert path.stat().st_ino == first.st_ino
    one.apply(Facts(GROUP, ip_address("10.0.0.3"), Fitness(True)))
    assert "10.0.0.3" in path.read_text()
    assert (one.name, one.written) == ("g-10.0.0.3", 2)
    assert [each.name for each in path.parent.iterdir()] == ["own.yaml"]


def test_what_somebody_changed_in_it_is_put_right(config: Config) -> None:
    one, path = Registration(config), path_of(config)
    one.apply(FIT)
    text = path.read_text()
    path.write_text("broken: [")
    one.apply(FIT)
    assert path.read_text() == text


def test_without_its_group_the_entry_stays_and_status_says_what_to_do(config: Config) -> None:
    one, path = Registration(config), path_of(config)
    one.apply(FIT)
    one.apply(Facts(None, ip_address("10.0.0.2"), Fitness(True)))
    assert path.exists()
    assert "WorkloadGroup vm/g" in one.problem
    assert "mesh.files" in one.problem
    one.apply(FIT)
    assert one.problem == ""


def test_a_vm_without_an_address_is_told_how_to_get_one(config: Config) -> None:
    one = Registration(config)
    one.apply(Facts(GROUP, None))
    assert "node.addresses" in one.problem
    assert not path_of(config).exists()


@pytest.mark.parametrize(
    ("workload", "word"),
    [({"entry": "/x/own.txt", "group": "g"}, "rename it"), ({"entry": "/x/own.yaml"}, "is empty")],
)
def test_settings_that_make_no_entry_are_told(workload: dict[str, str], word: str) -> None:
    wrong = Config.model_validate({"workload": workload})
    assert word in registration.missing(wrong, FIT)


def test_a_read_only_file_system_is_told_with_systemd_s_cure() -> None:
    path = Path("/mnt/mesh/own.yaml")
    found = registration.hindrance(path, OSError(errno.EROFS, "Read-only file system"))
    assert "ReadWritePaths=/mnt/mesh" in found
    assert registration.hindrance(path, OSError(errno.ENOSPC, "full")) == f"{path}: full"


def test_a_file_that_cannot_be_written_is_an_error_that_may_pass(config: Config) -> None:
    path = path_of(config)
    path.parent.write_text("no folder")
    with pytest.raises(OSError, match="own.yaml|mesh"):
        Registration(config).apply(FIT)


def test_taking_it_back_leaves_files_of_others_alone(config: Config) -> None:
    one, path = Registration(config), path_of(config)
    one.apply(FIT)
    one.revert()
    assert not path.exists()
    one.revert()
    path.write_text("kind: ServiceEntry\n")
    one.revert()
    assert path.exists()


def test_health_outlives_an_agent_but_not_a_boot(config: Config) -> None:
    one = Registration(config)
    assert not one.was_healthy()
    one.apply(FIT)
    assert Registration(config).was_healthy()
    one.apply(Facts(GROUP, FIT.address, Fitness(False, "down")))
    assert not Registration(config).was_healthy()
    one.apply(FIT)
    (config.agent.run_dir / registration.MARK).unlink()  # as a reboot does
    assert not Registration(config).was_healthy()


def test_a_refusal_of_istiod_s_is_told_with_what_to_do(config: Config) -> None:
    found = registration.advise(config, "FAILED_PRECONDITION: cannot find WorkloadGroup vm/g")
    assert "WorkloadGroup vm/g" in found
    assert "workload group create" in found
    assert "cannot find" in found
    found = registration.advise(config, "PERMISSION_DENIED: namespace other")
    assert "service account" in found
    assert registration.advise(config, "UNAVAILABLE: nobody there") == ""
    assert registration.advise(Config(), "FAILED_PRECONDITION: x") == ""
