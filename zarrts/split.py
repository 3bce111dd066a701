"""Parts of one study that share no subject, as users hold them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zarrts.errors import SampleError
from zarrts.keywords import first_names
from zarrts.notebook import table_of_parts
from zarrts.reading.selection import Selection
from zarrts.samples import Samples
from zarrts.sizes import format_count
from zarrts.splits.overlaps import refuse_overlaps
from zarrts.splits.split_files import write_split


class Split(tuple[Samples, ...]):
    """Parts of one study that share no subject, training first; unpacks like a tuple.

    zarrts.Split(train=one, test=other) checks parts that you chose yourself.

    Parameters
    ----------
    allow_overlap : bool
        Parts may share subjects and recordings; never samples.
    train, val, test, ... : Samples
        By name.

    Raises
    ------
    SampleError
        If two parts have something in common.
    """

    names: tuple[str, ...]

    def __new__(cls, *, allow_overlap: bool = False, **parts: Samples) -> "Split":
        """Check the parts, and hold them."""
        if not parts:
            raise SampleError("A split needs parts: Split(train=..., test=...).")
        assert_disjoint(**parts, allow_overlap=allow_overlap)
        self = super().__new__(cls, parts.values())
        self.names = tuple(parts)
        return self

    @staticmethod
    def of(parts: Mapping[str, Selection], *, allow_overlap: bool) -> "Split":
        """Return the split whose parts are some selections."""
        samples = {name: Samples(part) for name, part in parts.items()}
        return Split(allow_overlap=allow_overlap, **samples)

    def __getattr__(self, name: str) -> Samples:
        """Return a part by its name."""
        if name != "names" and name in self.names:
            return self[self.names.index(name)]
        raise AttributeError(f"this split has no part {name!r}")

    def __reduce__(self) -> Any:
        return _rebuilt, (self.names, tuple(self))

    def __repr__(self) -> str:
        n_samples = max(1, sum(map(len, self)))
        parts = []
        for name, part in zip(self.names, self, strict=True):
            subjects = format_count(len(part.selection.subject_codes), "subject")
            text = f"{name}: {format_count(len(part), 'sample')} of {subjects}"
            # Whoever is drawn is held out: these names are what one wants to see.
            if name != self.names[0]:
                text += f" ({first_names(part.subjects)}), {len(part) / n_samples:.0%} of samples"
            parts.append(text)
        return f"<zarrts.Split of {self[0].store.path}: {'; '.join(parts)}>"

    def save(self, path: str | Path) -> None:
        """Save which samples are in which part, as JSON; `store.load_split(path)` reads it.

        Raises
        ------
        SampleError
            If the samples are windows: what is saved is a split of recordings.
        """
        if not self[0].selection.is_as_stored:
            raise SampleError(
                "Only a split of whole recordings can be saved: save it before windows are cut, "
                "and cut them from each part."
            )
        parts = {name: part.selection.ids for name, part in zip(self.names, self, strict=True)}
        write_split(Path(path), self[0].store, parts)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        parts = zip(self.names, self, strict=True)
        return table_of_parts({name: part.selection for name, part in parts})


def _rebuilt(names: tuple[str, ...], parts: tuple[Any, ...]) -> Split:
    return Split(allow_overlap=True, **dict(zip(names, parts, strict=True)))


def assert_disjoint(*unnamed: Samples, allow_overlap: bool = False, **named: Samples) -> None:
    """Raise an error if parts of a study share samples, recordings or subjects.

    Parameters
    ----------
    parts : Samples
        Of one store; by name, if messages shall name them.
    allow_overlap : bool
        Parts may share subjects and recordings; never samples.

    Raises
    ------
    SampleError
        If two parts have something in common, or are of different stores.
    """
    parts = {**{f"part {number}": part for number, part in enumerate(unnamed)}, **named}
    selections = {name: part.selection for name, part in parts.items()}
    refuse_overlaps(selections, allow_overlap=allow_overlap)
