from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

from interceptor.host import command, serving


def ask(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        client.settimeout(5)
        try:
            return client.recv(10)
        except ConnectionError:
            return b"reset"


async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    writer.close()


def test_connections_are_served_and_the_kernel_s_queue_is_long() -> None:
    async def main() -> None:
        listener = serving.bind_tcp("127.0.0.1", 0)
        port = listener.getsockname()[1]
        server = await serving.serve_streams(greet, listener)
        answers = await asyncio.gather(*(asyncio.to_thread(ask, port) for _ in range(20)))
        assert set(answers) == {b"hello"}
        line = command.run(["ss", "-ltnH", f"sport = :{port}"]).stdout.split()
        assert line[2] == str(serving.QUEUE)
        server.close()
        await server.wait_closed()

    asyncio.run(main())


def test_one_connection_too_many_is_reset() -> None:
    async def main() -> None:
        listener = serving.bind_tcp("::1", 0)
        listener.close()
        listener = serving.bind_tcp("127.0.0.1", 0)
        port = listener.getsockname()[1]
        server = await serving.serve(asyncio.Protocol, listener, lambda: False)
        assert await asyncio.to_thread(ask, port) in (b"", b"reset")
        server.close()

    asyncio.run(main())


def test_a_unix_socket_is_served(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")

    async def main() -> None:
        server = await serving.serve_streams(greet, serving.bind_unix(path))
        reader, writer = await asyncio.open_unix_connection(path)
        assert await reader.read() == b"hello"
        writer.close()
        server.close()

    asyncio.run(main())


def test_without_descriptors_it_waits_quietly_and_goes_on_afterwards() -> None:
    code = """
import asyncio, os, resource, socket, sys, time
from interceptor.host import serving
complaints = []
async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, what: complaints.append(what["message"]))
    async def greet(_, writer):
        writer.write(b"hello"); writer.close()
    listener = serving.bind_tcp("127.0.0.1", 0)
    server = await serving.serve_streams(greet, listener)
    clients = [socket.socket() for _ in range(30)]
    for client in clients:
        client.setblocking(False)
    top = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 4096))
    used = time.process_time()
    for client in clients:
        try:
            client.connect(listener.getsockname())
        except BlockingIOError:
            pass
    await asyncio.sleep(2.5)
    used = time.process_time() - used
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    for client in clients:
        assert await asyncio.wait_for(loop.sock_recv(client, 10), 5) == b"hello"
    print(len(complaints), used < 0.5)
asyncio.run(main())
"""
    count, is_calm = command.run([sys.executable, "-c", code]).stdout.split()
    assert 1 <= int(count) <= 5
    assert is_calm == "True"


def test_whoever_waits_is_taken_before_the_listener_ends() -> None:
    async def run() -> int:
        served = 0

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal served
            served += 1
            writer.close()

        listener = serving.bind_tcp("127.0.0.1", 0)
        port = listener.getsockname()[1]
        server = await serving.serve_streams(accept, listener)
        waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
        assert served == 0, "nobody has been accepted yet"
        await serving.accept_waiting(server)
        server.close()
        await asyncio.sleep(0)
        for one in waiting:
            one.close()
        return served

    assert asyncio.run(run()) == 20
