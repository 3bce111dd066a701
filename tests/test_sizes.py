"""Sizes as people write and read them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zarrts.sizes import format_budget, format_size, parse_size


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        (1, 1),
        (4096, 4096),
        ("4096", 4096),
        ("512MiB", 512 * 1024 * 1024),
        ("1.5 GB", 1_500_000_000),
        ("8M", 8 * 1024 * 1024),
        (" 2 kib ", 2048),
        ("1TiB", 1024**4),
        ("3kB", 3000),
        ("7b", 7),
        ("0.5MiB", 524_288),
    ],
)
def test_sizes_are_read_as_written(text, n_bytes):
    assert parse_size(text, "memory") == n_bytes


@pytest.mark.parametrize(
    "bad", ["", "x", "MiB", "-1MiB", "1e3", "1 XB", "1,5GB", "nan", True, None]
)
def test_what_is_no_size_is_refused_with_the_name_of_the_option(bad):
    with pytest.raises(ValueError, match=r"^shard=.* is not a size; .*'512MiB'"):
        parse_size(bad, "shard")


@pytest.mark.parametrize("bad", [0, "0", "0MiB", "0.5"])
def test_nothing_is_no_size(bad):
    with pytest.raises(ValueError, match=r"memory=.* at least 1 byte"):
        parse_size(bad, "memory")


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (9_300_000, "9.3 MB"),
        (24_000_000_000, "24 GB"),
        (4_200_000_000_000, "4.2 TB"),
        (1_234e12, "1,234 TB"),
    ],
)
def test_sizes_are_shown_in_powers_of_ten(n_bytes, text):
    assert format_size(n_bytes) == text


@settings(deadline=None)
@given(n_bytes=st.integers(1, 2**50))
def test_a_budget_reads_back_as_at_least_as_much(n_bytes):
    read = parse_size(format_budget(n_bytes), "memory")
    assert n_bytes <= read < n_bytes + 2**20


def test_budgets_are_whole_gibibytes_where_they_can_be():
    assert format_budget(2**31) == "2GiB"
    assert format_budget(2**31 + 1) == "2049MiB"
    assert format_budget(20 * 1024) == "20KiB"
    assert format_budget(1) == "1B"
