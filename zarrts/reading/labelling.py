"""What samples are labelled with: their classes, and how many labels there are of each."""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np

from zarrts.errors import SampleError
from zarrts.labels.class_weight import check_class_weight
from zarrts.labels.scheme import LabelScheme
from zarrts.ordering.sampling import Resample, Sampling
from zarrts.reading.balancing import Balance, sampling_of
from zarrts.reading.load import count_classes
from zarrts.reading.measured import Measured
from zarrts.reading.presence import labelled_samples, may_miss, without
from zarrts.samples.units import Ranges
from zarrts.types import IntArray, Label


class Labelled(Measured):
    """Samples that have labels; `Samples` is one, and adds all else.

    Attributes
    ----------
    scheme : LabelScheme
        What the labels mean: as in the store, or with classes merged or left out.
    """

    scheme: LabelScheme

    def narrowed(self, selection: Ranges) -> Self:
        """Return those of these samples whose ids are in a set."""
        raise NotImplementedError

    def with_scheme(self, scheme: LabelScheme) -> Self:
        """Return the same samples with labels that mean something else."""
        raise NotImplementedError

    @property
    def class_names(self) -> list[Label] | None:
        """The classes, in the order of their codes; None where labels are not classes."""
        names = self.scheme.class_names
        return None if names is None else list(names)

    @property
    def n_classes(self) -> int | None:
        """Number of classes; None where labels are not classes."""
        return self.scheme.n_classes

    @property
    def class_indices(self) -> dict[Label, int] | None:
        """Position of each class, as label_mode="int" gives it."""
        names = self.scheme.class_names
        return None if names is None else {name: code for code, name in enumerate(names)}

    # Labels that are missing -------------------------------------------------------------

    def labelled(self, missing: Label | float | Sequence[Label | float] = ()) -> Self:
        """Return those of these samples that have a label.

        A label is missing if it is NaN, an empty text, or of a class that was left out. Samples
        with several labels stay if they have one.

        Parameters
        ----------
        missing : value or sequence of values
            What else stands for a label that is missing, such as -1; no class any more then.
        """
        values = (missing,) if isinstance(missing, str | int | float) else tuple(missing)
        found = self.with_scheme(without(self.scheme, values)) if values else self
        return found.narrowed(found.presence[0])

    @property
    def n_unlabelled(self) -> int:
        """How many of these samples have no label; see `labelled`."""
        return len(self.selection) - len(self.presence[0])

    @cached_property
    def presence(self) -> tuple[Ranges, bool]:
        """The samples that have a label, and whether one of these lacks another."""
        if self.view.cut.y_of == "x" or not may_miss(self.scheme) or self._is_complete():
            return self.selection, False
        return labelled_samples(self.reader, self.scheme)

    def _is_complete(self) -> bool:
        """Whether the counts in the store say that no label is missing, without reading any."""
        if self.scheme.class_names is None:
            return False
        whole, partial = self.whole_and_partial()
        if partial is not None:
            return False
        catalog, spec = self.store.catalog, self.store.readers.y[0].spec
        shape = spec.row_shape[:-1] if self.scheme.encoding == "one_hot" else spec.row_shape
        n_rows = np.diff(catalog.row_starts)[whole].sum()
        if self.view.cut.y_of == "recording":
            n_rows = len(whole)
        return int(self.class_counts.sum()) == int(n_rows) * math.prod(shape)

    # Classes -----------------------------------------------------------------------------

    @cached_property
    def class_counts(self) -> IntArray:
        """How many labels of each class these samples have, shape (n_classes,)."""
        return np.asarray(self.class_counts_by_recording().sum(axis=0))

    def class_counts_by_recording(self) -> IntArray:
        """Return the same for each recording of the store, shape (n_recordings, n_classes)."""
        counts = self.store.catalog.class_counts
        if counts is None or self.scheme.class_names is None:
            raise SampleError(
                "These labels are numbers, not classes; if they are classes saved as floats, "
                "convert with class_names=[0, 1, ...]."
            )
        if self.view.cut.y_of == "x":
            raise SampleError("The targets of these samples are values of x, not classes.")
        if self.scheme.merges is not None:
            counts = self.scheme.merges.summed(counts, len(self.scheme.class_names))
        if self.view.cut.y_of == "recording":
            return np.asarray(self.per_recording[:, None] * counts)
        whole, partial = self.whole_and_partial()
        found = np.zeros_like(counts)
        found[whole] = counts[whole]
        if partial is not None:
            found += count_classes(partial.reader, self.scheme, self.starts)
        return found

    @property
    def _has_several_labels(self) -> bool:
        """Whether a sample has a label for each step, or several at once."""
        shape, cut = self.reader.y_step[0], self.view.cut
        n_axes = len(shape) - (self.scheme.encoding == "one_hot")
        return n_axes > 0 or cut.y_steps is None or cut.n_label_axes > 0

    def class_weight(self) -> dict[int, float]:
        """Return Keras' `class_weight` that balances the classes: n / (n_classes · count).

        Keys are positions as label_mode="int" gives them; classes that do not occur are left out.

        Raises
        ------
        SampleError
            If samples have several labels each, which Keras would weigh wrongly without a word.
        """
        if self.scheme.parts:
            raise SampleError(
                "class_weight is for one array of labels, but there are "
                f"{', '.join(self.scheme.parts)}; use ZarrSequence(sample_weight="
                f"{{{next(iter(self.scheme.parts))!r}: 'class'}})."
            )
        counts = self.class_counts
        self._refuse_several_labels()
        present = np.flatnonzero(counts)
        return {int(code): float(counts.sum() / (len(present) * counts[code])) for code in present}

    def check_class_weight(self, class_weight: Any, label_mode: object) -> None:
        """Refuse a `class_weight` of `fit` that Keras would ignore, or take for something else.

        Of several arrays of labels Keras refuses each by itself.

        Raises
        ------
        SampleError
            If it is no dict, names what is no class, or samples have several labels each.
        """
        if self.scheme.parts:
            return
        self._refuse_several_labels()
        check_class_weight(class_weight, label_mode, self.scheme)

    def _refuse_several_labels(self) -> None:
        if self._has_several_labels:
            raise SampleError(
                "Keras' class_weight is for samples with one label each, but these have several; "
                "use ZarrSequence(sample_weight='class')."
            )

    def sampling(
        self,
        balance: Balance | None,
        resample: Resample,
        order: Sequence[int] | IntArray | None,
        shuffle: object,
    ) -> Sampling | None:
        """Return which of these samples an epoch shows; None: each one once. See `batches`."""
        return sampling_of(
            self.reader,
            self.scheme,
            self.store.catalog,
            self.per_recording,
            balance=balance,
            resample=resample,
            order=order,
            shuffle=shuffle,
        )
