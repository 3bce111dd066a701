"""The codecs that are ever built from what a store says of itself.

A store that somebody sent is data. Of the codecs that zarr-python has or finds among the installed
packages, some unpickle what they read, and so run code (GHSA-jqc8-qjfv-5m6r): here, what is not on
a short list is refused before Zarr sees its metadata.
"""

from collections.abc import Iterator, Mapping
from typing import Any

KNOWN_CODECS = frozenset(
    {
        *("blosc", "bytes", "crc32c", "gzip", "sharding_indexed", "transpose", "vlen-utf8"),
        "zstd",
    }
)


def refuse_unknown_codecs(metadata: Mapping[str, Any]) -> None:
    """Raise ValueError unless every codec that an array's metadata name is on the list.

    Parameters
    ----------
    metadata : mapping
        The `zarr.json` of an array, format 3.
    """
    if metadata.get("zarr_format") != 3 or metadata.get("storage_transformers"):
        raise ValueError("its metadata are not those of a plain Zarr array of format 3")
    unknown = sorted({*_names(metadata.get("codecs"))} - KNOWN_CODECS)
    if unknown:
        raise ValueError(
            f"its codec {', '.join(map(repr, unknown))} is not among those that are read: "
            f"{', '.join(sorted(KNOWN_CODECS))}"
        )


def _names(codecs: Any) -> Iterator[str]:
    """Yield the names of codecs, and of those inside them."""
    if not isinstance(codecs, list):
        raise ValueError("its metadata list no codecs")
    for codec in codecs:
        # A codec without options may be written as its name alone.
        document = codec if isinstance(codec, Mapping) else {"name": codec}
        yield str(document.get("name"))
        inside = document.get("configuration") or {}
        for key in ("codecs", "index_codecs"):
            if key in inside:
                yield from _names(inside[key])
