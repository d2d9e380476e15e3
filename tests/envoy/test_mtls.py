"""Mutual TLS of a real Envoy by our resources and our SDS; the other side is openssl."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from interceptor.mesh.model import AppProtocol, Endpoint, Host, Kind, Port
from interceptor.mesh.policy import Mode, Policy
from interceptor.sidecar.secrets import Secrets
from interceptor.workload import certificate, signing
from interceptor.workload.signing import Signer

pytestmark = [pytest.mark.root, pytest.mark.envoy]

DOMAIN = "cluster.local"
VM4 = "10.77.0.1"
VIP, NAME, PORT = "10.96.0.40", "bank.shop.svc.cluster.local", 7000
PEER, OTHER = "10.77.0.3", "10.77.0.2"
PLAIN, SECRET = 8080, 9443


def spiffe(account: str) -> str:
    return f"spiffe://{DOMAIN}/ns/shop/sa/{account}"


@dataclass
class Papers:
    """Certificates in files, as openssl wants them."""

    folder: Path
    root: Signer
    rival: Signer

    def leaf(self, uri: str, signer: Signer | None = None, ends_s: float = 3600) -> list[str]:
        """Options of openssl by which it shows a certificate of that name."""
        key, chain = self.make(uri, signer, ends_s)
        stem = self.folder / f"{abs(hash((uri, signer, ends_s)))}"
        stem.with_suffix(".pem").write_bytes(chain)
        stem.with_suffix(".key").write_bytes(key)
        return ["-cert", f"{stem}.pem", "-key", f"{stem}.key"]

    def make(
        self, uri: str, signer: Signer | None = None, ends_s: float = 3600
    ) -> tuple[bytes, bytes]:
        key, now = signing.make_key("ecdsa-p256"), certificate.now_s()
        public = signing.read_request(signing.build_csr(key, uri)).public_key
        leaf = signing.Leaf(public, (uri,), now - 7200, now + ends_s)
        return key, signing.issue(leaf, signer or self.root)

    @property
    def trust(self) -> list[str]:
        path = self.folder / "root.pem"
        path.write_bytes(self.root.certificate)
        return ["-CAfile", str(path)]


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    now = certificate.now_s()
    root, rival = (
        signing.make_root("ecdsa-p256", name, now - 9000, now + 9000) for name in ("ours", "rival")
    )
    return Papers(tmp_path_factory.mktemp("papers"), root, rival)


@pytest.fixture
def secured(make_world, papers):
    """A VM with an identity, whose sidecar is not started yet."""
    world = make_world()
    path = world.run_dir / "sds.sock"
    world.place = replace(world.place, sds=str(path))
    world.secrets = Secrets(path, world.config.sidecar.uid, world.config.sidecar.gid)
    world.loop.run(world.secrets.open())
    renew(world, papers)
    world.set(trust_domain=DOMAIN, policy=Policy(Mode.PERMISSIVE))
    yield world
    world.loop.run(world.secrets.close())


def renew(world, papers: Papers, account: str = "vm") -> None:
    key, chain = papers.make(spiffe(account))
    world.loop.call(world.secrets.tell, key, chain, papers.root.certificate)


def bank(*endpoints: tuple[str, int, str]) -> Host:
    """A TCP service: (address, port, account), the account empty for one in plain text."""
    places = [
        Endpoint(
            ip_address(address),
            (("p", port),),
            identity=f"ns/shop/sa/{account}" if account else "",
        )
        for address, port, account in endpoints
    ]
    ports = (Port("p", PORT, AppProtocol.TCP),)
    return Host(NAME, "shop", Kind.SERVICE, (ip_address(VIP),), ports, tuple(places))


@contextmanager
def server(world, papers: Papers, log: Path, *options: str) -> Iterator[Path]:
    """openssl as a member that turns each line round; what it saw of its clients is in the log."""
    argv = ["openssl", "s_server", "-accept", f"{PEER}:{SECRET}", "-rev", *options]
    argv += [*papers.trust, "-Verify", "1", "-verify_return_error", "-alpn", "istio"]
    argv += ["-tlsextdebug", "-state"]
    with log.open("w") as file:
        child = subprocess.Popen(
            ["ip", "netns", "exec", world.net.far, *argv], stdout=file, stderr=file
        )
    try:
        deadline = time.monotonic() + 20
        while "ACCEPT" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield log
    finally:
        child.kill()
        child.wait()


def dumped(log: str) -> bytes:
    """The bytes that openssl has shown in hexadecimal."""
    lines = re.findall(r"^[0-9a-f]{4} - ((?:[0-9a-f]{2}[ -]?)+?)(?:  |$)", log, re.MULTILINE)
    return bytes.fromhex("".join(re.findall("[0-9a-f]{2}", " ".join(lines))))


def ask(world) -> str:
    """What the service answers to one line; empty where the connection is ended."""
    try:
        with world.connect(VIP, PORT) as link:
            link.settimeout(10)
            link.sendall(b"olleh\n")
            return str(link.makefile("r", errors="replace").readline().strip())
    except ConnectionError:
        return ""


def call_in(world, port: int, *options: str, line: str = "GET / HTTP/1.0\r\n\r\n") -> str:
    """What openssl says after it called this VM from elsewhere, and was answered."""
    argv = ["openssl", "s_client", "-connect", f"{VM4}:{port}", "-ign_eof", *options]
    done = subprocess.run(
        ["ip", "netns", "exec", world.net.far, *argv],
        input=line,
        capture_output=True,
        text=True,
        timeout=40,
    )
    return done.stdout + done.stderr


def curl_in(world, port: int) -> str:
    argv = ["curl", "-sS", "-m", "10", f"http://{VM4}:{port}/"]
    done = subprocess.run(
        ["ip", "netns", "exec", world.net.far, *argv], capture_output=True, text=True, timeout=20
    )
    return done.stdout + done.stderr


def test_a_member_is_called_by_mutual_tls_in_istio_s_words(secured, papers, tmp_path) -> None:
    secured.start()
    secured.mesh(bank((PEER, SECRET, "bank")))
    with server(secured, papers, tmp_path / "log", *papers.leaf(spiffe("bank"))) as log:
        assert ask(secured) == "hello"
        said = log.read_text()
    assert f"outbound_.{PORT}_._.{NAME}".encode() in dumped(said), "the SNI of a sidecar"
    assert b"\x05istio" in dumped(said), "its ALPN"
    assert "Verification: OK" in said, "our own certificate was taken by openssl"
    assert "Protocol version: TLSv1.3" in said


@pytest.mark.parametrize("why", ["another name", "another root", "expired", "no name at all"])
def test_a_server_that_is_not_who_the_mesh_says_hears_nothing(
    secured, papers, tmp_path, why: str
) -> None:
    own = {
        "another name": papers.leaf(spiffe("thief")),
        "another root": papers.leaf(spiffe("bank"), papers.rival),
        "expired": papers.leaf(spiffe("bank"), ends_s=-60),
        "no name at all": papers.leaf("https://bank.example"),
    }[why]
    secured.start()
    secured.mesh(bank((PEER, SECRET, "bank")))
    with server(secured, papers, tmp_path / "log", *own) as log:
        assert ask(secured) == ""
        assert "olleh" not in log.read_text()
    failed = secured.stats("ssl.fail_verify")
    assert any(failed.values()), failed


def test_plain_and_secret_endpoints_of_one_host_both_work(secured, papers, tmp_path) -> None:
    net = secured.net
    child = net.serve(net.far, f"tcp:plain:{PLAIN}:{OTHER}")
    try:
        secured.start()
        secured.mesh(bank((PEER, SECRET, "bank"), (OTHER, PLAIN, "")))
        with server(secured, papers, tmp_path / "log", *papers.leaf(spiffe("bank"))):
            heard = {ask(secured).split()[0] for _ in range(8)}
        assert heard == {"hello", "plain"}
    finally:
        net.end(child)


def test_an_endpoint_that_learns_to_speak_tls_is_called_so_at_once(
    secured, papers, tmp_path
) -> None:
    secured.start()
    secured.mesh(bank((PEER, SECRET, "")))
    with server(secured, papers, tmp_path / "log", *papers.leaf(spiffe("bank"))):
        assert ask(secured) != "hello", "in plain text it is not understood"
        secured.mesh(bank((PEER, SECRET, "bank")))
        assert ask(secured) == "hello"
        secured.mesh(bank((PEER, SECRET, "other")))
        assert ask(secured) == "", "it has another name now"


@pytest.fixture
def application(net):
    child = net.serve(net.vm, f"http:app:{PLAIN}:0.0.0.0")
    yield child
    net.end(child)


def serving() -> Host:
    places = (Endpoint(ip_address(VM4), (("p", PLAIN),)),)
    ports = (Port("p", 80, AppProtocol.HTTP),)
    address = (ip_address("10.96.0.41"),)
    return Host("app.shop.svc.cluster.local", "shop", Kind.SERVICE, address, ports, places)


def test_strict_takes_members_only(secured, papers, application) -> None:
    secured.set(policy=Policy(Mode.STRICT))
    secured.start()
    secured.mesh(serving())
    mine, alpn = papers.leaf(spiffe("caller")), ("-alpn", "istio")
    said = call_in(secured, PLAIN, *papers.trust, *mine, *alpn)
    assert '"name": "app"' in said
    assert "Verification: OK" in said, "ours is a certificate that openssl takes"
    assert '"name"' in call_in(secured, PLAIN, *mine), "whatever ALPN it speaks"
    assert '"name"' not in curl_in(secured, PLAIN), "plain text"
    assert '"name"' not in call_in(secured, PLAIN, *alpn), "no certificate"
    rival = papers.leaf(spiffe("caller"), papers.rival)
    assert '"name"' not in call_in(secured, PLAIN, *rival, *alpn), "another root's"
    foreign = papers.leaf("spiffe://example.org/ns/shop/sa/caller")
    assert '"name"' not in call_in(secured, PLAIN, *foreign, *alpn), "another trust domain's"
    old = ("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
    assert "Cipher is (NONE)" in call_in(secured, PLAIN, *mine, *old)
    weak = ("-tls1_2", "-cipher", "AES256-GCM-SHA384:ECDHE-ECDSA-AES256-SHA")
    assert "Cipher is (NONE)" in call_in(secured, PLAIN, *mine, *weak)


def test_permissive_takes_both_and_a_certificate_must_still_be_good(
    secured, papers, application
) -> None:
    secured.start()
    secured.mesh(serving())
    alpn = ("-alpn", "istio")
    assert '"name": "app"' in curl_in(secured, PLAIN)
    assert '"name": "app"' in call_in(secured, PLAIN, *papers.leaf(spiffe("caller")), *alpn)
    rival = papers.leaf(spiffe("caller"), papers.rival)
    assert '"name"' not in call_in(secured, PLAIN, *rival, *alpn)
    assert '"name"' not in call_in(secured, PLAIN, *alpn), "no certificate"


def test_permissive_lets_a_server_speak_first(secured, net) -> None:
    child = net.serve(net.vm, "tcp:db:9090:0.0.0.0")
    greet = f"import socket;print(socket.create_connection(('{VM4}',9090),20).recv(99))"
    try:
        secured.start()
        argv = ["ip", "netns", "exec", net.far, "/usr/bin/python3", "-c", greet]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=40)
        assert "db" in done.stdout, done.stderr
    finally:
        net.end(child)


def test_a_port_without_a_service_is_as_strict_as_the_others(secured, papers, application) -> None:
    secured.set(policy=Policy(Mode.STRICT))
    secured.start()
    assert '"name"' not in curl_in(secured, PLAIN)
    assert '"name": "app"' in call_in(secured, PLAIN, *papers.leaf(spiffe("caller")))


def shown(world, papers: Papers) -> str:
    """The name in the certificate that this VM shows to a caller."""
    said = call_in(world, PLAIN, *papers.leaf(spiffe("caller")))
    (found,) = certificate.read(said.encode())
    return found.spiffe


def test_a_new_certificate_is_shown_from_then_on(secured, papers, application) -> None:
    secured.set(policy=Policy(Mode.STRICT))
    secured.start()
    secured.mesh(serving())
    assert shown(secured, papers) == spiffe("vm")
    renew(secured, papers, "renewed")
    deadline = time.monotonic() + 15
    while shown(secured, papers) != spiffe("renewed"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
