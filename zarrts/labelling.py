"""What samples are labelled with: their classes, and how many labels there are of each."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from zarrts.balancing import Balance, sampling_of
from zarrts.errors import SampleError
from zarrts.measured import Measured
from zarrts.reading import count_classes
from zarrts.sampling import Resample, Sampling
from zarrts.types import IntArray


class Labelled(Measured):
    """Samples that have labels; `Samples` is one, and adds all else."""

    @cached_property
    def class_counts(self) -> IntArray:
        """How many labels of each class these samples have, shape (n_classes,)."""
        counts = self.store.catalog.class_counts
        if counts is None:
            raise SampleError("These labels are numbers, not classes.")
        if self.view.cut.y_of == "x":
            raise SampleError("The targets of these samples are values of x, not classes.")
        if self.view.cut.y_of == "recording":
            return np.asarray(self.per_recording @ counts)
        whole, partial = self.whole_and_partial()
        total = counts[whole].sum(axis=0)
        if partial is not None:
            total = total + count_classes(partial.reader, self.store.header.labels)
        return np.asarray(total)

    def class_weight(self) -> dict[int, float]:
        """Return Keras' `class_weight` that balances the classes: n / (n_classes · count).

        Keys are positions as label_mode="int" gives them; classes that do not occur are left out.
        """
        counts = self.class_counts
        present = np.flatnonzero(counts)
        return {int(code): float(counts.sum() / (len(present) * counts[code])) for code in present}

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
            self.store.header.labels,
            self.store.catalog,
            self.per_recording,
            balance=balance,
            resample=resample,
            order=order,
            shuffle=shuffle,
        )
