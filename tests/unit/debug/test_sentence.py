"""Every result of the programs has a meaning."""

from __future__ import annotations

from interceptor.debug import selection, sentence
from interceptor.host.layout import DNS_RESULTS, TCP_RESULTS


def test_every_result_has_a_verdict_or_a_reason() -> None:
    told = {*sentence.DNS_VERDICTS, *sentence.DNS_WHY, "pass", "handover"}
    assert told == set(DNS_RESULTS)
    told = {*sentence.CALL_VERDICTS, *sentence.CALL_WHY, "pass", "inbound-pass"}
    assert told == set(TCP_RESULTS)


def test_verdicts_are_words_that_a_listener_may_ask_for() -> None:
    assert set(sentence.DNS_VERDICTS.values()) <= set(selection.VERDICTS)
    found = {sentence.verdict_of(result).value for result in TCP_RESULTS} - {"dns"}
    assert found <= set(selection.VERDICTS)
