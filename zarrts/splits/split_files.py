"""A split as a small JSON file that only fits the store that it was made for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zarrts.errors import SampleError
from zarrts.indexing.units import Ranges
from zarrts.reading.selection import Selection
from zarrts.storage.store import combined_id
from zarrts.store import Store
from zarrts.system import make_folder

_FORMAT = "zarrts-split/1"


def write_split(path: Path, store: Store, parts: Mapping[str, Ranges]) -> None:
    """Write which samples are in each part, and of which store.

    Parts of whole subjects are their names, others are ranges of sample ids, [start, stop).
    """
    document = {
        "format": _FORMAT,
        "store": {
            "fingerprint": _fingerprint(store),
            "version": store.version,
            "n_samples": store.n_samples,
        },
        "parts": {name: _document(store, part) for name, part in parts.items()},
    }
    make_folder(path.parent.absolute())
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _fingerprint(store: Store) -> str:
    return combined_id(store.header.segments)


def _document(store: Store, part: Ranges) -> dict[str, Any]:
    catalog = store.catalog
    counts = np.diff(part.count_below(catalog.starts))
    touched = np.unique(catalog.subject_codes[counts > 0])
    names = [catalog.subjects[code] for code in touched]
    if len(catalog.samples_of(names)) == len(part):
        return {"n_samples": len(part), "subjects": names}
    ranges = np.stack([part.starts, part.stops], axis=1).tolist()
    return {"n_samples": len(part), "subjects_in_part": names, "ids": ranges}


def load_parts(path: Path, store: Store) -> dict[str, Selection]:
    """Return the samples of each part of a split of this very store.

    Raises
    ------
    SampleError
        If the file is not a split, or is of another store or version.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != _FORMAT:
            raise ValueError(f"its format is {document['format']!r}, not {_FORMAT!r}")
        known, parts = document["store"], document["parts"]
        version, fingerprint = known["version"], known["fingerprint"]
    except FileNotFoundError as error:
        raise SampleError(f"{path}: there is no such file.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SampleError(f"{path} is not a split that zarrts saved ({error}).") from error
    if fingerprint != _fingerprint(store):
        raise SampleError(
            f"{path} is a split of another store: it was made for version {version} of one with "
            f"the fingerprint {fingerprint}, but {store.path}, version {store.version}, has "
            f"{_fingerprint(store)}. Open that version, or split anew."
        )
    every = Selection.of(store)
    return {name: every.narrowed(_ranges(path, store, name, part)) for name, part in parts.items()}


def _ranges(path: Path, store: Store, name: str, part: Mapping[str, Any]) -> Ranges:
    try:
        if "subjects" in part:
            found = store.catalog.samples_of(list(part["subjects"]))
        else:
            bounds = np.array(part["ids"], np.int64).reshape(-1, 2)
            found = Ranges.of_bounds(bounds[:, 0], bounds[:, 1])
        whole = Ranges.of_bounds(np.zeros(1, np.int64), np.array([store.n_samples]))
        if len(found & whole) != part["n_samples"]:
            raise ValueError(f"its part {name!r} has other samples than it says")
    except (ValueError, KeyError, TypeError) as error:
        raise SampleError(f"{path} is not a split that zarrts saved ({error}).") from error
    return found
