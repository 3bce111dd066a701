"""Labels that are classes, but were saved as floats, as MATLAB and pandas save whole numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from zarrts.sources.rows.views import IntegerRows, as_integers
from zarrts.types import AnyArray, RowReader, SourceRecording

_BLOCK_ROWS = 1 << 17


def with_integer_labels(
    recordings: Sequence[SourceRecording], *, are_classes: bool
) -> tuple[SourceRecording, ...]:
    """Return recordings with floats as integers, where labels of the study are classes.

    They are if it is said so; or if some recordings have integers and the floats of all others are
    whole, which is read. Only single labels, of samples or steps, are looked at.
    """
    floats = {i for i, it in enumerate(recordings) if _kind(it) == "f"}
    if not floats:
        return tuple(recordings)
    if not are_classes:
        has_integers = any(_kind(it) in ("i", "u", "b") for it in recordings)
        if not has_integers or not all(_is_whole(recordings[i].y) for i in floats):
            return tuple(recordings)
    return tuple(
        replace(it, y=IntegerRows(it.y, it.origin)) if i in floats else it
        for i, it in enumerate(recordings)
    )


def _kind(recording: SourceRecording) -> str:
    """Return the kind of dtype of single labels; nothing where a row has several values."""
    return recording.y.dtype.kind if len(recording.y.shape) == 1 else ""


def _is_whole(rows: RowReader) -> bool:
    def blocks() -> Iterable[AnyArray]:
        for start in range(0, rows.shape[0], _BLOCK_ROWS):
            yield rows.read(start, min(start + _BLOCK_ROWS, rows.shape[0]))

    is_whole = all((as_integers(block) == block).all() for block in blocks())
    rows.close()
    return is_whole
