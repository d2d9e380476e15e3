"""Services of several VMs in one folder; nothing is lost that somebody else wrote."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from interceptor.errors import InterceptorError
from interceptor.workload import offerfile
from interceptor.workload.offer import Offered
from tests.unit.workload.test_offer import SHOP

VM2 = replace(SHOP, vm="vm2", addresses=(ip_address("10.0.0.2"),))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def quiet(_line: str) -> None:
    """Nobody listens."""


def test_a_service_is_written_and_removed_again(tmp_path: Path) -> None:
    (tmp_path / "theirs.yaml").write_text("x")
    told: list[str] = []
    offerfile.register(tmp_path, SHOP, told.append)
    assert names(tmp_path) == ["shop.vm.service.yaml", "shop.vm.vm1.workload.yaml", "theirs.yaml"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("shop*")} == {0o644}
    assert "workload" in told[0], "a service without a workload would refuse its callers"
    offerfile.deregister(tmp_path, "vm", "shop", "vm1", told.append)
    assert names(tmp_path) == ["theirs.yaml"]


def test_the_last_vm_takes_the_service_with_it(tmp_path: Path) -> None:
    offerfile.register(tmp_path, SHOP, quiet)
    offerfile.register(tmp_path, VM2, quiet)
    told: list[str] = []
    offerfile.deregister(tmp_path, "vm", "shop", "vm1", told.append)
    assert names(tmp_path) == ["shop.vm.service.yaml", "shop.vm.vm2.workload.yaml"]
    assert any("other VMs offer shop" in line for line in told)
    offerfile.deregister(tmp_path, "vm", "shop", "vm2", quiet)
    assert names(tmp_path) == []


def test_several_services_of_one_vm_are_apart(tmp_path: Path) -> None:
    offerfile.register(tmp_path, SHOP, quiet)
    pay = replace(SHOP, name="pay", host="pay.vm.svc.cluster.local")
    offerfile.register(tmp_path, pay, quiet)
    offerfile.deregister(tmp_path, "vm", "shop", "vm1", quiet)
    assert names(tmp_path) == ["pay.vm.service.yaml", "pay.vm.vm1.workload.yaml"]


def test_registering_again_renews_and_the_only_vm_may_change_ports(tmp_path: Path) -> None:
    offerfile.register(tmp_path, SHOP, quiet)
    offerfile.register(tmp_path, replace(SHOP, ports=(Offered("grpc", 9000, 9000),)), quiet)
    assert "grpc" in (tmp_path / "shop.vm.service.yaml").read_text()


def test_another_vm_s_service_is_not_changed_by_this_one(tmp_path: Path) -> None:
    offerfile.register(tmp_path, SHOP, quiet)
    before = (tmp_path / "shop.vm.service.yaml").read_text()
    with pytest.raises(InterceptorError, match=r"vm1.workload.yaml: register it alike"):
        offerfile.register(tmp_path, replace(VM2, ports=(Offered("tcp", 1, 1),)), quiet)
    assert (tmp_path / "shop.vm.service.yaml").read_text() == before
    assert names(tmp_path) == ["shop.vm.service.yaml", "shop.vm.vm1.workload.yaml"]


@pytest.mark.parametrize("name", ["shop.vm.service.yaml", "shop.vm.vm1.workload.yaml"])
def test_what_somebody_wrote_or_edited_is_neither_overwritten_nor_removed(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("theirs")
    with pytest.raises(InterceptorError, match="was not written by"):
        offerfile.register(tmp_path, SHOP, quiet)
    assert names(tmp_path) == [name]
    (tmp_path / name).unlink()
    offerfile.register(tmp_path, SHOP, quiet)
    (tmp_path / name).write_text((tmp_path / name).read_text() + "# edited\n")
    with pytest.raises(InterceptorError, match="edited since"):
        offerfile.deregister(tmp_path, "vm", "shop", "vm1", quiet)
    assert len(names(tmp_path)) == 2


def test_what_is_not_registered_is_told_with_who_has_it(tmp_path: Path) -> None:
    with pytest.raises(InterceptorError, match="registered by none"):
        offerfile.deregister(tmp_path, "vm", "shop", "vm1", quiet)
    offerfile.register(tmp_path, VM2, quiet)
    with pytest.raises(InterceptorError, match="vm2"):
        offerfile.deregister(tmp_path, "vm", "shop", "vm1", quiet)


def test_a_service_whose_name_begins_like_another_s_is_another(tmp_path: Path) -> None:
    longer = replace(SHOP, name="shop.vm", host="other.test")
    offerfile.register(tmp_path, longer, quiet)
    offerfile.register(tmp_path, SHOP, quiet)
    offerfile.deregister(tmp_path, "vm", "shop", "vm1", quiet)
    assert names(tmp_path) == ["shop.vm.vm.service.yaml", "shop.vm.vm.vm1.workload.yaml"]
