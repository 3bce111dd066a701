"""The exceptions that zarrts raises on purpose."""


class ZarrtsError(Exception):
    """Root of every error that zarrts raises on purpose."""


class SourceError(ZarrtsError):
    """A source file cannot be used: unreadable, damaged, ambiguous, or at odds with the others."""


class PlanError(ZarrtsError):
    """A conversion cannot be done as asked: memory, disk space, options or an existing target."""


class SampleError(ZarrtsError):
    """A selection, split or batch request does not fit the samples of the store."""


class OptionError(PlanError, SampleError, ValueError):
    """The value of an option means nothing, such as memory="lots", wherever it is given."""


class StoreError(ZarrtsError):
    """A path holds no complete store, or one that this version cannot read."""


class ReadError(ZarrtsError):
    """Bytes of a complete store are missing, damaged or cannot be read."""


class AccessError(ReadError):
    """Bytes cannot be had, and not because they are damaged: never skipped, nor to be repaired."""


class BucketError(ZarrtsError, OSError):
    """A bucket cannot be read or written: denied, not there, or no answer in time.

    Made of an errno, what is wrong, and the address of the object.
    """

    def __str__(self) -> str:
        where = f"{self.filename}: " if self.filename else ""
        return f"{where}{self.strerror}."
