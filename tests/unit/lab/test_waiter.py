from __future__ import annotations

from ipaddress import IPv4Address

from interceptor.lab import waiter

ADDRESS = IPv4Address("192.0.2.7")


def reply(question: bytes, address: IPv4Address) -> bytes:
    """A response with one A record, its owner a pointer to the question."""
    return (
        question[:2]
        + b"\x85\x80"
        + question[4:]
        + b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4"
        + (address.packed)
    )


def test_a_query_asks_for_one_address_record() -> None:
    question = waiter.encode("a.example", 0x1234)
    assert question == b"\x12\x34\1\0\0\1\0\0\0\0\0\0\1a\7example\0\0\1\0\1"


def test_the_address_counts_only_in_the_answer_to_this_very_question() -> None:
    question = waiter.encode("a.example", 1)
    assert waiter.holds(reply(question, ADDRESS), question, ADDRESS)
    assert not waiter.holds(reply(question, ADDRESS + 1), question, ADDRESS)
    assert not waiter.holds(reply(waiter.encode("a.example", 2), ADDRESS), question, ADDRESS)
    assert not waiter.holds(question, question, ADDRESS)
