"""The allocated VIPs on disk: ``vips.json`` in mesh.state_dir."""

from __future__ import annotations

import logging
import os

from interceptor import config
from interceptor.mesh import vip

NAME = "vips.json"
_log = logging.getLogger(__name__)


def read(mesh: config.Mesh) -> vip.Allocation:
    """What is written down; nothing where there is none or it cannot be read.

    VIPs are a hash of the host's name as far as possible, so that a lost file
    costs few hosts their address: worth a warning, not a refusal.
    """
    path = mesh.state_dir / NAME
    try:
        return vip.decode(path.read_bytes(), mesh.vip_ranges)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        _log.warning("%s cannot be used, VIPs start anew: %s", path, error)
    return vip.Allocation(mesh.vip_ranges)


def write(mesh: config.Mesh, allocation: vip.Allocation) -> None:
    """Replaces the file as a whole. Raises OSError."""
    mesh.state_dir.mkdir(parents=True, exist_ok=True)
    path = mesh.state_dir / NAME
    draft = path.with_suffix(".new")
    with draft.open("wb") as file:
        file.write(vip.encode(allocation))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
