"""A real Envoy that gets its certificates from us: taken, replaced under load, roots changed.

One Envoy is both sides: a plain listener sends each request over a new connection of mutual TLS
to its own other listener, so that every request is a handshake with what both sides have then.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from interceptor.config import parse
from interceptor.proving import Proving
from interceptor.sidecar import binary
from interceptor.workload import certificate
from interceptor.workload.identity import Identity
from tests.unit.workload.made import WHO, Authority, Service, token

pytestmark = [pytest.mark.root, pytest.mark.envoy]

USER = 1337
PATIENCE_S = 60.0
PLAIN, MUTUAL, FILES = 9000, 9443, 9444
EXTENSIONS = "type.googleapis.com/envoy.extensions"
TLS = f"{EXTENSIONS}.transport_sockets.tls.v3"

LOAD = """
import http.client, json, sys, threading
done, bad, end = 0, [], threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), end.set()), daemon=True).start()
while not end.is_set():
    link = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
    try:
        link.request("GET", "/")
        answer = link.getresponse()
        answer.read()
        if answer.status != 200: bad.append(answer.status)
    except OSError as error:
        bad.append(str(error))
    link.close()
    done += 1
    if done == 1: print("begun", flush=True)
print(json.dumps({"done": done, "bad": bad}))
"""


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _secret(name: str, api_type: str) -> dict[str, Any]:
    source = {
        "api_type": api_type,
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
    }
    return {
        "name": name,
        "sds_config": {"api_config_source": source, "resource_api_version": "V3"},
    }


def _common(pair: str, roots: str, api_type: str) -> dict[str, Any]:
    names = [{"san_type": "URI", "matcher": {"exact": WHO}}]
    return {
        "tls_certificate_sds_secret_configs": [_secret(pair, api_type)],
        "combined_validation_context": {
            "default_validation_context": {"match_typed_subject_alt_names": names},
            "validation_context_sds_secret_config": _secret(roots, api_type),
        },
    }


def _socket(kind: str, common: dict[str, Any], **more: Any) -> dict[str, Any]:
    config = {"@type": f"{TLS}.{kind}TlsContext", "common_tls_context": common, **more}
    return {"name": "tls", "typed_config": config}


def _listener(port: int, route: dict[str, Any], tls: dict[str, Any] | None) -> dict[str, Any]:
    manager = {
        "@type": f"{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": f"p{port}",
        "route_config": {
            "virtual_hosts": [
                {"name": "a", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **route}]}
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{EXTENSIONS}.filters.http.router.v3.Router"},
            }
        ],
    }
    chain: dict[str, Any] = {
        "filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        ]
    }
    if tls is not None:
        chain["transport_socket"] = tls
    return {"name": str(port), "address": _address(port), "filter_chains": [chain]}


def _cluster(name: str, address: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    kind = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    typed = {"@type": f"type.googleapis.com/{kind}", **options}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "30s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
        "typed_extension_protocol_options": {kind: typed},
    }


def bootstrap(folder: Path, sds: Path, files: str) -> dict[str, Any]:
    """State of the world for the servers' sides, delta for the client's."""
    ok = {"direct_response": {"status": 200, "body": {"inline_string": "ok"}}}
    mutual = _socket(
        "Downstream", _common("default", "ROOTCA", "GRPC"), require_client_certificate=True
    )
    plain = {"tls_certificate_sds_secret_configs": [_secret(files, "GRPC")]}
    once = {
        "explicit_http_config": {"http_protocol_options": {}},
        "common_http_protocol_options": {"max_requests_per_connection": 1},
    }
    two: dict[str, Any] = {"explicit_http_config": {"http2_protocol_options": {}}}
    far = _cluster("far", _address(MUTUAL), once)
    far["transport_socket"] = _socket("Upstream", _common("default", "ROOTCA", "DELTA_GRPC"))
    return {
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": {"pipe": {"path": str(folder / "admin")}}},
        "static_resources": {
            "listeners": [
                _listener(PLAIN, {"route": {"cluster": "far", "timeout": "60s"}}, None),
                _listener(MUTUAL, ok, mutual),
                _listener(FILES, ok, _socket("Downstream", plain)),
            ],
            "clusters": [far, _cluster("sds-grpc", {"pipe": {"path": str(sds)}}, two)],
        },
    }


@dataclass
class Envoy:
    """In a network namespace of its own, as the sidecar's user."""

    namespace: str
    folder: Path
    child: subprocess.Popen[bytes]

    def argv(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *words]

    def stats(self, pattern: str) -> dict[str, int]:
        url = f"http://a/stats?filter={pattern}"
        words = ["curl", "-sS", "--unix-socket", str(self.folder / "admin"), url]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        pairs = (line.split(": ") for line in done.stdout.splitlines())
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}

    def shown(self, port: int, *words: str) -> str:
        """SHA-256 of the certificate that a listener shows to openssl; "" without an answer."""
        ask = self.argv("openssl", "s_client", "-connect", f"127.0.0.1:{port}", *words)
        done = subprocess.run(ask, input=b"", capture_output=True, timeout=60)
        read = ["openssl", "x509", "-noout", "-fingerprint", "-sha256"]
        found = subprocess.run(read, input=done.stdout, capture_output=True, timeout=60)
        return found.stdout.decode().partition("=")[2].strip().replace(":", "").lower()

    def status(self, *words: str) -> str:
        """What curl gets from the listener of mutual TLS."""
        url = f"https://127.0.0.1:{MUTUAL}/"
        ask = self.argv("curl", "-sk", "-m", "30", "-w", "%{http_code}", *words, url)
        return subprocess.run(ask, capture_output=True, text=True, timeout=60).stdout


@contextmanager
def running(folder: Path, sds: Path, files: str) -> Iterator[Envoy]:
    namespace = f"sds-{os.getpid()}-{secrets.token_hex(2)}"
    (folder / "envoy").mkdir()
    os.chown(folder / "envoy", USER, USER)
    config = folder / "envoy" / "envoy.json"
    config.write_text(json.dumps(bootstrap(folder / "envoy", sds, files)))
    program = str(binary.find(None))
    become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    flags = ["-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    try:
        enter = ["ip", "netns", "exec", namespace]
        subprocess.run([*enter, "ip", "link", "set", "lo", "up"], check=True)
        with open(folder / "envoy.log", "wb") as log:
            child = subprocess.Popen([*enter, *become, program, *flags], stdout=log, stderr=log)
        try:
            yield Envoy(namespace, folder / "envoy", child)
        finally:
            child.kill()
            child.wait()
    finally:
        subprocess.run(["ip", "netns", "del", namespace], check=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, for sockets; passable for the sidecar's user."""
    path = Path(f"/run/ixsds-{os.getpid()}-{secrets.token_hex(2)}")
    path.mkdir(mode=0o711)
    yield path
    subprocess.run(["rm", "-r", str(path)], check=True)


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, "in vain"
        await asyncio.sleep(0.05)


def config_of(folder: Path, service: Service) -> str:
    (folder / "root.pem").write_bytes(service.authority.root.certificate)
    (folder / "token").write_text(token(certificate.now_s() + 3600))
    istiod = {
        "addresses": [f"127.0.0.1:{service.port}"],
        "root_cert": f"{folder}/root.pem",
        "token": f"{folder}/token",
        "connect_timeout_ms": 30000,
    }
    tree = {
        "node": {"namespace": "shop", "service_account": "web"},
        "agent": {"run_dir": f"{folder}/run"},
        "mesh": {"state_dir": f"{folder}/state", "istiod": istiod},
        "identity": {"provider": "istiod", "dir": f"{folder}/state/identity"},
    }
    return json.dumps(tree)


def write_pair(folder: Path, authority: Authority) -> str:
    """Key and certificate of files, readable for the sidecar; its SHA-256."""
    made = authority.credential()
    for name, data in (("key", made.key_pem), ("cert", made.chain_pem)):
        draft = folder / f"{name}.new"
        draft.write_bytes(data)
        os.chown(draft, 0, USER)
        draft.chmod(0o640)
        draft.rename(folder / name)
    return made.fingerprint


def test_certificates_and_roots_change_under_load_and_no_request_fails(folder: Path) -> None:
    async def go() -> None:
        service = Service()
        async with service.serving():
            proving = Proving(parse(config_of(folder, service)))
            by_file = write_pair(folder, service.authority)
            await proving.open()
            try:
                assert proving.sds is not None
                with running(folder, proving.sds, f"file-cert:{folder}/key~{folder}/cert") as envoy:
                    await change(envoy, proving, service)
                    assert envoy.shown(FILES) == by_file
                    fresh = await asyncio.to_thread(write_pair, folder, service.authority)
                    await until(lambda: envoy.shown(FILES) == fresh)
            finally:
                await proving.close()

    asyncio.run(go())


def begin(envoy: Envoy) -> subprocess.Popen[str]:
    return subprocess.Popen(
        envoy.argv(sys.executable, "-c", LOAD, str(PLAIN)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def answer(by: Authority, roots: bytes, csr: bytes) -> list[bytes]:
    return [by.answer(csr)[0], roots]


async def replaced(envoy: Envoy, identity: Identity) -> str:
    """The certificate that Envoy shows once it has another one."""
    count = identity.renewals
    identity.renew()
    await until(lambda: identity.renewals > count)
    current = identity.current
    assert current is not None
    await until(lambda: envoy.shown(MUTUAL) == current.fingerprint)
    return current.fingerprint


async def change(envoy: Envoy, proving: Proving, service: Service) -> None:
    """Three certificates, then the root in three steps, as an authority changes it."""
    identity = proving.identity
    assert identity is not None
    await until(lambda: envoy.shown(MUTUAL))
    load = await asyncio.to_thread(begin, envoy)
    try:
        assert load.stdout is not None
        assert await asyncio.to_thread(load.stdout.readline) == "begun\n"
        old, new = service.authority, Authority()
        both = old.root.certificate + new.root.certificate
        seen = {await asyncio.to_thread(envoy.shown, MUTUAL)}
        for authority, roots in (
            (old, old.root.certificate),
            (old, old.root.certificate),
            (old, both),
            (new, both),
            (new, new.root.certificate),
        ):
            service.decide = partial(answer, authority, roots)
            seen.add(await replaced(envoy, identity))
        assert len(seen) == 6
        output, _ = await asyncio.to_thread(load.communicate, "", PATIENCE_S)
    finally:
        load.kill()
        load.wait()
    result = json.loads(output)
    assert result["bad"] == []
    assert result["done"] > 20
    stats = await asyncio.to_thread(envoy.stats, "ssl.handshake|sds.*update_|ssl.fail")
    assert stats["cluster.far.ssl.handshake"] >= result["done"]
    assert stats[f"listener.127.0.0.1_{MUTUAL}.ssl.fail_verify_error"] == 0
    assert stats["cluster.far.ssl.fail_verify_error"] == 0
    print(f"{result['done']} handshakes, 0 failed; {stats}")
    assert proving.status()["alarms"] == []
    await refuse(envoy, service, new)


async def refuse(envoy: Envoy, service: Service, trusted: Authority) -> None:
    """A client of the old root, or without a certificate, has no way in; one of ours has."""

    def ask(by: Authority | None) -> str:
        if by is None:
            return envoy.status()
        made, place = by.credential(), envoy.folder / "client.pem"
        place.write_bytes(made.key_pem + made.chain_pem)
        return envoy.status("--cert", str(place))

    assert await asyncio.to_thread(ask, trusted) == "ok200"
    assert await asyncio.to_thread(ask, service.authority) == "000"
    assert await asyncio.to_thread(ask, None) == "000"


def test_nobody_else_reads_key_or_socket(folder: Path) -> None:
    """By the kernel's word, as a user who is neither root nor the sidecar."""
    stranger = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
    sidecar = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    connect = "import socket,sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    read = "import sys; open(sys.argv[1],'rb').read()"

    def may(who: list[str], script: str, path: Path) -> bool:
        words = [*who, "/usr/bin/python3", "-c", script, str(path)]
        return subprocess.run(words, capture_output=True, cwd="/").returncode == 0

    async def go() -> None:
        async with Service().serving() as service:
            proving = Proving(parse(config_of(folder, service)))
            await proving.open()
            try:
                identity, sds = proving.identity, proving.sds
                assert identity is not None
                assert sds is not None
                await until(lambda: identity.current)
                kept = folder / "state" / "identity" / "identity.pem"
                await until(kept.exists)
                (folder / "state").chmod(0o755)
                assert await asyncio.to_thread(may, sidecar, connect, sds)
                assert not await asyncio.to_thread(may, stranger, connect, sds)
                for who in (stranger, sidecar):
                    assert not await asyncio.to_thread(may, who, read, kept)
                assert await asyncio.to_thread(may, [], read, kept)
            finally:
                await proving.close()

    asyncio.run(go())
