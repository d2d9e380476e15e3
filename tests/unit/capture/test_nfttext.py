"""nft's JSON in nft's language."""

from __future__ import annotations

from typing import Any

import pytest

from interceptor.capture import nfttext, ruleset


def test_a_table_that_matches_cgroups_must_be_text(make: Any) -> None:
    assert nfttext.needs_text(ruleset.render(make("include_owners")))
    assert not nfttext.needs_text(ruleset.render(make("default")))


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="no nft statement"):
        nfttext.statement({"dup": {}})
    with pytest.raises(ValueError, match="no nft command"):
        nfttext.text([{"add": {"flowtable": {"family": "inet", "name": "x"}}}])
