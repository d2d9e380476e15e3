"""Names that were asked, and what an address is called by them."""

from __future__ import annotations

import itertools

from interceptor.debug import asking
from interceptor.debug.asking import Asking
from interceptor.debug.dnsanswer import Lookup
from interceptor.debug.observed import Asked
from interceptor.mesh.outcome import AAAA, PTR, SRV, TXT, A

SERVER, STUB = "192.0.2.53", "127.0.0.53"
CLIENT = ("192.0.2.1", 40000)
_numbers = itertools.count(1000)


def add(to: Asking, name: str, *addresses: str, qtype: int = A, server: str = SERVER) -> None:
    """Each with an id of its own, as a resolver takes a new one for each question."""
    to.add(Lookup(name, qtype, 0, addresses, ident=next(_numbers)), server, CLIENT)


def test_an_address_is_called_what_was_asked_for_last() -> None:
    one = Asking()
    add(one, "a.example", "192.0.2.7")
    add(one, "b.example", "192.0.2.7")
    add(one, "a.example", "192.0.2.7")
    assert one.names("192.0.2.7") == ("a.example", "b.example")
    assert one.names("192.0.2.8") == ()


def test_a_name_is_counted_with_what_came_of_it() -> None:
    one = Asking()
    add(one, "a.example", "192.0.2.7")
    add(one, "a.example", "2001:db8::7", qtype=AAAA)
    add(one, "a.example", qtype=AAAA)
    one.add(Lookup("a.example", A, 3, ident=77), SERVER, CLIENT)
    assert one.rows() == (
        Asked(
            "a.example",
            count=4,
            empty=2,
            failed=1,
            addresses=("192.0.2.7", "2001:db8::7"),
            servers=(SERVER,),
            types=("A", "AAAA"),
        ),
    )


def test_the_same_answer_on_two_devices_is_one() -> None:
    one = Asking()
    for _ in range(2):
        one.add(Lookup("a.example", A, 0, ident=5), SERVER, CLIENT)
    assert one.rows()[0].count == 1
    one.add(Lookup("a.example", A, 0, ident=6), SERVER, CLIENT)
    assert one.rows()[0].count == 2


def test_what_a_resolver_of_this_host_asks_others_is_the_same_question() -> None:
    one = Asking()
    add(one, "a.example", "192.0.2.7", server=SERVER)
    add(one, "a.example", "192.0.2.7", server=STUB)
    add(one, "a.example", "192.0.2.7", server=STUB)
    (row,) = one.rows()
    assert (row.count, row.servers) == (2, (SERVER, STUB))


def test_pointers_other_types_and_answers_cut_off_are_not_calls() -> None:
    one = Asking()
    add(one, "7.2.0.192.in-addr.arpa", qtype=PTR)
    add(one, "a.example", qtype=TXT)
    one.add(Lookup("a.example", A, 0, cut=True), SERVER, CLIENT)
    assert one.rows() == ()
    add(one, "_db._tcp.a.example", qtype=SRV)
    assert (one.rows()[0].types, one.rows()[0].empty) == (("SRV",), 0)


def test_etc_hosts_gives_an_address_its_first_name() -> None:
    one = Asking([("db", "192.0.2.9"), ("db-alias", "192.0.2.9")])
    assert (one.static("192.0.2.9"), one.static("192.0.2.1")) == ("db", "")


def test_more_names_than_are_kept_are_counted() -> None:
    one = Asking()
    for number in range(asking.MOST_NAMES + 3):
        one.add(Lookup(f"n{number}.example", A, 0, ident=number), SERVER, CLIENT)
    assert (len(one), one.left_out) == (asking.MOST_NAMES, 3)


def test_an_address_of_many_names_keeps_the_latest() -> None:
    one = Asking()
    for number in range(20):
        add(one, f"n{number}.example", "192.0.2.7")
    names = one.names("192.0.2.7")
    assert (len(names), names[0]) == (asking.MOST_A_ADDRESS, "n19.example")
