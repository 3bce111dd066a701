"""Pair EDF recordings with the hypnograms beside them, by their names."""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher

from zarrts.lists import listed
from zarrts.sources.rows.files import SourceFile

_WORDS = re.compile(
    r"[-_. ]*(?:hypnogram|hypno|annotations?|stages?|scoring|psg|signals?|eeg)$", re.IGNORECASE
)

# Sleep-EDF (physionet.org/content/sleep-edfx): SC4ssNEO-PSG and ST7ssNJ0-PSG, where ss is the
# person and N the night; in the names of hypnograms, another letter stands in the last place.
_SLEEP_EDF = re.compile(r"(?:SC4|ST7)\d{3}[A-Z][A-Z0-9]")


def shared_name(file: SourceFile) -> str:
    """Return the name of a file without words such as PSG and Hypnogram at its end."""
    return _WORDS.sub("", file.stem) or file.stem


def pair_up(
    signals: Sequence[SourceFile], hypnograms: Sequence[SourceFile]
) -> tuple[dict[str, SourceFile], list[str]]:
    """Return the hypnogram of each recording that has one, by origin, and what is wrong.

    A hypnogram belongs to the recording in its folder whose name is the same, but for words such
    as PSG and Hypnogram at the end. Names of the kind of Sleep-EDF may differ in the last letter
    before these, where no name is the same.
    """
    found: dict[str, SourceFile] = {}
    problems: list[str] = []
    left, rest = list(signals), list(hypnograms)
    for key_of in (_same, _sleep_edf):
        recordings, scorings = _by_key(left, key_of), _by_key(rest, key_of)
        for key in sorted(recordings.keys() & scorings.keys()):
            some, scored = recordings[key], scorings[key]
            if len(some) == len(scored) == 1:
                found[some[0].origin] = scored[0]
            else:
                problems.append(_ambiguous(some, scored))
        done = {
            it.origin
            for key in recordings.keys() & scorings.keys()
            for it in (*recordings[key], *scorings[key])
        }
        left = [it for it in left if it.origin not in done]
        rest = [it for it in rest if it.origin not in done]
    problems += (
        f"{it.origin}: holds no signals, and there is not one recording of the same name beside "
        f"it{_what_fits(it, signals)}."
        for it in rest
    )
    return found, problems


def _same(file: SourceFile) -> str | None:
    return f"{file.folder}/{shared_name(file)}"


def _sleep_edf(file: SourceFile) -> str | None:
    name = shared_name(file)
    return f"{file.folder}/{name[:-1]}" if _SLEEP_EDF.fullmatch(name) else None


def _by_key(
    files: Sequence[SourceFile], key_of: Callable[[SourceFile], str | None]
) -> Mapping[str, list[SourceFile]]:
    found: dict[str, list[SourceFile]] = defaultdict(list)
    for file in files:
        key = key_of(file)
        if key is not None:
            found[key].append(file)
    return found


def _ambiguous(signals: Sequence[SourceFile], hypnograms: Sequence[SourceFile]) -> str:
    scored = sorted(it.origin for it in hypnograms)
    recordings = sorted(it.origin for it in signals)
    return (
        f"{', '.join(scored)}: by their names, {listed(scored)} could belong to "
        f"{listed(recordings)}; leave out those that are not meant, or say which belongs to which "
        "in a table (table=, --table)."
    )


def _what_fits(hypnogram: SourceFile, signals: Sequence[SourceFile]) -> str:
    """Return how the file would have to be called, by a recording in its folder, or a table."""
    beside = [it for it in signals if it.folder == hypnogram.folder]
    if not beside:
        return "; put it into the folder of its recording"
    alike = max(beside, key=lambda it: SequenceMatcher(None, it.stem, hypnogram.stem).ratio())
    end = _WORDS.search(alike.stem)
    mark = re.match(r"[-_. ]*", end.group()) if end else None
    suffix = os.path.splitext(hypnogram.origin)[1]
    name = f"{_WORDS.sub('', alike.stem)}{mark.group() if mark else '-'}Hypnogram{suffix}"
    return (
        f" (there is {listed((it.origin for it in beside), 4)}); the hypnogram of {alike.origin} "
        f"would be called {name}: rename it, or name both in a table (table=, --table)"
    )
