"""Kernel parameters by name and by pattern."""

from __future__ import annotations

from pathlib import Path

from interceptor.host import sysctl


def test_values_are_read_by_name_and_for_every_device(tmp_path: Path) -> None:
    for device, value in (("all", "0\n"), ("eth0", "1\n"), ("eth0.5", "2\n")):
        folder = tmp_path / "net/ipv4/conf" / device
        folder.mkdir(parents=True)
        (folder / "rp_filter").write_text(value)
    (tmp_path / "net/ipv4/ip_forward").write_text("1\n")
    names = ("net/ipv4/conf/*/rp_filter", "net/ipv4/ip_forward", "net/ipv4/none")
    found = sysctl.observe(names, tmp_path)
    assert found["net/ipv4/ip_forward"] == "1"
    assert len(found) == 4
    devices = sysctl.of_devices(found, "net/ipv4/conf/*/rp_filter")
    assert devices == {"all": "0", "eth0": "1", "eth0.5": "2"}


def test_the_kernel_s_own_are_there() -> None:
    assert sysctl.observe(["net/ipv4/ip_forward"])["net/ipv4/ip_forward"] in ("0", "1")
