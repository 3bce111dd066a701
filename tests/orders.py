"""Selections of stores that exist only as numbers, and orders of them."""

import numpy as np
from hypothesis import strategies as st

from zarrts.indexing.units import ChunkUnits, Ranges, SegmentGrid
from zarrts.ordering.order import SourceOrder
from zarrts.ordering.rolling import RollingOrder
from zarrts.ordering.uniform import UniformOrder


def units_of(segments, cuts, codes, ids):
    """Return units of a store of (n_samples, chunk_rows) segments with some ids selected."""
    grids = [SegmentGrid(n_rows=n, chunk_rows=rows) for n, rows in segments]
    groups = (np.array(cuts, np.int64), np.array(codes, np.int64))
    return ChunkUnits(grids, Ranges.of_ids(np.array(ids, np.int64)), groups)


def whole(n_samples, chunk_rows, n_groups):
    cuts = np.arange(n_groups) * (n_samples // n_groups)
    return units_of([(n_samples, chunk_rows)], cuts, np.arange(n_groups), np.arange(n_samples))


@st.composite
def selections(draw):
    """Return (units, number of each selected sample's unit); chunks, groups, gaps at random."""
    segment = st.tuples(st.integers(1, 90), st.integers(1, 9))
    segments = draw(st.lists(segment, min_size=1, max_size=3))
    n_samples = sum(n for n, _ in segments)
    cuts = sorted(draw(st.sets(st.integers(1, n_samples), max_size=6)) | {0})
    codes = [draw(st.integers(0, 3)) for _ in cuts]
    ids = np.arange(n_samples)
    how = draw(st.sampled_from(["all", "ranges", "single"]))
    if how == "ranges":
        borders = draw(st.sets(st.integers(1, n_samples), max_size=6))
        ids = ids[np.searchsorted(sorted(borders), ids, "right") % 2 == 0]
    elif how == "single":
        rng = np.random.default_rng(draw(st.integers(0, 2**32)))
        ids = ids[rng.random(n_samples) < draw(st.floats(0.05, 0.9))]
    if len(ids) == 0:
        ids = np.array([n_samples // 2])
    unit_of = np.concatenate(
        [
            sum(-(-n // rows) for n, rows in segments[:i]) + np.arange(n) // rows
            for i, (n, rows) in enumerate(segments)
        ]
    )
    return units_of(segments, cuts, codes, ids), unit_of[ids]


ORDERS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["rolling", "rolling", "uniform", "uniform in memory", "source"]),
        "span": st.integers(2, 40) | st.just(10**6),
        "max_steps": st.integers(1, 8),
        "seed": st.integers(0, 2**40),
        "epoch": st.integers(0, 50),
    }
)


def make(units, batching, options):
    if options["kind"] == "source":
        return SourceOrder(units, batching, max_units=options["max_steps"])
    seed, epoch = options["seed"], options["epoch"]
    if options["kind"].startswith("uniform"):
        most = options["max_steps"] if options["kind"] == "uniform" else None
        return UniformOrder(units, batching, seed=seed, epoch=epoch, max_samples=most)
    return RollingOrder(
        units,
        batching,
        span=options["span"],
        seed=seed,
        epoch=epoch,
        max_steps=options["max_steps"],
    )


def batches_of(order):
    """Return the numbers of every batch, one array a batch."""
    return [
        np.concatenate([piece.numbers for piece in order.pieces(i)])
        for i in range(order.batching.n_batches)
    ]
