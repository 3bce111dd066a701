"""Bring the recordings of a study together: one meaning of columns and rows, and the steps on them.

Recordings agree on channels and units before the first step that computes, so that a limit in uV
is one in all of them; and on rates after the last one, because steps bring these together. Steps
that pick channels at the beginning come before all that:

    pick ... | channels and units agree | filter, resample, ... | channels, units and rates agree
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from zarrts.sources.source_options import SourceOptions
from zarrts.sources.step_options import Pick, Step
from zarrts.sources.step_records import described_steps, recorded_steps
from zarrts.sources.steps.chains import Starts, finished
from zarrts.sources.steps.frames import FrameCache, Tails
from zarrts.sources.steps.taking import take
from zarrts.sources.study.agreement import Agreement, agree, unsaid_in
from zarrts.sources.study.meaning import adjusted_rows, check_named, described, wanted_of
from zarrts.sources.study.standards import Reference, Wanted
from zarrts.types import Description, SourceRecording


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Recordings that mean the same.

    Attributes
    ----------
    recordings : tuple of SourceRecording
        After all steps; those that a step leaves out are not among them.
    description : Description
        Of all of them.
    problems, notes : tuple of str
        What cannot be brought together; and what is done, the steps among it.
    steps : tuple of str
        Those of the notes that say what steps do.
    warnings : tuple of str
        What recordings do not say, and a reference does.
    before : Description, or None
        What the first step that computes had before it; None where there are no steps.
    numbers : tuple of int
        Which of the recordings before these are.
    """

    recordings: tuple[SourceRecording, ...]
    description: Description
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    steps: tuple[str, ...] = ()
    before: Description | None = None
    numbers: tuple[int, ...] = ()


def join(
    recordings: Sequence[SourceRecording], options: SourceOptions, reference: Reference | None
) -> Joined:
    """Return recordings of one input that mean the same, after the steps of the options."""
    if recordings:  # else other problems say why there are none
        check_named(options, ())
    if any(it.steps_taken for it in recordings):
        return _beside_taken(recordings, options, reference)
    if options.steps:
        return _after_steps(recordings, options, reference)
    alike, agreed = _agreed(recordings, wanted_of(options, reference))
    return Joined(
        recordings=tuple(alike),
        description=agreed.description,
        problems=agreed.problems,
        notes=agreed.notes,
        warnings=unsaid_in(agreed),
        numbers=tuple(range(len(alike))),
    )


def _beside_taken(
    recordings: Sequence[SourceRecording], options: SourceOptions, reference: Reference | None
) -> Joined:
    """Return recordings after all steps, of which some are after the first of them already.

    Options say what the others mean before these steps; after them, all have to mean the same.
    """
    if problems := _with_other_steps(recordings, options):
        return Joined(
            recordings=(),
            description=Description.unknown(),
            problems=problems,
            notes=(),
            warnings=(),
        )
    n_taken = min(len(it.steps_taken) for it in recordings if it.steps_taken)
    taken, left = options.steps[:n_taken], options.steps[n_taken:]
    others = [number for number, it in enumerate(recordings) if not it.steps_taken]
    now = join([recordings[it] for it in others], replace(options, steps=taken), None)
    found = {others[at]: it for at, it in zip(now.numbers, now.recordings, strict=True)}
    for number, it in enumerate(recordings):
        if it.steps_taken:
            found[number] = replace(it, steps_taken=it.steps_taken[n_taken:])
    numbers = sorted(found)
    then = replace(options, steps=left, before_steps=None, channels=None, units=None)
    then = replace(then, rate_hz=None, override=())
    ends = join([found[it] for it in numbers], then, reference)
    said = f"not taken again on rows of stores: {'; '.join(described_steps(recorded_steps(taken)))}"
    return replace(
        ends,
        problems=(*now.problems, *ends.problems),
        notes=(said, *now.notes, *ends.notes),
        warnings=(*now.warnings, *ends.warnings),
        steps=(said, *now.steps, *ends.steps),
        before=options.before_steps or now.before,
        numbers=tuple(numbers[it] for it in ends.numbers),
    )


def _with_other_steps(
    recordings: Sequence[SourceRecording], options: SourceOptions
) -> tuple[str, ...]:
    """Return a sentence for each recording of a store whose steps are not the first ones here."""

    def shown(steps: Sequence[Step]) -> str:
        return "; ".join(described_steps(recorded_steps(steps))) or "none"

    return tuple(
        f"{it.origin}: its store was made with other steps ({shown(it.steps_taken)}) than those "
        f"here ({shown(options.steps)}), so that rows would not mean the same; convert the files "
        "that it was made from."
        for it in recordings
        if it.steps_taken != options.steps[: len(it.steps_taken)]
    )


def _after_steps(
    recordings: Sequence[SourceRecording], options: SourceOptions, reference: Reference | None
) -> Joined:
    steps, cache, tails = options.steps, FrameCache(), Tails()
    n_picks = next((n for n, it in enumerate(steps) if not isinstance(it, Pick)), len(steps))
    named = [_named(it, options) if n_picks else it for it in recordings]
    problems: list[str] = []
    notes: list[str] = []
    lines: list[str] = []

    def taken(
        some: Sequence[SourceRecording], kinds: Sequence[Step], first: int
    ) -> list[SourceRecording]:
        starts = Starts(some)
        for number, step in enumerate(kinds, start=first):
            result = take(step, number, some, cache, starts.name_of)
            problems.extend(result.problems)
            lines.extend(result.lines)
            notes.extend((*result.lines, *result.notes))
            some = result.recordings
        return [*some]

    picked = taken(named, steps[:n_picks], 0)
    before = options.before_steps
    wanted = wanted_of(options, None if before is None else _reference(before, reference))
    if n_picks:
        wanted = replace(wanted, channels=None, picks=False)
    rated = _with_rates(picked, options, before)
    alike, agreed = _agreed(
        picked if _is_of_one_rate(picked, options) else _rateless(picked), wanted
    )
    problems.extend(agreed.problems)
    found = started = [
        replace(it, description=replace(it.description, rate_hz=rate_hz))
        for it, rate_hz in zip(alike, rated, strict=True)
    ]
    if not agreed.problems:
        found = taken(found, steps[n_picks:], n_picks)
    ends, end = _agreed(found, Wanted(reference=reference))
    if not problems:
        problems.extend(end.problems)
    starts = Starts(started)
    ends = [finished(starts.of(it), it, tails, starts.name_of(it)) for it in ends]
    rates = {it.description.rate_hz for it in started}
    description = replace(
        end.description,
        by_hand=agreed.description.by_hand if reference is None else end.description.by_hand,
    )
    return Joined(
        recordings=tuple(ends),
        description=description,
        problems=tuple(problems),
        notes=(*agreed.notes, *notes, *end.notes),
        warnings=unsaid_in(agreed) if before is not None else (),
        steps=tuple(lines),
        before=replace(agreed.description, rate_hz=rates.pop() if len(rates) == 1 else None),
        numbers=tuple(Starts(recordings).number_of(it) for it in ends),
    )


def _reference(before: Description, after: Reference | None) -> Reference:
    """Return the reference of what steps take; rates may be any, because steps change them."""
    owner = "the store has" if after is None else after.owner
    return Reference(description=replace(before, rate_hz=None), owner=owner, is_all=False)


def _named(it: SourceRecording, options: SourceOptions) -> SourceRecording:
    """Return a recording with the names that the user gives, where it has none."""
    names, description = options.channels, it.description
    if names is None or description.channels is not None or len(names) != it.x.shape[-1]:
        return it
    return replace(it, description=replace(description, channels=names))


def _with_rates(
    recordings: Sequence[SourceRecording], options: SourceOptions, before: Description | None
) -> list[float | None]:
    """Return the rate that each recording has: its own, the one that is given, or the only one."""
    known = {it.description.rate_hz for it in recordings} - {None}
    given = options.rate_hz or (None if before is None else before.rate_hz)
    if given is None and len(known) == 1:
        (given,) = known
    is_given = options.rate_hz is not None and "rate_hz" in options.override
    rates = [it.description.rate_hz for it in recordings]
    return [given if is_given or rate_hz is None else rate_hz for rate_hz in rates]


def _is_of_one_rate(recordings: Sequence[SourceRecording], options: SourceOptions) -> bool:
    """Return whether rates have to agree before the steps: one is given, or there is one."""
    known = {it.description.rate_hz for it in recordings} - {None}
    return options.rate_hz is not None or len(known) <= 1


def _rateless(recordings: Sequence[SourceRecording]) -> list[SourceRecording]:
    return [replace(it, description=replace(it.description, rate_hz=None)) for it in recordings]


def _agreed(
    recordings: Sequence[SourceRecording], wanted: Wanted
) -> tuple[list[SourceRecording], Agreement]:
    # Of no rows nothing is stored, and another problem is said of them.
    filled = [it for it in recordings if it.x.shape[0] or it.labels_per != "sample"]
    agreed = agree([described(it.origin, it.x, it.description) for it in filled], wanted)
    by_id = {id(it): adjusted for it, adjusted in zip(filled, agreed.adjusted, strict=True)}
    alike = [
        replace(it, x=adjusted_rows(it.x, by_id[id(it)]), description=agreed.description)
        if id(it) in by_id
        else it
        for it in recordings
    ]
    return alike, agreed
