"""Codecs that chunks are compressed with, and a trial of what they save and how fast they are."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from zarrts.conversion.casting import cast_rows
from zarrts.conversion.plan import ShardLayout
from zarrts.stats.moments import measure
from zarrts.storage.segments import Segment, parts_of
from zarrts.storage.shards import encode_chunk
from zarrts.types import AnyArray, ArraySpec, SourceRecording

CODECS = ("lz4", "zstd", "none")
_BLOSC = {"lz4": ("lz4", 5), "zstd": ("zstd", 3)}
_N_TRIAL_CHUNKS = 8
WORTH_COMPRESSING = 0.95
"""Of the bytes of a trial: what more is left of them is stored as it is."""
_BITSHUFFLE_BLOCK = 1 << 14  # larger ones compress less, and are slower


def compressors_of(codec: str, dtype: np.dtype[Any], shuffle: str = "shuffle") -> list[Any]:
    """Return Zarr's codecs for one of `CODECS`.

    Parameters
    ----------
    shuffle : str
        "shuffle" or "bitshuffle", of dtypes of several bytes.
    """
    from zarr.codecs import BloscCodec, Crc32cCodec

    if codec == "none":
        return [Crc32cCodec()]
    cname, level = _BLOSC[codec]
    blosc = BloscCodec(
        cname=cname,  # type: ignore[arg-type]
        clevel=level,
        shuffle=shuffle if dtype.itemsize > 1 else "noshuffle",  # type: ignore[arg-type]
        typesize=dtype.itemsize,
        blocksize=_BITSHUFFLE_BLOCK if shuffle == "bitshuffle" else 0,
    )
    return [blosc, Crc32cCodec()]


def codec_of_segment(segment: Segment) -> str:
    """Return the one of `CODECS` that the inputs of a segment are compressed with."""
    spec = next(iter(segment.inputs.values())).spec
    cname = spec.compressor.get("cname")
    return next((name for name, (known, _) in _BLOSC.items() if known == cname), "none")


def choose_codec(
    recordings: Sequence[SourceRecording], layout: ShardLayout
) -> tuple[str, float, float]:
    """Return a codec, and what `try_chunks` returns for it: lz4, or none where it saves little."""
    # By size alone, never by a clock: the same sources have to give the same bytes.
    ratio, bytes_per_s = try_chunks(recordings, layout, "lz4")
    if ratio <= WORTH_COMPRESSING:
        return "lz4", ratio, bytes_per_s
    return "none", *try_chunks(recordings, layout, "none")


def try_chunks(
    recordings: Sequence[SourceRecording], layout: ShardLayout, codec: str
) -> tuple[float, float]:
    """Return (stored bytes per raw byte, raw bytes per second) of a few chunks."""
    filled = [it for it in recordings if it.x.shape[0]]
    step = max(1, len(filled) // _N_TRIAL_CHUNKS)
    raw, stored, started = 0, 0, time.perf_counter()
    for recording in filled[::step][:_N_TRIAL_CHUNKS]:
        reader = recording.x
        rows = min(layout.chunk_rows, reader.shape[0])
        # The first rows of a recording are often silence; a stream gives no others cheaply.
        start = 0 if reader.is_sequential else (reader.shape[0] - rows) // 2
        block = cast_rows(reader.read(start, start + rows), layout.dtype, recording.origin)
        measure(block)
        raw += block.nbytes
        for part in parts_of(block).values():
            spec = _trial_spec(part.shape, part.dtype, codec)
            stored += sum(map(len, encode_chunk(spec, np.ascontiguousarray(part))))
        reader.close()
    return stored / raw, raw / max(time.perf_counter() - started, 1e-9)


def try_blocks(blocks: Sequence[AnyArray], codec: str, shuffle: str) -> tuple[float, float]:
    """Return (stored bytes per byte, bytes per second) of some blocks of rows."""
    raw, stored, started = 0, 0, time.perf_counter()
    for block in blocks:
        spec = _trial_spec(block.shape, block.dtype, codec, shuffle)
        raw += block.nbytes
        stored += sum(map(len, encode_chunk(spec, block)))
    return stored / max(1, raw), raw / max(time.perf_counter() - started, 1e-9)


def _trial_spec(
    chunk_shape: tuple[int, ...], dtype: np.dtype[Any], codec: str, shuffle: str = "shuffle"
) -> ArraySpec:
    """Return an array of one chunk, to try out how its bytes compress."""
    first = compressors_of(codec, dtype, shuffle)[0].to_dict()
    names = ("crc32c",) if codec == "none" else ("blosc", "crc32c")
    return ArraySpec(
        path="",
        shape=chunk_shape,
        dtype=dtype,
        chunk_rows=chunk_shape[0],
        shard_rows=chunk_shape[0],
        codecs=names,
        compressor=first.get("configuration", {}),
    )
