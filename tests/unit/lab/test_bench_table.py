from __future__ import annotations

import json

import yaml

from interceptor.lab import bench_table


def test_documents_and_name_table_tell_of_the_same_hosts() -> None:
    documents = [d for d in yaml.safe_load_all(bench_table.render_documents(50)) if d]
    table = json.loads(bench_table.render_nametable(50))["table"]
    told = {d["spec"]["hosts"][0]: d["spec"]["addresses"] for d in documents}
    assert told == {name: entry["ips"] for name, entry in table.items()}
