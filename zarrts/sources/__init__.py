"""The recordings of a study, found in files by their headers alone."""

from zarrts.sources.formats.array_names import session_like
from zarrts.sources.formats.owners import is_of_owner
from zarrts.sources.formats.registry import load_arrays
from zarrts.sources.rows.label_rows import every_of
from zarrts.sources.source_options import SourceOptions
from zarrts.sources.study.finding import Found, find, find_inputs
from zarrts.sources.study.fingerprint import refuse_changes
from zarrts.sources.study.lengths import as_in_store
from zarrts.sources.study.recording_table import LINE_OF_A_TABLE, with_table

__all__ = [
    "LINE_OF_A_TABLE",
    "Found",
    "SourceOptions",
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
