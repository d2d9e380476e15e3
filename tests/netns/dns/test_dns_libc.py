"""What applications get: glibc, musl, Python and curl, with their own resolv.conf."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.netns.dns.conftest import Running, World

pytestmark = pytest.mark.root
SERVER4, SERVER6 = "10.99.0.1", "fd99::1"

BOTH = ["10.0.0.1", "10.0.0.2", "fd00::1"]
OPTIONS = ["", "edns0 trust-ad", "single-request", "single-request-reopen", "ndots:5", "use-vc"]


@pytest.fixture(scope="session")
def musl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The little C program, static, with musl's resolver inside."""
    program = tmp_path_factory.mktemp("musl") / "resolve"
    source = Path(__file__).with_name("resolve.c")
    subprocess.run(["musl-gcc", "-static", "-O2", "-Wall", "-o", program, source], check=True)
    return program


class Applications:
    """Programs on the VM that see a resolv.conf of the test's own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._file = world.folder / "resolv.conf"

    def configure(self, server: str, options: str = "", search: str = "corp.test") -> None:
        self._file.write_text(f"nameserver {server}\nsearch {search}\noptions {options}\n")

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        # A mount namespace of its own: the machine's resolv.conf stays what it is.
        script = 'mount --bind "$1" "$(readlink -f /etc/resolv.conf)" && shift && exec "$@"'
        words = ["unshare", "-m", "sh", "-c", script, "sh", str(self._file), *argv]
        return self.world.inside(self.world.vm, words)

    def getent(self, database: str, name: str) -> list[str]:
        said = self.run("getent", database, name).stdout
        return sorted({line.split()[0] for line in said.splitlines()})

    def musl(self, program: Path, name: str) -> list[str]:
        return sorted(self.run(str(program), name).stdout.split("\n")[:-1])


@pytest.fixture(scope="module")
def applications(world: World, plane: Running) -> Applications:
    return Applications(world)


@pytest.mark.parametrize("server", [SERVER4, SERVER6])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["reviews.bookinfo", "reviews.bookinfo.svc.cluster.local"])
def test_getaddrinfo_finds_every_address(
    applications: Applications, server: str, options: str, name: str
) -> None:
    applications.configure(server, options)
    assert applications.getent("ahosts", name) == BOTH


def test_a_name_of_one_family_resolves_at_once_for_glibc_and_musl(
    applications: Applications, musl: Path
) -> None:
    applications.configure(SERVER4)
    assert applications.getent("ahosts", "v4.bookinfo") == ["10.0.0.4"]
    assert applications.musl(musl, "v4.bookinfo") == ["10.0.0.4"]
    assert applications.getent("ahosts", "v4.bookinfo.corp.test") == ["10.0.0.4"]
    assert applications.musl(musl, "v4.bookinfo.corp.test") == ["10.0.0.4"]


@pytest.mark.parametrize("server", [SERVER4, SERVER6])
def test_musl_asks_both_families_from_one_socket_and_gets_both(
    applications: Applications, musl: Path, server: str
) -> None:
    applications.configure(server)
    assert applications.musl(musl, "reviews.bookinfo") == BOTH
    assert applications.musl(musl, "reviews.bookinfo.corp.test") == BOTH
    assert applications.musl(musl, "ext.bookinfo") == ["240.240.0.9"]
    assert applications.musl(musl, "www.other.test") == ["192.0.2.1", "2001:db8::1"]


def test_the_search_list_leads_to_mesh_names(applications: Applications, musl: Path) -> None:
    """With a Kubernetes search list, `reviews` becomes a name of ours by the client's doing."""
    applications.configure(SERVER4, "ndots:5", "bookinfo.svc.cluster.local svc.cluster.local")
    assert applications.getent("ahosts", "reviews") == BOTH
    assert applications.musl(musl, "reviews") == BOTH
    assert applications.getent("ahosts", "x.wild.test") == ["240.240.0.9"]


def test_a_large_answer_arrives_whole(applications: Applications) -> None:
    applications.configure(SERVER4)
    assert len(applications.getent("ahostsv4", "many.bookinfo")) == 100


def test_reverse_names_resolve(applications: Applications) -> None:
    applications.configure(SERVER4)
    said = applications.run("getent", "hosts", "10.0.0.4").stdout
    assert said.split() == ["10.0.0.4", "v4.bookinfo.svc.cluster.local"]


def test_python_resolves(applications: Applications) -> None:
    applications.configure(SERVER4)
    script = (
        "import socket\n"
        "print(sorted({i[4][0] for i in socket.getaddrinfo('reviews.bookinfo', 80)}))\n"
        "print(socket.gethostbyname('v4.bookinfo'))\n"
    )
    said = applications.run("python3", "-c", script).stdout.splitlines()
    assert said == [str(BOTH), "10.0.0.4"]


def test_other_names_resolve_as_without_us(applications: Applications) -> None:
    applications.configure(SERVER4)
    assert applications.getent("ahosts", "www.other.test") == ["192.0.2.1", "2001:db8::1"]
    assert applications.run("getent", "hosts", "nobody.other.test").returncode == 2
