"""bpf(2) by itself: programs, links, pins, objects by descriptor. linux/bpf.h, union bpf_attr.

Every descriptor that is returned belongs to the caller and is close-on-exec.
Whatever the kernel refuses is an OSError with its errno, but for a program
that the verifier refuses: VerifierError. Maps are in `host/bpfmap.py`.
"""

from __future__ import annotations

import ctypes
import enum
import os
import platform
import resource
import struct
from dataclasses import dataclass
from functools import cache

from interceptor.errors import VerifierError

LICENSE = b"Dual BSD/GPL\0"
NAME_SIZE = 16  # BPF_OBJ_NAME_LEN, final zero included
LOG_BYTES = (1 << 24) - 1  # the most that kernels up to 5.x take
LOG_LINES = 12
TEST_RUN_BYTES = 1 << 16  # room for what a test run gives back

_NUMBERS = {"x86_64": 321, "aarch64": 280}  # __NR_bpf
_LIBC = ctypes.CDLL(None, use_errno=True)


class Command(enum.IntEnum):
    """enum bpf_cmd."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    OBJ_PIN = 6
    OBJ_GET = 7
    PROG_TEST_RUN = 10
    PROG_GET_FD_BY_ID = 13
    MAP_GET_FD_BY_ID = 14
    OBJ_GET_INFO_BY_FD = 15
    PROG_QUERY = 16
    BTF_LOAD = 18
    MAP_LOOKUP_BATCH = 24
    MAP_UPDATE_BATCH = 26
    MAP_DELETE_BATCH = 27
    LINK_CREATE = 28
    LINK_UPDATE = 29
    LINK_GET_FD_BY_ID = 30
    LINK_GET_NEXT_ID = 31
    LINK_DETACH = 34


class ProgramType(enum.IntEnum):
    """enum bpf_prog_type, those in use."""

    SCHED_CLS = 3
    CGROUP_SOCK = 9
    SOCK_OPS = 13
    CGROUP_SOCK_ADDR = 18
    CGROUP_SOCKOPT = 25
    SK_LOOKUP = 30


class AttachType(enum.IntEnum):
    """enum bpf_attach_type, those in use. NONE for programs that have none (tc)."""

    NONE = 0
    CGROUP_INET_SOCK_CREATE = 2
    CGROUP_SOCK_OPS = 3
    CGROUP_INET4_CONNECT = 10
    CGROUP_INET6_CONNECT = 11
    CGROUP_GETSOCKOPT = 21
    CGROUP_INET4_GETPEERNAME = 29
    CGROUP_INET6_GETPEERNAME = 30
    SK_LOOKUP = 36
    TCX_INGRESS = 46
    TCX_EGRESS = 47


@cache
def _prepare() -> int:
    """The number of bpf(2). Kernels before 5.11 count maps against RLIMIT_MEMLOCK: none for us."""
    release = tuple(int(part) for part in platform.release().split(".")[:2])
    if release < (5, 11):
        both = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, both)
    try:
        return _NUMBERS[platform.machine()]
    except KeyError:
        raise OSError(38, f"bpf(2) has no known number on {platform.machine()}") from None


def call(command: Command, attributes: bytes | ctypes.Array[ctypes.c_char]) -> int:
    """One bpf(2). Attributes may be shorter than the kernel's; an array is written back to."""
    number = _prepare()
    size = len(attributes)
    buffer = attributes
    if isinstance(buffer, bytes):
        buffer = ctypes.create_string_buffer(buffer, size)
    result: int = _LIBC.syscall(number, int(command), buffer, size)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{command.name}: {os.strerror(code)}")
    return result


def address(buffer: bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Where ``buffer`` lies. The caller keeps it alive over the call; bytes are not written to."""
    if buffer is None:
        return 0
    if isinstance(buffer, bytes):
        return ctypes.cast(ctypes.c_char_p(buffer), ctypes.c_void_p).value or 0
    return ctypes.addressof(buffer)


def object_name(name: str) -> bytes:
    """What a name becomes in the kernel: 15 bytes of letters, digits, `_` and `.`."""
    return name.encode()[: NAME_SIZE - 1]


def load_program(name: str, kind: ProgramType, attach: AttachType, instructions: bytes) -> int:
    """Load resolved instructions. The log is asked for only after a refusal: it costs time.

    Raises VerifierError where the verifier refuses them, OSError where the
    kernel does not know the type (EINVAL without a log) or we may not (EPERM).
    """
    try:
        return _load(name, kind, attach, instructions, None)
    except PermissionError:
        if os.geteuid() != 0:
            raise
    except OSError:
        pass
    log = ctypes.create_string_buffer(LOG_BYTES)
    try:
        return _load(name, kind, attach, instructions, log)
    except OSError as error:
        lines = log.value.decode(errors="replace").splitlines()
        if not lines:
            raise
        raise VerifierError(name, error.errno or 0, tuple(lines[-LOG_LINES:])) from error


def _load(
    name: str,
    kind: ProgramType,
    attach: AttachType,
    instructions: bytes,
    log: ctypes.Array[ctypes.c_char] | None,
) -> int:
    attributes = struct.pack(
        "=IIQQIIQII16sII",
        *(kind, len(instructions) // 8, address(instructions), address(LICENSE)),
        *((1, len(log), address(log)) if log is not None else (0, 0, 0)),
        *(0, 0, object_name(name), 0, attach),
    )
    return call(Command.PROG_LOAD, attributes)


def pin(descriptor: int, path: str) -> None:
    """Give an object a name on a bpffs. Raises FileExistsError, or PermissionError elsewhere."""
    name = path.encode() + b"\0"
    call(Command.OBJ_PIN, struct.pack("=QII", address(name), descriptor, 0))


def get(path: str) -> int:
    """The object behind a pin. Raises FileNotFoundError."""
    name = path.encode() + b"\0"
    return call(Command.OBJ_GET, struct.pack("=QII", address(name), 0, 0))


def info(descriptor: int, size: int) -> bytes:
    """The first ``size`` bytes of what the kernel tells of an object; zeros where it tells less."""
    buffer = ctypes.create_string_buffer(size)
    attributes = struct.pack("=IIQ", descriptor, size, address(buffer))
    call(Command.OBJ_GET_INFO_BY_FD, attributes)
    return buffer.raw


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """A loaded program. ``tag``: hash of its instructions, as `bpftool` and `tc` print it."""

    id: int
    kind: int
    tag: str
    name: str


def program_info(descriptor: int) -> ProgramInfo:
    """struct bpf_prog_info: type, id, tag[8] at 0; name[16] at 64."""
    raw = info(descriptor, 80)
    kind, number = struct.unpack_from("=II", raw)
    return ProgramInfo(number, kind, raw[8:16].hex(), raw[64:80].rstrip(b"\0").decode())


def program_by_id(number: int) -> int:
    """A descriptor of a loaded program. Raises FileNotFoundError."""
    return call(Command.PROG_GET_FD_BY_ID, struct.pack("=III", number, 0, 0))


@dataclass(frozen=True, slots=True)
class Run:
    """What BPF_PROG_TEST_RUN gave: the program's result, packet and context behind it."""

    result: int
    data: bytes
    context: bytes
    duration_ns: int


def run_program(program: int, data: bytes, context: bytes = b"", repeat: int = 1) -> Run:
    """Run a program on a packet (and a context struct); ``duration_ns`` is the mean of a run."""
    out = ctypes.create_string_buffer(TEST_RUN_BYTES)
    context_out = ctypes.create_string_buffer(max(len(context), 1))
    attributes = ctypes.create_string_buffer(
        struct.pack(
            "=IIIIQQIIIIQQ",
            *(program, 0, len(data), len(out) if data else 0),
            *(address(data) if data else 0, address(out) if data else 0),
            *(repeat, 0, len(context), len(context)),
            *((address(context), address(context_out)) if context else (0, 0)),
        ),
        64,
    )
    call(Command.PROG_TEST_RUN, attributes)
    result, _, size = struct.unpack_from("=III", attributes, 4)
    duration_ns = struct.unpack_from("=I", attributes, 36)[0]
    return Run(result, out.raw[:size], context_out.raw[: len(context)], duration_ns)
