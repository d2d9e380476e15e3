"""The allocated VIPs on disk: ``vips.json`` in mesh.state_dir."""

from __future__ import annotations

import logging

from interceptor import config
from interceptor.host import atomic
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


def write(mesh: config.Mesh, data: bytes) -> bool:
    """Replaces the file as a whole by an encoded allocation. False, and told, where it fails."""
    try:
        atomic.replace(mesh.state_dir / NAME, lambda file: file.write(data))
    except OSError as error:
        _log.warning("VIPs could not be written to %s: %s", mesh.state_dir, error)
        return False
    return True
