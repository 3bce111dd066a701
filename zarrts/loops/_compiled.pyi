"""The compiled library; the modules of this package say what its functions do."""

from zarrts.types import AnyArray

ABI: int
READS_CHUNKS: int

def read_chunks(
    decompress: int, scratch: AnyArray, wanted: list[tuple[int, int, int, int, AnyArray]], /
) -> int: ...
def plain_sums(
    code: int,
    rows: AnyArray,
    n_rows: int,
    n_lanes: int,
    total: AnyArray,
    squares: AnyArray,
    low: AnyArray,
    high: AnyArray,
    /,
) -> None: ...
def deviation_sums(
    code: int,
    rows: AnyArray,
    n_rows: int,
    n_lanes: int,
    base: AnyArray,
    shift: AnyArray,
    total: AnyArray,
    squares: AnyArray,
    /,
) -> None: ...
def number_sums(
    code: int,
    rows: AnyArray,
    n_rows: int,
    n_lanes: int,
    base: AnyArray,
    total: AnyArray,
    squares: AnyArray,
    count: AnyArray,
    low: AnyArray,
    high: AnyArray,
    /,
) -> None: ...
def count_sums(
    rows: AnyArray,
    n_rows: int,
    n_lanes: int,
    missing: int,
    total: AnyArray,
    squares: AnyArray,
    n_missing: AnyArray,
    low: AnyArray,
    high: AnyArray,
    /,
) -> None: ...
def gather(
    code: int,
    memory: AnyArray,
    n_rows: int,
    row_items: int,
    starts: AnyArray,
    n_runs: int,
    length: int,
    out_code: int,
    out: AnyArray,
    kind: int,
    tables: AnyArray | None,
    n_tables: int,
    n_lanes: int,
    p0: AnyArray | None,
    p1: AnyArray | None,
    p2: AnyArray | None,
    fill: AnyArray | None,
    missing: int,
    /,
) -> None: ...
def scale_own(
    code: int,
    memory: AnyArray,
    n_rows: int,
    row_items: int,
    starts: AnyArray,
    n_runs: int,
    length: int,
    out_code: int,
    out: AnyArray,
    kept: AnyArray | None,
    mode: int,
    has_nan: int,
    fills: int,
    n_channels: int,
    folds: int,
    scratch: AnyArray,
    /,
) -> None: ...
def pack(
    values: AnyArray,
    counts: AnyArray,
    n: int,
    n_lanes: int,
    gain: AnyArray,
    inverse: AnyArray,
    offset: AnyArray,
    tolerance: float,
    missing: int,
    /,
) -> int: ...
def vote(
    code: int,
    labels: AnyArray,
    n: int,
    length: int,
    least: int,
    n_codes: int,
    is_missing: AnyArray,
    counts: AnyArray,
    winners: AnyArray,
    n_labelled: AnyArray,
    /,
) -> None: ...
def weighted_sums(
    rows: AnyArray,
    n_rows: int,
    width: int,
    weights: AnyArray,
    n_branches: int,
    n_weights: int,
    branches: AnyArray,
    firsts: AnyArray,
    n: int,
    out: AnyArray,
    /,
) -> None: ...
def permute(values: AnyArray, sizes: AnyArray, keys: AnyArray, n: int, /) -> None: ...
def use_wide(wanted: bool, /) -> bool: ...
