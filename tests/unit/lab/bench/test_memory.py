from __future__ import annotations

from interceptor.lab.bench import memory

MAP = "pos:\t0\nflags:\t02\nmap_type:\t1\nmemlock:\t{}\nmap_id:\t{}\nfrozen:\t0\n"


def test_a_map_that_two_descriptors_show_counts_once() -> None:
    texts = [MAP.format(4096, 7), MAP.format(4096, 7), MAP.format(100, 8), "pos:\t0\nflags:\t0\n"]
    assert memory.parse_maps(texts) == {7: 4096, 8: 100}


def test_sizes_are_read_and_other_lines_are_not() -> None:
    text = "Name:\tpython3\nVmHWM:\t  2048 kB\nThreads:\t3\nVmRSS:\t  1024 kB\n"
    assert memory.parse_status(text) == {"VmHWM": 2048, "VmRSS": 1024}


def test_the_kernels_own_memory_is_something() -> None:
    assert memory.kernel_mib() > 1
