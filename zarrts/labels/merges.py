"""Classes that are merged, renamed or left out when a network is trained, not in the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zarrts.errors import SampleError
from zarrts.keywords import unknown_names
from zarrts.types import IntArray, Label


@dataclass(frozen=True)
class Merges:
    """A map from the classes of a store to others.

    Attributes
    ----------
    stored_names : tuple
        The classes as the store has them.
    codes : tuple of int
        The new class of each of these; -1 for none.
    """

    stored_names: tuple[Label, ...]
    codes: tuple[int, ...]

    @staticmethod
    def of(
        known: Sequence[Label],
        classes: Mapping[Label, Sequence[Label] | Label],
        before: "Merges | None" = None,
    ) -> "Merges":
        """Return what classes become, each of which is made of some that there are.

        Parameters
        ----------
        known : sequence
            The classes that there are.
        classes : dict
            The names of the new classes, in their order, and for each the old one or ones.
            Classes that are named nowhere are left out: their labels are missing.
        before : Merges, optional
            How `known` came about.

        Raises
        ------
        SampleError
            If a class is unknown, or named twice, or there are none.
        """
        new = np.full(len(known), -1)
        for code, (name, parts) in enumerate(classes.items()):
            wanted = [parts] if isinstance(parts, str | int) else list(parts)
            unknown = [str(it) for it in wanted if it not in known]
            if unknown:
                raise SampleError(unknown_names("No class", unknown, known, "classes"))
            for part in wanted:
                old = list(known).index(part)
                if new[old] >= 0:
                    raise SampleError(
                        f"The class {part!r} is in {list(classes)[new[old]]!r} and in {name!r}; "
                        "name it once."
                    )
                new[old] = code
        if not classes:
            raise SampleError("classes= is empty: name at least one class.")
        before = before or Merges(tuple(known), tuple(range(len(known))))
        codes = tuple(int(new[code]) if code >= 0 else -1 for code in before.codes)
        return Merges(before.stored_names, codes)

    def new_of(self, stored: IntArray) -> IntArray:
        """Return the new classes of stored ones; -1 stays -1."""
        return np.array([*self.codes, -1])[stored]

    def summed(self, counts: IntArray, n_classes: int) -> IntArray:
        """Return counts of stored classes, shape (..., n_stored), as counts of new ones."""
        is_of = np.array(self.codes)[:, None] == np.arange(n_classes)
        return np.asarray(counts @ is_of)
