"""One DNS query from a socket of its own: `asker.py SERVER NAME TYPE [MARK]` prints the answer.

Prints the addresses in their order of sorting, `rcode N` where there are none, `lost` after a
second without an answer, or `error N` where the kernel refused to send.
"""

import socket
import sys

from dnslib import DNSRecord

server, name, kind, *rest = sys.argv[1:]
family = socket.AF_INET6 if ":" in server else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as asker:
    asker.settimeout(1)
    # As libc's resolver does: with this, a dropped packet would be an error of sendto.
    level, option = (41, 25) if family == socket.AF_INET6 else (0, 11)
    asker.setsockopt(level, option, 1)
    if rest:
        asker.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, int(rest[0]))
    question = DNSRecord.question(name, kind)
    try:
        asker.connect((server, 53))
        asker.send(bytes(question.pack()))
        answer = DNSRecord.parse(asker.recv(4096))
    except TimeoutError:
        print("lost")
    except OSError as error:
        print("error", error.errno)
    else:
        assert answer.header.id == question.header.id
        found = sorted(str(rr.rdata) for rr in answer.rr)
        print(*found or ("rcode", answer.header.rcode))
