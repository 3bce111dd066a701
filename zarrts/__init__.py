"""Train Keras networks on time series that do not fit in memory.

store = zarrts.convert("subjects/", "study.zarr")
train, val, test = store.samples.split(val=2, test=["s03"])
seq = zarrts.ZarrSequence(train, batch_size=128, stats=train.stats())
model.fit(seq, validation_data=seq.like(val), epochs=10)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zarrts.errors import (
    PlanError,
    ReadError,
    SampleError,
    SourceError,
    StoreError,
    ZarrtsError,
)

if TYPE_CHECKING:
    from zarrts import transforms
    from zarrts.api import append, convert, open
    from zarrts.batch import Batch
    from zarrts.keras.prediction import evaluate, predict
    from zarrts.keras.resume import BackupAndRestore
    from zarrts.keras.sequence import ZarrSequence
    from zarrts.keras.subject_metrics import SubjectMetrics
    from zarrts.samples import Samples
    from zarrts.scanning import scan
    from zarrts.split import Split, assert_disjoint
    from zarrts.store import Store
    from zarrts.study import Study
    from zarrts.types import Recording
    from zarrts.upkeep.operations import compact, remove, repair, verify

    __version__: str

__all__ = [
    "BackupAndRestore",
    "Batch",
    "PlanError",
    "ReadError",
    "Recording",
    "SampleError",
    "Samples",
    "SourceError",
    "Split",
    "Store",
    "StoreError",
    "Study",
    "SubjectMetrics",
    "ZarrSequence",
    "ZarrtsError",
    "append",
    "assert_disjoint",
    "compact",
    "convert",
    "evaluate",
    "open",
    "predict",
    "remove",
    "repair",
    "scan",
    "transforms",
    "verify",
]

# Imported when first used, so that `import zarrts` pulls in neither Keras nor Dask nor Zarr.
_HOMES = {
    "BackupAndRestore": "zarrts.keras.resume",
    "Batch": "zarrts.batch",
    "Recording": "zarrts.types",
    "Samples": "zarrts.samples",
    "Split": "zarrts.split",
    "Store": "zarrts.store",
    "Study": "zarrts.study",
    "ZarrSequence": "zarrts.keras.sequence",
    "SubjectMetrics": "zarrts.keras.subject_metrics",
    "append": "zarrts.api",
    "assert_disjoint": "zarrts.split",
    "compact": "zarrts.upkeep.operations",
    "convert": "zarrts.api",
    "evaluate": "zarrts.keras.prediction",
    "open": "zarrts.store",
    "predict": "zarrts.keras.prediction",
    "remove": "zarrts.upkeep.operations",
    "repair": "zarrts.upkeep.operations",
    "scan": "zarrts.scanning",
    "verify": "zarrts.upkeep.operations",
}
_MODULES = {"transforms"}
# Opening a store needs little of what is here, and waits for no more than that.
_NAMES_AT_HOME = {"open": "open_store"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), _NAMES_AT_HOME.get(name, name))
    if name in _MODULES:
        return import_module(f"zarrts.{name}")
    if name == "__version__":
        return _version()
    raise AttributeError(f"module 'zarrts' has no attribute {name!r}")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("zarrts")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES, "__version__"})
