"""Say why there is no store of ours at a place, and how to make one."""

import re
from collections.abc import Mapping
from typing import Any

from zarrts.storage.location import Location
from zarrts.storage.segments import ROOT_KEY, SEGMENT_MARK

_MAKE = "zarrts convert SOURCES study.zarr"


def why_not_ours(root: Location, document: Mapping[str, Any]) -> str:
    """Return why a Zarr array or group is no store of ours."""
    if SEGMENT_MARK in document.get("attributes", {}):
        return f"{root} is a part of a store; open the folder that it is in: {root.parent}"
    return f"{root} is a Zarr {document['node_type']}, but no zarrts store. Make one: {_MAKE}"


def why_no_store(root: Location) -> str:
    """Return why there is no store where there is no root."""
    is_not_there = f"{root} does not exist. Check the spelling, or make a store: {_MAKE}"
    if not root.exists():
        return is_not_there
    if root.is_file():
        return f"{root} is a file, not a store. Make one: zarrts convert {quoted(root)} study.zarr"
    try:
        suffixes = {path.suffix.lower() for path in root.iterdir()}
    except FileNotFoundError:  # it went just now
        return is_not_there
    if (root / "0" / ROOT_KEY).exists():
        return (
            f"{root} is a store whose conversion did not finish. Run the same zarrts convert again."
        )
    if suffixes & {".npz", ".npy", ".h5", ".hdf5", ".hdf", ".mat", ".edf", ".bdf"}:
        return (
            f"{root} holds source files, not a store. Convert them first: "
            f"zarrts convert {quoted(root)} study.zarr, and open study.zarr."
        )
    return f"{root} is a folder, but no store. Make one: {_MAKE}"


def quoted(text: object) -> str:
    """Return a path or a name as it is typed into any shell."""
    return f'"{text}"' if re.search(r"[^\w./\\:-]", str(text)) else str(text)
