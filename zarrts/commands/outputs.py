"""Files that commands write: refused before work is spent on what goes into them."""

import os
from pathlib import Path

from zarrts.errors import StoreError


def refuse_folder_of(path: Path) -> None:
    """Refuse a file in a folder that is not there, or that may not be written to.

    Raises
    ------
    StoreError
        Which names both.
    """
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise StoreError(f"{path}: cannot be written into {path.parent}; choose another folder.")
