"""Headers of text, of BrainVision and Persyst: what is in them that MNE does not give."""

import os
import re
from collections.abc import Iterator

from zarrts.errors import SourceError

_HEAD_BYTES = 1 << 16


def values_in(path: str, key: str) -> list[str]:
    """Return what a header of text gives for a key."""
    with open(path, "rb") as stream:
        text = stream.read(_HEAD_BYTES).decode("latin-1")
    return [it.strip() for it in re.findall(rf"^{key}[ \t]*=(.*)$", text, re.MULTILINE)]


def named_in(path: str, key: str) -> Iterator[str]:
    """Yield the files beside a header of text that it names."""
    folder, stem = os.path.dirname(path), os.path.splitext(os.path.basename(path))[0]
    for name in values_in(path, key):
        beside = os.path.join(folder, os.path.basename(name.replace("\\", "/")))
        beside = beside.replace("$b", stem)
        if os.path.isfile(beside):
            yield beside


def refuse_pauses(path: str, origin: str) -> None:
    """Raise SourceError where a Persyst file declares a pause, over which MNE passes."""
    with open(path, "rb") as stream:
        text = stream.read().decode("latin-1")
    section = re.search(r"^\[SampleTimes\]\s*$(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    rate = re.search(r"^SamplingRate[ \t]*=[ \t]*([\d.]+)", text, re.MULTILINE)
    if section is None or rate is None:
        return
    times = re.findall(r"^\s*(\d+)\s*=\s*([\d.]+)\s*$", section[1], re.MULTILINE)
    rows = sorted((int(row), float(time)) for row, time in times)
    for row, time in rows[1:]:
        expected = rows[0][1] + (row - rows[0][0]) / float(rate[1])
        if abs((time - expected + 43_200) % 86_400 - 43_200) > 1 / float(rate[1]) + 1e-3:
            raise SourceError(
                f"{origin}: has a gap before row {row:,} (it was recorded at {time:g} s of the "
                f"day, not {expected:g} s); save each part as a file."
            )
