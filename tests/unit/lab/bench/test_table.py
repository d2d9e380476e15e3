from __future__ import annotations

import json
from ipaddress import IPv4Address

import yaml

from interceptor.lab.bench import member, table


def told(text: str) -> dict[str, list[str]]:
    documents = [each["spec"] for each in yaml.safe_load_all(text) if each]
    return {spec["hosts"][0]: spec["addresses"] for spec in documents}


def test_documents_and_name_table_tell_of_the_same_hosts() -> None:
    names = json.loads(member.render_nametable(table.hosts(50)))["table"]
    assert told(table.render_documents(0, 50)) == {
        name: each["ips"] for name, each in names.items()
    }


def test_a_change_is_of_the_last_host_alone_in_every_source() -> None:
    there = IPv4Address("10.200.0.1")
    before, after = table.hosts(50), table.hosts(50, there)
    assert before[:-1] == after[:-1]
    assert after[-1] == (before[-1][0], there)
    changed = told(table.render_documents(40, 50, there))
    assert changed == {name: [str(address)] for name, address in after[40:]}
