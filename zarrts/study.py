"""A study before it is stored, as users hold it in their hands."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zarrts.errors import PlanError, ZarrtsError
from zarrts.types import Description, LabelsPer

if TYPE_CHECKING:
    from zarrts.conversion.options import ConvertOptions
    from zarrts.conversion.understanding import Understood
    from zarrts.sources import Scanned
    from zarrts.sources.step_options import Step


@dataclass(frozen=True, kw_only=True)
class StudyRecording:
    """A recording of a study, after its steps.

    Attributes
    ----------
    subject, origin : str
        Whose it is, and the name of its file.
    shape : tuple of int
        Of x: rows first.
    dtype : str
        Of x, as it will be stored.
    channels, units : tuple of str, or None
    rate_hz : float, or None
        Time steps per second.
    labels_per : str
        What has a label: "sample" where rows are samples; else "recording", or each "row".
    """

    subject: str
    origin: str
    shape: tuple[int, ...]
    dtype: str
    channels: tuple[str, ...] | None
    units: tuple[str, ...] | None
    rate_hz: float | None
    labels_per: LabelsPer
    _study: "Study"
    _number: int

    @property
    def x(self) -> Any:
        """Its rows, as a Dask array."""
        from zarrts.conversion.arrays import inputs_of

        return inputs_of(self._study._understood, [self._number])

    @property
    def y(self) -> Any:
        """Its labels as they are in the source, as a Dask array; several are a dictionary."""
        from zarrts.conversion.arrays import labels_of

        return labels_of(self._study._understood, [self._number])

    def __repr__(self) -> str:
        rate = "" if self.rate_hz is None else f", {self.rate_hz:g} Hz"
        shape = " x ".join(f"{it:,}" for it in self.shape)
        return f"<StudyRecording {self.origin} of {self.subject}: {shape} {self.dtype}{rate}>"


class Study:
    """The recordings that `zarrts.scan` found, and the steps that are taken on them.

    Immutable, and lazy: headers and labels are read, and rows only when they are asked for. Each
    step returns another study. `zarrts.convert(study, "study.zarr")` stores it; print it to see
    what would be stored.

    Every row after the steps has the same bits whatever is asked for with it, so that neither
    memory nor chunks nor workers change a store. Filters and resampling stop at missing values
    (NaN), which stay missing, and begin anew behind them; beyond the ends of what they work on, a
    recording goes on as its own mirror image, turned by half around the last value (2 * x[0] -
    x[i]), as far as it is long, and is zero from there on.
    """

    def __init__(
        self,
        source: Any,
        options: "ConvertOptions",
        storage_options: Mapping[str, Any] | None = None,
        scanned: "Scanned | None" = None,
        on: str = "",
    ) -> None:
        self._on = on
        self._source, self._options, self._address = source, options, storage_options
        if scanned is None:
            from zarrts.conversion.prepare import scan

            self._options, scanned = scan(source, options, storage_options)
        self._scanned = scanned

    # What it holds ---------------------------------------------------------------------------

    @cached_property
    def _understood(self) -> "Understood":
        from zarrts.conversion.prepare import brought_together
        from zarrts.conversion.understanding import understand

        return understand(brought_together(self._scanned, self._options), self._options)

    @property
    def recordings(self) -> tuple[StudyRecording, ...]:
        """The recordings, in the order of the store, after all steps.

        Raises
        ------
        SourceError
            Naming every file that cannot be used, and why.
        """
        found = self._understood
        described = found.description
        return tuple(
            StudyRecording(
                subject=it.subject,
                origin=it.origin,
                shape=it.x.shape,
                dtype=found.layout.dtype.name,
                channels=described.channels,
                units=described.units,
                rate_hz=described.rate_hz,
                labels_per=it.labels_per,
                _study=self,
                _number=number,
            )
            for number, it in enumerate(found.recordings)
        )

    @property
    def subjects(self) -> list[str]:
        """Names of the subjects, in order of first appearance."""
        return list(dict.fromkeys(it.subject for it in self._understood.recordings))

    @property
    def description(self) -> Description:
        """Channels, units and rate of all recordings, after all steps."""
        return self._understood.description

    @property
    def steps(self) -> "tuple[Step, ...]":
        """The steps, in their order."""
        return self._options.steps

    @property
    def x(self) -> Any:
        """All rows as the store would have them, as one Dask array; a block is a shard.

        Where recordings are of unequal lengths, they follow each other; `study[i].x` is one.
        """
        from zarrts.conversion.arrays import inputs_of

        return inputs_of(self._understood)

    @property
    def y(self) -> Any:
        """All labels as they are in the sources, as one Dask array; several are a dictionary.

        One for each row of `x`, or for each recording where these have one.
        """
        from zarrts.conversion.arrays import labels_of

        return labels_of(self._understood)

    def __len__(self) -> int:
        return len(self._understood.recordings)

    def __getitem__(self, number: int) -> StudyRecording:
        return self.recordings[number]

    def __iter__(self) -> Iterator[StudyRecording]:
        return iter(self.recordings)

    def __repr__(self) -> str:
        from zarrts.commands.describe import describe_study

        try:
            return "\n".join(describe_study(self._understood))
        except ZarrtsError as error:
            n_found = len(self._scanned.recordings)
            return f"{n_found:,} recordings, which cannot be stored as they are:\n{error}"

    # Steps -----------------------------------------------------------------------------------

    def _with(self, step: "Step") -> "Study":
        from zarrts.sources.step_lists import on_input

        steps = self._scanned.with_step(self._options.steps, on_input(step, self._on))
        options = replace(self._options, steps=steps)
        # Signals of several rates are no problem any more where some are picked.
        scanned = None if self._scanned.may_depend_on_steps else self._scanned
        return Study(self._source, options, self._address, scanned, self._on)

    def on(self, name: str) -> "Study":
        """Return the same study, whose further steps are taken on one of several inputs.

        `study.on("acc").filter(0.5, 10).resample("25Hz").on("hr").clean(amplitude=220)`.
        """
        return Study(self._source, self._options, self._address, self._scanned, name)

    def pick(
        self,
        channels: Sequence[str | Mapping[str, Any]] | Mapping[str, Any],
        *,
        absent: str = "error",
        reference: str | None = None,
    ) -> "Study":
        """Choose channels by name, in this order.

        Parameters
        ----------
        channels : list of str, or dict
            Names; or for each name, the ones that it may have in a file, of which the first that
            is there counts: {"EEG Fpz-Cz": ["Fpz-Cz", "EEG Fpz - Cz"]}. A tuple of two is their
            difference: {"C3-A2": ("C3", "A2")}, each of them a name or a list of names.
        absent : str
            Of a recording without one of them: "error" refuses it, "nan" makes the channel NaN,
            "drop-recording" leaves it out.
        reference : "average", optional
            Subtract from each channel the mean of all that are picked.

        Returns
        -------
        Study
        """
        from zarrts.sources.step_options import Pick

        return self._with(Pick.of(channels, absent=absent, reference=reference))

    def resample(self, rate: float | str) -> "Study":
        """Bring all recordings to one rate.

        The filter is linear in phase: 80 dB of what is above half of the lower rate is taken away,
        and what is below 0.8 of that stays. The first row stays in its place; row j is at the time
        of row j * rate / new rate, and has the label of the row that covers its time. Where rows
        are samples, each is resampled by itself, along time.

        Parameters
        ----------
        rate : float or str
            In Hz, such as 100 or "100Hz".

        Returns
        -------
        Study
        """
        from zarrts.sources.step_options import Resample

        return self._with(Resample.of(rate))

    def filter(
        self, low: float | None, high: float | None = None, *, method: str = "fir"
    ) -> "Study":
        """Keep the frequencies between two, with zero phase.

        Parameters
        ----------
        low, high : float, or None
            In Hz; None for a low-pass or a high-pass.
        method : str
            "fir": the filter that `mne.filter.filter_data` designs by default, of which 3.3 / l
            seconds make a transition of l Hz: min(max(low / 4, 2), low), and for high alike.
            "iir": Butterworth of order 4, forward and backward, over whole recordings, which have
            to fit into memory (extra filter).

        Returns
        -------
        Study
        """
        from zarrts.sources.step_options import Filter

        return self._with(Filter.of(low, high, method=method))

    def notch(self, *frequencies: float) -> "Study":
        """Take frequencies such as that of the mains out, with zero phase.

        As `mne.filter.notch_filter` by default: 1/200 of the frequency is taken out, with
        transitions of 0.5 Hz on both sides.

        Parameters
        ----------
        *frequencies : float
            In Hz, such as 50, 100.

        Returns
        -------
        Study
        """
        from zarrts.sources.step_options import Notch

        return self._with(Notch.of(*frequencies))

    def map(
        self,
        function: Any,
        *,
        halo: int | str = 0,
        whole: bool = False,
        channels: Sequence[str] | None = None,
        **keywords: Any,
    ) -> "Study":
        """Call a function with blocks of rows, or with whole recordings.

        The store keeps the path by which the function is imported, a digest of its source and its
        keywords; never the function. Where it cannot be imported, `append` and `predict` are given
        it: functions={"name": function}.

        Parameters
        ----------
        function : callable, or "module:name"
            Takes float64 of shape (rows, channels), and returns as many rows. It is called from
            several threads, with blocks whose borders depend on the number of channels alone.
        halo : int or str
            Rows, or time such as "2s", that it sees on both sides of a block; at the ends of a
            recording there are none. What it returns for them is not used.
        whole : bool
            Call it once for each recording, which has to fit into memory.
        channels : sequence of str, optional
            Names of the channels that it returns, where these are others.
        **keywords
            For the function: text and numbers.

        Returns
        -------
        Study
        """
        from zarrts.sources.step_options import Map

        return self._with(Map.of(function, halo=halo, whole=whole, channels=channels, **keywords))

    def clean(
        self,
        *,
        flat: int | str | None = None,
        amplitude: float | None = None,
        nan: bool = True,
        around: int | str = 0,
    ) -> "Study":
        """Mask time steps that are no good; x stays as it is.

        The mask is stored beside x, and `samples.windows(..., nan="drop")` leaves windows with
        masked steps out. What is looked at are the rows as they are at this place among the steps,
        before a filter smooths what is wrong. The dry run counts the mask for each subject.

        Parameters
        ----------
        flat : int or str, optional
            Rows, or time such as "5s", for which a channel keeps one value.
        amplitude : float, optional
            Values beyond it, of either sign, in the unit of the channel.
        nan : bool
            Missing values.
        around : int or str
            Rows, or time, before and after what is no good that are masked, too.

        Returns
        -------
        Study
        """
        from zarrts.sources.step_options import Clean

        return self._with(Clean.of(flat, amplitude, nan, around))

    # For `convert` ---------------------------------------------------------------------------

    def for_conversion(
        self, given: "ConvertOptions", table: object = None
    ) -> "tuple[Scanned, ConvertOptions]":
        """Return what was found, and the options of the study with those of a conversion.

        Raises
        ------
        PlanError
            If options of sources are among them.
        """
        from zarrts.conversion.options import ConvertOptions
        from zarrts.sources import SourceOptions

        usual = ConvertOptions()
        said = {
            it.name: getattr(given, it.name)
            for it in fields(given)
            if getattr(given, it.name) != getattr(usual, it.name)
        }
        of_sources = [it.name for it in fields(SourceOptions) if it.name in said]
        of_sources += ["table"] if table is not None else []
        if of_sources:
            named = ", ".join(f"{name}=" for name in of_sources)
            raise PlanError(
                f"{named} {'is' if len(of_sources) == 1 else 'are'} about sources, which a study "
                "has found already; say it to zarrts.scan."
            )
        return self._scanned, replace(self._options, **said)
