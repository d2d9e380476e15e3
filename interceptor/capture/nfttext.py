"""nft's JSON as nft's own language: for people, and for what the JSON cannot say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from interceptor.capture.nftmatch import Json


def text(commands: Iterable[Json]) -> str:
    """A transaction as `nft -f -` reads it."""
    return "".join(f"{_command(command)}\n" for command in commands)


def needs_text(commands: Iterable[Json]) -> bool:
    """Whether the transaction matches a cgroup, whose level nft's JSON leaves out."""
    return "'cgroupv2'" in str(list(commands))


def _command(command: Json) -> str:
    ((verb, subject),) = command.items()
    ((kind, body),) = _mapping(subject).items()
    fields = _mapping(body)
    place = f"{fields['family']} {fields.get('table', '')}".strip()
    match kind:
        case "table":
            return f"{verb} table {place} {fields['name']}"
        case "chain":
            return f"{verb} chain {place} {fields['name']}{_hook(fields)}"
        case "set":
            body = f" {_set(fields)}" if verb == "add" else ""
            return f"{verb} set {place} {fields['name']}{body}"
        case "element":
            elements = ", ".join(_value(item) for item in _sequence(fields["elem"]))
            return f"{verb} element {place} {fields['name']} {{ {elements} }}"
        case "rule":
            words = [statement(item) for item in _sequence(fields["expr"])]
            if "comment" in fields:
                words.append(f'comment "{fields["comment"]}"')
            return f"{verb} rule {place} {fields['chain']} {' '.join(words)}"
    raise ValueError(f"no nft command: {kind}")


def _hook(fields: Json) -> str:
    if "hook" not in fields:
        return ""
    hook = f"type {fields['type']} hook {fields['hook']} priority {fields['prio']}"
    return f" {{ {hook}; policy {fields['policy']}; }}"


def _set(fields: Json) -> str:
    parts = [f"type {fields['type']};", "flags interval;"]
    if "elem" in fields:
        elements = ", ".join(_value(item) for item in _sequence(fields["elem"]))
        parts.append(f"elements = {{ {elements} }};")
    return f"{{ {' '.join(parts)} }}"


def statement(item: object) -> str:
    """One statement of a rule."""
    ((kind, body),) = _mapping(item).items()
    match kind:
        case "match":
            return _match(_mapping(body))
        case "counter" | "accept" | "return":
            return kind
        case "jump":
            return f"jump {_mapping(body)['target']}"
        case "redirect":
            return f"redirect to :{_mapping(body)['port']}"
        case "queue":
            return f"queue num {_mapping(body)['num']} bypass"
        case "mangle":
            fields = _mapping(body)
            return f"{_left(_mapping(fields['key']))} set {fields['value']:#x}"
        case "tproxy":
            fields = _mapping(body)
            address = fields["addr"] if fields["family"] == "ip" else f"[{fields['addr']}]"
            return f"tproxy {fields['family']} to {address}:{fields['port']}"
    raise ValueError(f"no nft statement: {kind}")


def _match(fields: Json) -> str:
    left, right = _mapping(fields["left"]), fields["right"]
    operator = "!= " if fields["op"] == "!=" else ""
    if "&" in left:
        flags = "|".join(str(flag) for flag in _sequence(_sequence(left["&"])[1]))
        return f"tcp flags & ({flags}) {fields['op']} {right}"
    value = f'"{right}"' if _is_name(left) and isinstance(right, str) else _value(right, left)
    return f"{_left(left)} {operator}{value}"


def _is_name(left: Json) -> bool:
    meta = _mapping(left.get("meta", {})).get("key", "")
    return str(meta).endswith("ifname") or "level" in _mapping(left.get("socket", {}))


def _left(left: Json) -> str:
    ((kind, body),) = left.items()
    fields = _mapping(body)
    match kind:
        case "meta" | "ct":
            return f"{kind} {fields['key']}"
        case "payload":
            return f"{fields['protocol']} {fields['field']}"
        case "fib":
            return f"fib {' . '.join(map(str, _sequence(fields['flags'])))} {fields['result']}"
        case "socket":
            level = f" level {fields['level']}" if "level" in fields else ""
            return f"socket {fields['key']}{level}"
    raise ValueError(f"no nft expression: {kind}")


def _value(value: object, left: Json | None = None) -> str:
    if isinstance(value, Mapping) and "set" in value:
        quoted = left is not None and _is_name(left)
        items = (f'"{item}"' if quoted else _value(item) for item in _sequence(value["set"]))
        return f"{{ {', '.join(items)} }}"
    if isinstance(value, Mapping) and "prefix" in value:
        prefix = _mapping(value["prefix"])
        return f"{prefix['addr']}/{prefix['len']}"
    return str(value)


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ValueError(f"an object was expected, not {value!r}")
    return value


def _sequence(value: object) -> Sequence[object]:
    if not isinstance(value, Sequence):
        raise ValueError(f"an array was expected, not {value!r}")
    return value
