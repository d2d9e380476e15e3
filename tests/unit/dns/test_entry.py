"""Entries of the kernel's maps: looked up by the program's rule, they mean what the table means."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.dns import entry, suffix
from interceptor.dns.entry import Touched, Value
from interceptor.host.layout import (
    ADDRESSES,
    HASH_FACTOR,
    LOCALE_HEAD,
    MARK_CLUSTER,
    MARK_OWN,
    MARK_ROOT,
    NAME_SIZE,
    NAME_VALUE,
    SEARCHES,
    SUFFIX,
    ZONES,
    LocaleFlag,
    Suffix,
    ValueFlag,
)
from interceptor.mesh import record
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Endpoint, Host, Kind, Locale
from interceptor.mesh.outcome import AAAA, TXT, A, Verdict

A1, A2, S1 = ip_address("10.0.0.1"), ip_address("10.0.0.2"), ip_address("fd00::1")


@dataclass
class Tables:
    """What the kernel would hold."""

    locale: bytes = b""
    names: dict[bytes, bytes] = field(default_factory=dict)
    wild: dict[bytes, bytes] = field(default_factory=dict)

    def suffix(self, place: int) -> bytes:
        value, length, _ = SUFFIX.unpack_from(self.locale, LOCALE_HEAD.size + place * SUFFIX.size)
        return bytes(value[len(value) - length :])


def publish(answers: Answers) -> Tables:
    """Everything, as a publisher does it."""
    directory, tables = answers.directory, Tables()
    suffixes = suffix.choose(directory.locale)
    for name in entry.names(directory, suffixes):
        place(tables, answers, suffixes, name)
    tables.locale = suffix.encode_locale(
        suffixes, directory.locale.ttl_s, LocaleFlag(0), ~0 & (1 << 64) - 1
    )
    return tables


def place(tables: Tables, answers: Answers, suffixes: suffix.Suffixes, name: str) -> None:
    try:
        if name.startswith("*."):
            store = tables.wild
            pairs = [entry.wild_pair(answers.directory, suffixes, name[2:])]
        else:
            store = tables.names
            pairs = entry.pairs(answers.directory, suffixes, name)
    except ValueError:
        return
    for key, value in pairs:
        if value is None:
            store.pop(key, None)
        else:
            store[key] = value


# --- the program's rule, as bpf/include/layout.h has it


def labels(name: bytes) -> list[int]:
    """Where the labels of a wire name begin."""
    at, found = 0, []
    while name[at]:
        found.append(at)
        at += name[at] + 1
    return found


def rest(name: bytes, end: bytes) -> bytes | None:
    """What stands before a suffix, without root; None where nothing does."""
    at = len(name) - len(end)
    return name[:at] if end and at > 0 and at in labels(name) and name[at:] == end else None


def key(name: bytes, mark: int) -> bytes:
    return (name + bytes((mark,))).ljust(NAME_SIZE, b"\0")


def cut(name: bytes, tables: Tables, own: Suffix, cluster: Suffix) -> bytes | None:
    if (left := rest(name, tables.suffix(own))) is not None:
        return key(left, MARK_OWN)
    left = rest(name, tables.suffix(cluster))
    return key(left, MARK_CLUSTER) if left is not None else None


def short_forms(name: bytes, tables: Tables) -> list[bytes]:
    dots, found = len(labels(name)) - 1, []
    if dots >= 2 and (form := cut(name, tables, Suffix.OWN_SHORT, Suffix.CLUSTER_SHORT)):
        found.append(form)
    if dots >= 1:
        left = rest(name, tables.suffix(Suffix.NAMESPACE))
        found.append(key(name[:-1], MARK_CLUSTER) if left is None else key(left, MARK_OWN))
    if dots <= 1:
        found.append(key(name[:-1], MARK_OWN))
    return found


def named(name: bytes, tables: Tables) -> Value | None:
    whole = cut(name, tables, Suffix.OWN, Suffix.CLUSTER) or key(name[:-1], MARK_ROOT)
    extra: Value | None = None
    if (data := tables.names.get(whole)) is not None:
        extra = entry.decode_value(whole, data)
        if not extra.flags & ValueFlag.EXTRA:
            return extra
    for form in short_forms(name, tables):
        if (data := tables.names.get(form)) is not None:
            value = entry.decode_value(form, data)
            if not value.flags & ValueFlag.EXTRA:
                return value
    return extra


def wildcard(name: bytes, tables: Tables) -> Value | None:
    for at in labels(name)[1:]:
        end = key(name[at:-1], MARK_ROOT)
        if (data := tables.wild.get(end)) is not None:
            return entry.decode_value(end, data)
    return None


HANDED_OVER = Value(ValueFlag.HANDOVER, b"", b"", True)


def find(name: bytes, tables: Tables) -> tuple[Value | None, bytes]:
    """What the program makes of a wire name, and the zone of its SOA."""
    zones = [tables.suffix(Suffix.ZONES + n) for n in range(ZONES)]
    zone = next((z for z in zones if z and (name == z or rest(name, z) is not None)), b"")
    domain = tables.suffix(Suffix.DOMAIN)
    of_soa = zone or (domain if domain == name or rest(name, domain) is not None else name)
    value = named(name, tables)
    if value is not None:
        return value, of_soa
    searches = [tables.suffix(Suffix.SEARCH + n) for n in range(SEARCHES)]
    stripped = [left + b"\0" for s in searches if (left := rest(name, s)) is not None]
    if any(named(left, tables) for left in stripped):
        return HANDED_OVER, of_soa
    value = wildcard(name, tables)
    if value is not None:
        return value, of_soa
    if any(wildcard(left, tables) for left in stripped) or zone:
        return HANDED_OVER, of_soa
    return None, of_soa


# --- it means what the table means

LONG = "n" * 63
ADDRESS_LISTS = st.one_of(
    st.lists(st.sampled_from([A1, A2, S1]), unique=True),
    st.integers(9, 10).map(lambda n: [A1 + m for m in range(n)]),
)
MANY_ZONES = (*(f"z{n}.long" for n in range(4)), "b")
MANY_SEARCHES = (*(f"s{n}" for n in range(6)), "corp.test", "b")
FORWARD = tuple((zone, ("192.0.2.53",)) for zone in ("b", "a.a.b", "vm.svc.cluster.local", "svc"))
LOCALES = {
    "plain": Locale("vm"),
    "searches": Locale("vm", search=("vm.svc.cluster.local", "svc.cluster.local", "b")),
    "zones": Locale("vm", own_zones=("b", "a.b", "cluster.local", "svc")),
    "long namespace": Locale(LONG, search=("b",)),
    "long domain": Locale("vm", f"{LONG}.a.b", own_zones=("b",)),
    "many zones": Locale("vm", own_zones=MANY_ZONES),
    "more zones": Locale("vm", own_zones=(*MANY_ZONES, "a.z0.long", "vm", "b.vm")),
    "many searches": Locale("vm", search=MANY_SEARCHES, own_zones=(f"{LONG}.b",)),
    "forward zones": Locale(
        "vm", search=("b", "x.b"), own_zones=("a.b", "svc.cluster.local"), forward_zones=FORWARD
    ),
    "one word": Locale("svc", "svc", search=("svc", "svc.svc")),
}


def endings(locale: Locale) -> list[str]:
    """What makes names of a locale collide: its suffixes, whole and cut short."""
    cluster = f"svc.{locale.domain}"
    found = ["", f"{locale.namespace}.{cluster}", f"b.{cluster}", cluster, "svc", "b.svc"]
    found += [f"{locale.namespace}.svc", locale.namespace, locale.domain, "b", "a.b"]
    return [f".{end}" if end else "" for end in (*found, *locale.search[-2:], *locale.own_zones)]


def names_of(locale: Locale) -> st.SearchStrategy[str]:
    return st.builds(
        lambda parts, end: ".".join(parts) + end,
        st.lists(st.sampled_from("ab"), min_size=1, max_size=2),
        st.sampled_from(endings(locale)),
    )


def hosts_of(locale: Locale) -> st.SearchStrategy[Host]:
    return st.builds(
        lambda name, is_wild, kind, addresses, extra: Host(
            f"*.{name}" if is_wild else name,
            "x",
            kind,
            () if kind is Kind.EXTERNAL_NAME else tuple(addresses),
            endpoints=tuple(map(Endpoint, addresses)),
            external_name="a.test" if kind is Kind.EXTERNAL_NAME else "",
            extra_names=tuple(extra),
        ),
        names_of(locale),
        st.integers(0, 3).map(lambda n: n == 0),
        st.sampled_from([Kind.SERVICE] * 4 + [Kind.SERVICE_ENTRY, Kind.EXTERNAL_NAME]),
        ADDRESS_LISTS,
        st.lists(names_of(locale), max_size=2),
    )


def asked_for(name: str, locale: Locale) -> list[str]:
    """Names by which a host may be asked for: its own, shorter ones, expansions, and below it."""
    parts = name.split(".")
    shorter = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    longer = [short + end for short in shorter for end in endings(locale)]
    return [*shorter, *longer, f"x.{name}", f"x.a.{name}", *parts]


@settings(max_examples=80, deadline=None)
@given(st.data())
@pytest.mark.parametrize("shape", LOCALES)
def test_the_program_finds_what_the_table_says(shape: str, data: st.DataObject) -> None:
    locale = LOCALES[shape]
    hosts = data.draw(st.lists(hosts_of(locale), min_size=1, max_size=6))
    answers = Answers.build(hosts, locale)
    tables = publish(answers)
    for host in hosts:
        for name in (host.name, *host.extra_names):
            for asked in asked_for(name.removeprefix("*."), locale):
                check(answers, tables, asked)


def check(answers: Answers, tables: Tables, asked: str) -> None:
    """An answer from the kernel is the table's; what it passes is nobody's."""
    name = suffix.wire(asked) + b"\0"
    if len(name) > NAME_SIZE:
        return
    value, zone = find(name, tables)
    if value is not None and value.flags & ValueFlag.HANDOVER:
        return
    outcomes = {kind: answers.decide(asked, kind) for kind in (A, AAAA, TXT)}
    if value is None or value.flags & ValueFlag.PASS:
        match = answers.directory.find(asked)
        lost = suffix.choose(answers.locale).lost_searches
        is_passed = all(one.verdict is Verdict.PASS for one in outcomes.values())
        assert is_passed or (match is not None and match.search in lost)
    else:
        assert value.is_whole
        assert (outcomes[A].v4, outcomes[AAAA].v6) == (value.v4, value.v6)
        for one in outcomes.values():
            assert (one.owner, one.cnames) == (asked, ())
            assert one.verdict is (Verdict.ANSWER if one.has_data else Verdict.NODATA)
            assert suffix.wire(one.zone) + b"\0" == zone


@settings(deadline=None)
@given(st.data())
@pytest.mark.parametrize("shape", LOCALES)
def test_what_a_change_touches_is_all_that_it_changes(shape: str, data: st.DataObject) -> None:
    locale = LOCALES[shape]
    step = st.tuples(st.booleans(), hosts_of(locale))
    steps = data.draw(st.lists(step, max_size=12))
    followed = Answers(locale)
    tables = publish(followed)
    suffixes = suffix.choose(followed.locale)
    pointers: set[bytes] = set()
    for is_removal, host in steps:
        row = record.encode(host)
        touched = Touched()
        before = followed.directory.at(host.name)
        touched.add(host.name, before[0] if before else None)
        if is_removal:
            followed.directory.drop(host.name)
        else:
            followed.directory.put(host.name, row)
            touched.add(host.name, row)
        for name in touched.names:
            place(tables, followed, suffixes, name)
        for packed in touched.addresses:
            change = pointers.add if followed.directory.is_pointed(packed) else pointers.discard
            change(entry.pointer_key(packed))
    fresh = publish(followed)
    assert (tables.names, tables.wild) == (fresh.names, fresh.wild)
    assert pointers == set(map(entry.pointer_key, followed.directory.pointers()))


# --- values


def plain_hash(name: bytes, value: bytes) -> int:
    """As bpf/include/layout.h says it."""
    total = 0
    for word in (*struct.unpack("<16Q", name), *struct.unpack("<22Q", value)[1:]):
        total = (total + word) * HASH_FACTOR % (1 << 64)
    return total


@given(
    st.binary(max_size=NAME_SIZE),
    st.sampled_from(ValueFlag),
    st.lists(st.binary(min_size=4, max_size=4), max_size=ADDRESSES),
    st.lists(st.binary(min_size=16, max_size=16), max_size=ADDRESSES),
)
def test_a_value_says_what_it_was_given_and_bears_the_layout_s_hash(
    name: bytes, flags: ValueFlag, v4: list[bytes], v6: list[bytes]
) -> None:
    full = name.ljust(NAME_SIZE, b"\0")
    value = entry.encode_value(full, flags, b"".join(v4), b"".join(v6))
    assert len(value) == NAME_VALUE.size
    assert entry.decode_value(full, value) == Value(flags, b"".join(v4), b"".join(v6), True)
    assert NAME_VALUE.unpack(value)[0] == plain_hash(full, value)


def test_another_name_s_value_does_not_fit_the_hash() -> None:
    one, other = entry.encode_key("a.test", 0), entry.encode_key("b.test", 0)
    value = entry.encode_value(one, 0, A1.packed)
    assert not entry.decode_value(other, value).is_whole
    torn = value[:-1] + b"\1"
    assert not entry.decode_value(one, torn).is_whole


@pytest.mark.parametrize(
    ("host", "flags"),
    [
        (Host("a.test", "x", Kind.SERVICE_ENTRY), ValueFlag.PASS),
        (Host("a.test", "x", Kind.SERVICE), ValueFlag(0)),
        (Host("a.test", "x", Kind.EXTERNAL_NAME, external_name="b"), ValueFlag.HANDOVER),
        (Host("a.test", "x", Kind.SERVICE, tuple(A1 + n for n in range(8))), ValueFlag(0)),
        (Host("a.test", "x", Kind.SERVICE, tuple(A1 + n for n in range(9))), ValueFlag.HANDOVER),
        (Host("a.test", "x", Kind.SERVICE, tuple(S1 + n for n in range(9))), ValueFlag.HANDOVER),
    ],
)
def test_what_the_program_does_not_answer_itself_is_marked(host: Host, flags: ValueFlag) -> None:
    answers = Answers.build([host], Locale())
    ((where, value),) = entry.pairs(answers.directory, suffix.choose(Locale()), "a.test")
    assert value is not None
    found = entry.decode_value(where, value)
    assert found.flags == flags
    assert found.v4 == (b"" if flags else record.decode(record.encode(host)).v4)


def test_a_forward_zone_is_the_workers_down_to_the_last_name() -> None:
    hosts = (
        Host("in.b", "x", Kind.SERVICE_ENTRY, (A1,)),
        Host("open.b", "x", Kind.SERVICE_ENTRY),
        Host("open.c", "x", Kind.SERVICE_ENTRY),
    )
    tables = publish(Answers.build(hosts, Locale("vm", forward_zones=(("b", ("192.0.2.53",)),))))

    def flags(name: str) -> ValueFlag | None:
        value, _ = find(suffix.wire(name) + b"\0", tables)
        return value.flags if value is not None else None

    for name in ("b", "x.b", "x.y.b", "open.b"):
        assert flags(name) == ValueFlag.HANDOVER, name
    assert (flags("in.b"), flags("open.c"), flags("x.c")) == (ValueFlag(0), ValueFlag.PASS, None)


def test_names_too_long_for_a_key_are_refused() -> None:
    longest = ".".join(["x" * 31] * 3 + ["y" * 30])
    assert len(entry.encode_key(longest, MARK_ROOT)) == NAME_SIZE
    with pytest.raises(ValueError, match="more than 128"):
        entry.encode_key("z" + longest, MARK_ROOT)


def test_depths_are_bits_by_number_of_labels() -> None:
    assert entry.depths(["test", "a.test", "b.test"]) == 0b110
    assert entry.depths([".".join("x" * 63)]) == 1 << 63


def test_addresses_of_both_families_have_keys_of_one_size() -> None:
    assert entry.pointer_key(A1.packed) == ip_address("::ffff:10.0.0.1").packed
    assert entry.pointer_key(S1.packed) == S1.packed
