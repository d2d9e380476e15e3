"""The daemon's identity by a control plane's CA: got, kept, replaced, in a token's stead."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.netns import istiod
from tests.netns.istiod import REVIEWS, Member

pytestmark = [pytest.mark.root, pytest.mark.long]

TTL_S = 10
WHO = "spiffe://cluster.local/ns/bookinfo/sa/default"


@dataclass
class Place:
    """A member, and the folder that it keeps its identity in and hands it out to."""

    member: Member
    folder: Path

    def identity(self) -> dict[str, Any]:
        found: dict[str, Any] = self.member.status("identity")
        return found

    def wait(self, key: str, *, other_than: object = None, timeout_s: float = 60) -> Any:
        """The value of a key of `status`, once it is another."""
        self.member.wait(lambda: self.identity().get(key) != other_than, key, timeout_s)
        return self.identity()[key]

    def token(self, **more: object) -> None:
        control = self.member.control
        control.token.write_text(control.order("token", **more))


@pytest.fixture(scope="module")
def vm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("identity")
    own = {"provider": "istiod", "dir": str(folder / "kept"), "output_dir": str(folder / "out")}
    without = {"sidecar": {"mode": "none"}, "capture": {"enabled": False}}  # starts sooner
    with istiod.member({"identity": {**own, "ttl_s": TTL_S}, **without}) as made:
        yield Place(made, folder)


def test_a_certificate_is_got(vm: Place) -> None:
    assert vm.wait("not_after")
    assert vm.identity()["who"] == WHO


def test_other_programs_are_given_it(vm: Place) -> None:
    words = ["openssl", "verify", "-CAfile", "root-cert.pem", "cert-chain.pem"]
    done = subprocess.run(words, cwd=vm.folder / "out", capture_output=True, text=True)
    assert done.stdout == "cert-chain.pem: OK\n"
    modes = {path.stat().st_mode & 0o777 for path in (vm.folder / "out").iterdir()}
    assert modes == {0o600}
    page = vm.member.run("curl", "-sS", "http://127.0.0.1:15020/metrics")
    (line,) = (
        row
        for row in page.splitlines()
        if row.startswith("istio_agent_cert_expiry_s") and "default" in row
    )
    assert 0 < float(line.split()[-1]) <= TTL_S


def test_a_token_of_another_workload_is_told_and_the_right_one_is_taken(vm: Place) -> None:
    vm.token(namespace="default")
    why = vm.wait("last_error", other_than="")
    assert "is for spiffe://cluster.local/ns/default/sa/default" in why
    assert f"this VM is {WHO}" in why
    assert vm.identity()["who"] == WHO
    assert vm.member.dig(REVIEWS) == ["10.96.0.11"]
    vm.token(namespace="bookinfo")
    vm.wait("last_error", other_than=why)


def test_it_stands_in_for_a_token_that_has_ended(vm: Place) -> None:
    vm.token(namespace="bookinfo", ttl_s=-60)
    vm.member.control.order("cut")
    vm.wait("fingerprint", other_than=vm.identity()["fingerprint"])
    vm.member.wait(lambda: vm.member.status("control_plane")["connected"], "the control plane")
    vm.member.wait(lambda: not vm.identity()["alarms"], "no alarm")


def test_rubbish_is_told_and_a_restart_goes_on_from_the_disk(vm: Place) -> None:
    with vm.member.control.spoilt(ca="rubbish"):
        assert "cannot be read" in vm.wait("last_error", other_than="")
        held = vm.identity()["fingerprint"]
        vm.member.agent.stop()
        vm.member.agent.start(timeout_s=istiod.READY_S)
        assert vm.identity()["fingerprint"] == held
        assert vm.member.dig(REVIEWS) == ["10.96.0.11"]
