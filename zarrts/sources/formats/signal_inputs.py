"""Several inputs of a file of signals: those that options name, or the signals of each rate."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from zarrts.errors import SourceError
from zarrts.lists import listed
from zarrts.sources.formats.drafts import Draft, NoInputsError
from zarrts.sources.rows.inputs import InputRows, InputTime, input_rows
from zarrts.sources.source_options import SourceOptions
from zarrts.types import Description, RowReader

Picked = tuple[RowReader, Description]
"""The reader of some signals of one rate, and their meaning."""

_DIGITS = (6, 9, 12, 17)
_MAX_NAMES = 6


def named_inputs(
    pick: Callable[[SourceOptions], Picked], options: SourceOptions, origin: str
) -> dict[str, Picked]:
    """Return the inputs that `x` names, each of the signals that it lists.

    Parameters
    ----------
    pick : function of options
        Returns the signals that `channels` names.

    Raises
    ------
    SourceError
        If `x` names inputs without their signals, or what is wrong with those of one.
    """
    if not isinstance(options.x, Mapping):
        names = list(options.inputs)
        raise SourceError(
            f"{origin}: x={names!r} names arrays, but this is a file of signals; choose some with "
            f"channels=, or say of which signals each input is: x={{{names[0]!r}: ['...', ...]}}."
        )
    found = {}
    for name in options.inputs:
        try:
            found[name] = pick(options.of_signals(name))
        except NoInputsError:
            raise
        except SourceError as error:
            raise SourceError(f"{error} This is about the input {name!r}.") from error
    return found


def names_by_rate(rates: Sequence[float]) -> dict[float, str]:
    """Return a name for the signals of each rate, such as "100Hz"; in order of the rates."""
    every = sorted({*rates})
    for digits in _DIGITS:
        names = [f"{rate:.{digits}g}Hz".replace("+", "") for rate in every]
        if len({*names}) == len(every):
            break
    return dict(zip(every, names, strict=True))


def shown_rates(signals: Sequence[tuple[str, float]]) -> str:
    """Return names and rates of signals as part of a sentence."""
    return listed(f"{name} ({rate:g} Hz)" for name, rate in signals)


def refuse_several_rates(signals: Sequence[tuple[str, float]], origin: str) -> None:
    """Raise SourceError unless signals, as pairs of name and rate, have one rate."""
    rates = [rate for _, rate in signals]
    if len({*rates}) <= 1:
        return
    of_rate = {
        called: [name for name, own in signals if own == rate]
        for rate, called in names_by_rate(rates).items()
    }
    written = " ".join(f"--x '{called}={','.join(some)}'" for called, some in of_rate.items())
    raise SourceError(
        f"{origin}: its signals have several rates: {shown_rates(signals)}; choose signals of one "
        f"rate with channels=['{signals[0][0]}', ...] (--channels), or make those of each rate an "
        f"input: x={of_rate} ({written})."
    )


def together(
    inputs: Mapping[str, Picked], origin: str, times: Mapping[str, InputTime] | None = None
) -> Picked:
    """Return several inputs as one reader; labels are for the steps of the fastest of them.

    Parameters
    ----------
    times : dict, optional
        When each was, where they need not start together.
    """
    parts = {name: described for name, (_, described) in sorted(inputs.items())}
    described = replace(Description.unknown(), parts=parts)
    name = _fastest_name(described)
    own = {} if not times else {**times, "y": times[name]}
    rows = input_rows({name: it for name, (it, _) in inputs.items()}, origin, own)
    return rows, replace(described, rate_hz=parts[name].rate_hz)


def fastest(rows: RowReader, description: Description) -> RowReader:
    """Return the input for whose steps labels are; of one input, that."""
    return rows.by_name[_fastest_name(description)] if isinstance(rows, InputRows) else rows


def options_of_labels(description: Description, options: SourceOptions) -> SourceOptions:
    """Return the options of the input for whose steps labels are; of one input, as they are."""
    return options.of_signals(_fastest_name(description)) if description.parts else options


def _fastest_name(description: Description) -> str:
    rates = {name: it.rate_hz or 0.0 for name, it in description.parts.items()}
    return max(rates, key=rates.__getitem__)


def notes_by_rate(description: Description, options: SourceOptions) -> tuple[str, ...]:
    """Return what the dry run says where the signals of each rate became an input."""
    if not description.parts or options.x is not None:
        return ()
    shown = "; ".join(
        f"{name} ({listed(it.channels or (), _MAX_NAMES)})"
        for name, it in description.parts.items()
    )
    return (f"has signals of several rates, those of each an input: {shown}; x= names others",)


def unlike_inputs(drafts: Sequence[Draft]) -> list[str]:
    """Return what is wrong with files of signals of other rates than those of most have."""
    names = [it.x.names if isinstance(it.x, InputRows) else () for it in drafts]
    if not any(names) or len({*names}) == 1:
        return []
    usual, count = Counter(names).most_common(1)[0]
    like = drafts[names.index(usual)].origin
    return [
        f"{it.origin}: has {_shown(own)}, but {count:,} of {len(drafts):,} files, such as {like}, "
        f"have {_shown(usual)}; say which signals are inputs, x={{'eeg': [...], 'emg': [...]}}, or "
        "choose those of one rate with channels= (--channels)."
        for it, own in zip(drafts, names, strict=True)
        if own != usual
    ]


def _shown(names: Sequence[str]) -> str:
    return f"signals of {', '.join(names)}" if names else "signals of one rate"
