"""The recordings of a study, found in files by their headers alone."""

from zarrts.sources.finding import Found, find, find_inputs
from zarrts.sources.fingerprint import refuse_changes
from zarrts.sources.formats import load_arrays
from zarrts.sources.lengths import as_in_store
from zarrts.sources.listing import LINE_OF_A_TABLE, with_table
from zarrts.sources.names import session_like
from zarrts.sources.owners import is_of_owner
from zarrts.sources.stretches import every_of

__all__ = [
    "LINE_OF_A_TABLE",
    "Found",
    "as_in_store",
    "every_of",
    "find",
    "find_inputs",
    "is_of_owner",
    "load_arrays",
    "refuse_changes",
    "session_like",
    "with_table",
]
