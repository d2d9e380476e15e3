"""Join and leave on a tree that is not booted: `--root`. With systemd: tests/systemd."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interceptor import enlistment, joining
from interceptor.enlistment import Setting
from interceptor.errors import ConfigError, InterceptorError
from interceptor.joining import Ground, Joining
from tests.unit.host.test_footprint import manifest
from tests.unit.workload import packed

UNIT = "[Service]\nExecStart=/usr/bin/interceptor run\n[Install]\nWantedBy=multi-user.target\n"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A tree with a configuration of its own and our service in it, not enabled."""
    for folder in ("etc/interceptor", "etc/systemd/system", "var/lib", "var/log"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "usr/lib/systemd/system").mkdir(parents=True)
    (tmp_path / "usr/lib/systemd/system/interceptor.service").write_text(UNIT)
    config = tmp_path / "etc/interceptor/interceptor.yaml"
    config.write_text("# mine\ncapture: {backend: nftables}\n")
    config.chmod(0o640)
    return tmp_path


def decide(root: Path, files: dict[str, bytes]) -> Joining:
    footprint = enlistment.open_footprint(root)
    present = enlistment.read_present(root, footprint)
    return joining.decide(files, "bundle", Ground(present, packed.NOW_S))


def join(root: Path, files: dict[str, bytes], **more: object) -> list[str]:
    setting = Setting(root, **more)  # type: ignore[arg-type]
    found = decide(root, files)
    told: list[str] = []
    drafts = enlistment.choose_drafts(found, setting)
    enlistment.join(drafts, setting, found, told.append)
    return told


def leave(root: Path) -> list[str]:
    told: list[str] = []
    enlistment.leave(root, told.append)
    return told


def test_a_tree_is_joined_enabled_and_left_byte_for_byte(image: Path) -> None:
    before = manifest(image)
    told = join(image, packed.istio())
    assert "wrote /etc/interceptor/interceptor.yaml" in told
    wants = image / "etc/systemd/system/multi-user.target.wants/interceptor.service"
    assert wants.is_symlink()
    assert "nftables" in (image / "etc/interceptor/interceptor.yaml").read_text()
    assert "disabled interceptor.service" in leave(image)
    assert not wants.is_symlink()
    after = manifest(image)
    del before["etc/systemd/system"], after["etc/systemd/system"]  # systemctl's, at another time
    assert after == before


def test_without_a_start_the_service_is_left_alone(image: Path) -> None:
    before = manifest(image)
    join(image, packed.istio(), is_started=False)
    assert not (image / "etc/systemd/system/multi-user.target.wants").exists()
    assert [line for line in leave(image) if "disabled" in line] == []
    assert manifest(image) == before


def test_a_file_keeps_a_stricter_mode(image: Path) -> None:
    join(image, packed.istio(), is_started=False)
    mode = (image / "etc/interceptor/interceptor.yaml").stat().st_mode & 0o777
    assert mode == 0o640
    token = image / "var/lib/interceptor/istio-token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.parent.stat().st_mode & 0o777 == 0o700


def test_a_host_without_the_service_gets_one_and_loses_it_again(image: Path) -> None:
    (image / "usr/lib/systemd/system/interceptor.service").unlink()
    before = manifest(image)
    join(image, packed.istio(), unit_text=UNIT, is_started=False)
    assert (image / "etc/systemd/system/interceptor.service").read_text() == UNIT
    leave(image)
    assert manifest(image) == before


def test_a_new_bundle_renews_and_leave_goes_back_to_the_beginning(image: Path) -> None:
    before = manifest(image)
    join(image, packed.istio(), is_started=False)
    join(image, packed.site(), is_started=False)
    text = (image / "etc/interceptor/interceptor.yaml").read_text()
    assert "source: files" in text
    assert "mesh1" in text
    assert "203.0.113.7" not in text, "settings of the first bundle are none of the second's"
    leave(image)
    assert manifest(image) == before


def test_what_somebody_edited_between_two_joins_is_kept_under_the_second(image: Path) -> None:
    join(image, packed.istio(), is_started=False)
    config = image / "etc/interceptor/interceptor.yaml"
    config.write_text(config.read_text() + "dns: {ttl_s: 7}\n")
    found = decide(image, packed.site())
    assert found.config.dns.ttl_s == 7


def test_leaving_twice_says_that_there_is_nothing(image: Path) -> None:
    join(image, packed.istio(), is_started=False)
    leave(image)
    with pytest.raises(InterceptorError, match="nothing to undo"):
        leave(image)


def test_logs_of_the_service_are_never_thrown_away(image: Path) -> None:
    join(image, packed.istio(), is_started=False)
    logs = image / "var/log/interceptor"
    logs.mkdir()
    (logs / "access.log").write_text("one call\n")
    assert any("there are logs in it" in line for line in leave(image))
    assert (logs / "access.log").exists()


def test_what_the_daemon_kept_since_goes_with_it(image: Path) -> None:
    before = manifest(image)
    join(image, packed.istio(), is_started=False)
    state = image / "var/lib/interceptor"
    (state / "identity").mkdir()
    (state / "identity/key.pem").write_text("a key")
    (state / "last-good").write_bytes(os.urandom(64))
    leave(image)
    assert manifest(image) == before


def test_a_configuration_that_cannot_be_read_is_told_by_its_file(image: Path) -> None:
    (image / "etc/interceptor/interceptor.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match="interceptor.yaml"):
        decide(image, packed.istio())


def test_only_root_joins_a_host_and_only_one_agent_is_on_it() -> None:
    found = enlistment.check_host(Setting())
    assert all(problem.where == "(host)" for problem in found)
    assert enlistment.check_host(Setting(Path("/nowhere"))) == []


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"ready": True}, ""),
        ({"ready": True, "control_plane": {"connected": True}, "workload": {"problem": ""}}, ""),
        ({"ready": True, "identity": {"provider": "istiod", "not_after": "2030"}}, ""),
        ({"ready": True, "identity": {"provider": "socket"}}, ""),
        ({"ready": False, "why": "no table"}, "no table"),
        ({}, "not ready"),
        (
            {"ready": True, "control_plane": {"connected": False, "last_error": "refused"}},
            "refused",
        ),
        ({"ready": True, "workload": {"problem": "no such group"}}, "no such group"),
        (
            {"ready": True, "identity": {"provider": "istiod", "last_error": "token ended"}},
            "no certificate yet: token ended",
        ),
    ],
)
def test_a_daemon_is_a_member_only_when_nothing_stands_in_the_way(
    status: dict[str, object], said: str
) -> None:
    found = enlistment.find_obstacle(status)
    assert bool(found) is bool(said)
    assert said in found
