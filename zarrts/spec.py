"""What a network has to be fed with: the treatment of its training, kept beside the saved model."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zarrts.errors import SampleError, StoreError
from zarrts.finish import Finish
from zarrts.labels import Label
from zarrts.loader import BatchOptions
from zarrts.moments import STATISTICS, Moments
from zarrts.selection import Samples
from zarrts.system import make_folder, replace_file
from zarrts.types import AnyArray

_FORMAT = "zarrts spec 1"


@dataclass(frozen=True, kw_only=True)
class Spec:
    """How samples were fed to a network, and what its classes are.

    Attributes
    ----------
    class_names : tuple, or None
        None where labels are no classes.
    row_shape : tuple of int
        Of one stored row: of a sample, or of a step of a recording.
    x_steps : tuple, or None
        Which rows a sample is, counted from its first; () is the row itself, None all of a
        recording.
    stored_dtype, dtype : str
        Of x in the store, and as the network gets it.
    stats : Moments, or None
        x becomes (x - mean) / std, per channel.
    batch_size, memory_bytes : int
    padding : dict, or None
        The options pad, pad_value, truncate and buckets of ZarrSequence.
    has_mask : bool
        A mask of the padding is a second input.
    """

    class_names: tuple[Label, ...] | None
    row_shape: tuple[int, ...]
    x_steps: Any
    stored_dtype: str
    dtype: str
    stats: Moments | None
    batch_size: int
    memory_bytes: int
    padding: Mapping[str, Any] | None = None
    has_mask: bool = False

    def save(self, path: str | Path) -> None:
        """Write it as JSON; a file that is there is replaced atomically."""
        values = asdict(self)
        if self.stats is not None:
            values["stats"] = {it: getattr(self.stats, it).tolist() for it in STATISTICS}
        path = Path(path)
        make_folder(path.parent.absolute())
        replace_file(path, json.dumps({"format": _FORMAT, **values}, indent=1).encode())

    @staticmethod
    def load(path: str | Path) -> "Spec":
        """Read what `save` wrote.

        Raises
        ------
        StoreError
            If the file is no such spec.
        """
        try:
            values = json.loads(Path(path).read_text("utf-8"))
            if values.pop("format") != _FORMAT:
                raise ValueError("of another format")
            stats = values.pop("stats")
            if stats is not None:
                stats = Moments(**{it: np.array(stats[it]) for it in STATISTICS})
            names = values.pop("class_names")
            return Spec(
                stats=stats,
                class_names=None if names is None else tuple(names),
                row_shape=tuple(values.pop("row_shape")),
                **values,
            )
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror}).") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"{path} is no spec that seq.save_spec() wrote ({error}); save it again."
            ) from error

    def treat(self, rows: AnyArray) -> AnyArray:
        """Return rows of a source as the network gets them, as if they came from the store."""
        rows = rows.astype(self.stored_dtype, copy=False)
        shift = scale = None
        if self.stats is not None:
            n_channels = self.row_shape[-1] if self.row_shape else 1
            if self.stats.mean.shape != (n_channels,):
                raise SampleError(f"The stats are of {self.stats.mean.size} channels.")
            std = np.where(self.stats.std > 0, self.stats.std, 1)
            wide = np.result_type(rows.dtype, self.dtype, np.float32)
            shift, scale = self.stats.mean.astype(wide), (1 / std).astype(self.dtype)
        out = np.empty(rows.shape, self.dtype)
        Finish(dtype=np.dtype(self.dtype), shift=shift, scale=scale).scale_into(rows, out)
        return out


def spec_of(samples: Samples, options: BatchOptions, *, has_mask: bool) -> Spec:
    """Return how some samples are fed to a network."""
    cut, padding, header = samples.view.cut, options.padding, samples.store.header
    x = header.segments[0].x
    return Spec(
        class_names=header.labels.class_names,
        row_shape=x.row_shape,
        x_steps=None if cut.x_steps is None else cut.x_steps.tolist(),
        stored_dtype=x.dtype.str,
        dtype=options.dtype.str,
        stats=options.stats,
        batch_size=options.batch_size,
        memory_bytes=options.memory_bytes,
        padding=None if padding is None else asdict(padding),
        has_mask=has_mask,
    )
