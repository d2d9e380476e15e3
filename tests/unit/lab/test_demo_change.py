from __future__ import annotations

import yaml

from interceptor.lab import demo_change
from interceptor.lab.agent import DEMO_MESH


def test_the_endpoint_that_leaves_is_reviews_v2_and_no_other() -> None:
    text = (DEMO_MESH / "bookinfo.yaml").read_text()
    before = list(yaml.safe_load_all(text))
    after = list(yaml.safe_load_all(demo_change.without_v2(text)))
    assert len(before) == len(after)
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert [a["metadata"]["name"] for a, _ in changed] == ["reviews-4"]
    assert [e["addresses"] for e in changed[0][1]["endpoints"]] == [["10.77.0.41"]]


def test_the_problem_is_found_wherever_the_status_tells_it() -> None:
    problem = {"where": "wrong.yaml", "value": "99999", "legal": "1 to 65535", "key": "port"}
    assert "1 to 65535" in demo_change.problem_of({"source": {"problems": [problem]}})
    assert demo_change.problem_of({"source": {"problems": ["port 99999: bad"]}}).startswith("port")
    assert demo_change.problem_of({"source": {"problems": []}}) == ""
