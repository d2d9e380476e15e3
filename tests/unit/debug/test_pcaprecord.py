"""A record's time, and what is said of damage."""

from __future__ import annotations

from interceptor.debug.pcaprecord import RAW, Damaged, Record


def test_a_time_is_kept_to_the_nanosecond_and_told_in_seconds() -> None:
    assert Record(1_500_000_000, "", RAW, b"", 0).time_s == 1.5


def test_damage_names_file_place_and_what_is_legal() -> None:
    error = Damaged("a.pcap", 24, "nothing", "something")
    assert str(error) == "a.pcap: byte 24: nothing; legal: something"
