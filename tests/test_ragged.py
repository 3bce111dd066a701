"""A ragged store holds recordings of unequal lengths, row after row, and their labels."""

from pathlib import Path

import numpy as np
import pytest
import xarray

from zarrts.publish import create_segment
from zarrts.segments import read_segment


@pytest.mark.parametrize("labels_per", ["row", "recording"])
def test_segment_of_unequal_lengths_says_what_its_arrays_are(
    tmp_path: Path, labels_per: str
) -> None:
    n_labels = 12 if labels_per == "row" else 3
    segment = create_segment(
        tmp_path,
        "0",
        x=((12, 2), np.dtype("f4")),
        y=((n_labels,), np.dtype("i4")),
        chunk_rows=2,
        shard_rows=4,
        codec="lz4",
        labels_per=labels_per,
        n_recordings=3,
    )
    assert segment == read_segment(tmp_path, "0")
    assert segment.is_ragged
    assert (segment.labels_per, segment.n_samples, segment.n_rows) == (labels_per, 3, 12)
    assert [*segment.arrays] == ["x", "y", "offsets"]
    assert [*segment.row_arrays] == (["x", "y"] if labels_per == "row" else ["x"])
    assert segment.offsets is not None
    assert segment.offsets.shape == (4,)
    assert segment.offsets.n_chunks == 1
    assert segment.y.shape == (n_labels,)
    assert segment.y.n_chunks == (6 if labels_per == "row" else 1)
    opened = xarray.open_zarr(str(tmp_path / "0"), consolidated=False)
    assert opened["x"].dims == ("row", "channel")
    assert opened["offsets"].dims == ("edge",)
    assert opened["y"].dims == (("row",) if labels_per == "row" else ("recording_id",))
