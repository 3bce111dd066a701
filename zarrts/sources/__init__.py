"""The recordings of a study, found in files by their headers alone.

Options (`source_options`) are below `rows` (how rows are read), these below `steps` (what is done
with them) and `formats` (what a file holds), and these below `study` (which recordings there are,
and whose). `Format` and what it needs
are for packages that add a file format.
"""

from zarrts.sources.formats.contents import Contents
from zarrts.sources.formats.format import Format
from zarrts.sources.formats.registry import load_arrays
from zarrts.sources.option_records import recorded_description
from zarrts.sources.rows.counted import Counted, counted_of
from zarrts.sources.rows.files import SourceFile
from zarrts.sources.rows.inputs import AlignedRows, readers_of, steps_of, with_readers
from zarrts.sources.rows.label_rows import every_of
from zarrts.sources.rows.reader import Rows
from zarrts.sources.rows.strided import ByteLayout, StridedRows
from zarrts.sources.source_options import SourceOptions
from zarrts.sources.steps.chains import whole_bytes, working_bytes
from zarrts.sources.study.finding import Found, Scanned, brought_together, find, scan
from zarrts.sources.study.fingerprint import refuse_changes
from zarrts.sources.study.inputs import find_inputs
from zarrts.sources.study.ragged import as_in_store
from zarrts.sources.study.recording_table import LINE_OF_A_TABLE, with_table
from zarrts.sources.study.standards import Reference
from zarrts.sources.study.subject_names import is_sleep_edf, session_like
from zarrts.sources.study.subject_runs import is_subject_run
from zarrts.types import Description

__all__ = [
    "LINE_OF_A_TABLE",
    "AlignedRows",
    "ByteLayout",
    "Contents",
    "Counted",
    "Description",
    "Format",
    "Found",
    "Reference",
    "Rows",
    "Scanned",
    "SourceFile",
    "SourceOptions",
    "StridedRows",
    "as_in_store",
    "brought_together",
    "counted_of",
    "every_of",
    "find",
    "find_inputs",
    "is_sleep_edf",
    "is_subject_run",
    "load_arrays",
    "recorded_description",
    "readers_of",
    "refuse_changes",
    "scan",
    "session_like",
    "steps_of",
    "whole_bytes",
    "with_readers",
    "with_table",
    "working_bytes",
]
