"""A callback from whose backups a run goes on at the very batch.

A backup is one file, replaced atomically: the weights, the state of random layers and of the
optimizer, the metrics of the epoch so far, and how many batches were *consumed*; TensorFlow may
have asked for more.
"""

import io
import json
import warnings
import zipfile
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zarrts.backend import keras
from zarrts.errors import SampleError, StoreError
from zarrts.keras.adapter import epoch_iterator, reader_behind
from zarrts.keras.position import Position
from zarrts.keras.sequence import ZarrSequence
from zarrts.loading.epochs import EpochPart, Pass, Reader
from zarrts.system import make_folder, replace_file
from zarrts.types import AnyArray

_STATE = "state"
_GROUPS = ("model", "optimizer", "metrics", "random")


class BackupAndRestore(keras.callbacks.Callback):  # type: ignore[misc]
    """Saves training as it goes on, and lets `fit` go on from there when it is called again.

    A run that was killed and is started again sees exactly the batches that were left, and ends
    with the weights of a run that was not, as far as the backend computes alike each time. One
    folder is for one `fit`. What other callbacks remember is theirs to save.

    Parameters
    ----------
    folder : path
        Created if it is not there; on several processes they may share it.
    sequence : ZarrSequence
        What `fit` is given.
    save_freq : "epoch" or int
        Save at the end of each epoch, and after so many batches too if a number is given.
    delete_checkpoint : bool
        Delete the backup when `fit` comes to its end.

    Raises
    ------
    SampleError
        In `fit`, if the backup is of other batches: another selection, seed, rank or world size,
        or, within an epoch, another batch size, memory or steps per epoch; or of another model.
    """

    def __init__(
        self,
        folder: str | Path,
        sequence: ZarrSequence,
        save_freq: Literal["epoch"] | int = "epoch",
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(sequence, ZarrSequence):
            raise SampleError(
                f"BackupAndRestore needs the ZarrSequence that fit is given, not "
                f"{type(sequence).__name__}."
            )
        if save_freq != "epoch" and (not isinstance(save_freq, int) or save_freq < 1):
            raise SampleError(f"save_freq={save_freq!r} has to be 'epoch' or at least 1.")
        self.sequence, self.save_freq = sequence, save_freq
        self.delete_checkpoint = delete_checkpoint
        self.path = Path(folder) / f"backup-{sequence.rank}.npz"
        self._forget()

    def _forget(self) -> None:
        self._reader: Reader | None = None
        self._pass: Pass | None = None
        self._consumed = 0  # batches of the pass
        self._base = 0  # of them, those before this epoch, or before it was resumed
        self._steps_before = 0  # of this epoch, before it was resumed
        self._unsaved = 0
        self._last_step = self._next_step = -1
        self._metrics: list[AnyArray] | None = None
        self._random: list[AnyArray] = []
        self._skipped: deque[int] = deque()  # what the next passes lack of a whole one
        self._resumed = ExitStack()

    # What Keras calls --------------------------------------------------------------------

    def on_train_begin(self, logs: Any = None) -> None:
        """Restore the backup, if there is one."""
        self._forget()
        self._reader = self.sequence.reader
        counter = epoch_iterator()
        if counter is not None and reader_behind(counter) is not self._reader:
            raise SampleError("fit was given another data set than BackupAndRestore.")
        if self._reader is None:
            warnings.warn(
                f"Keras {keras.__version__} reads in a way that this version of zarrts does not "
                "know: training resumes at an epoch, not within one. Upgrade zarrts.",
                stacklevel=2,
            )
        if self.path.exists():
            self._restore()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Take note of the epoch."""
        self._epoch, self._last_step = epoch, -1
        if self._metrics is not None:
            self._restore_metrics(self._metrics)
            self._metrics = None
            # The epoch has fewer steps than Keras was told, which is as it should be.
            self._resumed.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", "Your input ran out of data", UserWarning)
        else:
            self._steps_before = 0
        if self._reader is None and self.params.get("steps") == len(self.sequence):
            self.sequence.epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Let Keras count the batches of a pass that were consumed before."""
        if self._last_step < 0 and self._skipped:
            self._count_skipped()
        # Keras before 3.11 says at the end which step came first, not which came last.
        self._next_step = batch + self._model.steps_per_execution - 1
        self._restore_random()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count what was consumed, and save where it is time to."""
        if self._reader is None:
            return
        current = self._reader.latest
        if current is None:
            return
        if self._last_step < 0:  # a pass begins with an epoch, or goes on in it
            self._base = self._consumed if current is self._pass else current.part.start
            self._pass = current
        self._unsaved += self._next_step - self._last_step
        self._last_step = self._next_step
        self._consumed = min(self._base + self._last_step + 1, current.part.stop)
        if self._consumed == current.part.stop < len(self.sequence):
            # Keras now makes an iterator that it would not, had the pass not been cut.
            self._random = _random_states()
        steps = self._steps_before + self._last_step + 1
        is_last = steps >= self.params["steps"] or self._consumed == len(self.sequence)
        if self.save_freq != "epoch" and self._unsaved >= self.save_freq and not is_last:
            self._save(self._epoch, steps)

    def on_test_begin(self, logs: Any = None) -> None:
        """Let validation draw what it would, had the run not been cut."""
        self._restore_random()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save."""
        self._restore_random()
        self._resumed.close()
        self._save(epoch + 1, 0)

    def on_train_end(self, logs: Any = None) -> None:
        """Delete the backup, which has served its purpose."""
        self._model._initial_epoch = None
        if self.delete_checkpoint:
            self.path.unlink(missing_ok=True)

    # Saving ------------------------------------------------------------------------------

    def _position(self) -> Position:
        n_begun = self.sequence.feed.passes.n_begun
        if self._pass is None or self._consumed == len(self.sequence):
            return self.sequence.loop.position(n_begun, 0, n_begun)
        return self.sequence.loop.position(self._pass.part.epoch, self._consumed, n_begun)

    def _save(self, epoch: int, steps: int) -> None:
        self._unsaved = 0
        state = {
            "epoch": epoch,
            "steps_done": steps,
            "steps": self.params["steps"],
            "position": self._position().to_dict(),
        }
        arrays = {_STATE: np.frombuffer(json.dumps(state).encode(), np.uint8)}
        for group, variables in _variables(self.model).items():
            for i, variable in enumerate(variables):
                arrays[f"{group}/{i}"] = _values(variable)
        for i, values in enumerate(_random_states()):
            arrays[f"random/{i}"] = values
        content = io.BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]
        make_folder(self.path.parent)
        replace_file(self.path, content.getvalue())

    # Restoring ---------------------------------------------------------------------------

    def _restore(self) -> None:
        state, groups = _read(self.path)
        position = self.sequence.loop.position_of(state["position"])
        steps = self.params["steps"]
        if (position.batch or state["steps_done"]) and steps != state["steps"]:
            raise SampleError(
                f"{self.path}: fit had {state['steps']} steps an epoch, but now has {steps}; use "
                "as many, or delete the backup to start anew."
            )
        optimizer = self.model.optimizer
        if optimizer is not None and not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        variables = _variables(self.model)
        for group in ("model", "optimizer"):
            _assign(variables[group], groups[group], group)
        # torch draws a number with each iterator, and the backup may have been made after that.
        self._random = groups["random"]
        if not position.batch and not getattr(epoch_iterator(), "steps_per_epoch", None):
            self._restore_random()
        self.model._initial_epoch = state["epoch"]
        if self._reader is not None:
            self._plan(self._reader, position, state["steps_done"])
            if state["steps_done"]:
                self._metrics = groups["metrics"]

    def _restore_random(self) -> None:
        _set_random_states(self._random)
        self._random = []

    def _restore_metrics(self, values: list[AnyArray]) -> None:
        """Let the log of the resumed epoch be of all of it.

        TensorFlow builds metrics with the first step only. Where this Keras does not build them
        before, the log is of what is left; weights are the same.
        """
        if len(self.model.metrics_variables) != len(values):
            build = getattr(self._model, "_symbolic_build", None)
            if build is not None:
                build(data_batch=self.sequence[0])
        if len(self.model.metrics_variables) == len(values):
            _assign(self.model.metrics_variables, values, "metrics")

    def _plan(self, reader: Reader, position: Position, steps_done: int) -> None:
        """Let the next passes be what is left: of the epoch, and of the pass that outlives it."""
        self._steps_before = steps_done
        length, steps = len(self.sequence), self.params["steps"]
        stop = min(position.batch + steps - steps_done, length) if steps_done else length
        if position.batch and steps != length and not hasattr(epoch_iterator(), "_steps_seen"):
            raise SampleError(
                f"Keras {keras.__version__} counts in a way that this version of zarrts does not "
                "know: with steps_per_epoch, training cannot resume. Upgrade zarrts."
            )
        parts = [
            EpochPart(epoch=position.epoch, start=start, stop=end)
            for start, end in ((position.batch, stop), (stop, length))
            if start < end
        ]
        self.sequence.feed.passes.plan(parts if position.batch else [], position.next_epoch, reader)
        self._skipped.extend(length - (it.stop - it.start) for it in parts if position.batch)

    def _count_skipped(self) -> None:
        """Let Keras, which counts to the length of an epoch, see an end where a part of one ends.

        Else the next epoch would be empty where an epoch and its part end together.
        """
        counter = epoch_iterator()
        begins_pass = getattr(counter, "_steps_seen", None) == self._model.steps_per_execution
        if begins_pass:
            counter._steps_seen += self._skipped.popleft()


def _variables(model: Any) -> dict[str, list[Any]]:
    optimizer = model.optimizer
    return {
        "model": list(model.variables),
        "optimizer": [] if optimizer is None else list(optimizer.variables),
        "metrics": list(model.metrics_variables),
    }


def _random_states() -> list[AnyArray]:
    """Return the states of torch's generators, from which Keras' layers draw there."""
    if keras.backend.backend() != "torch":
        return []
    import torch

    states = [torch.get_rng_state()]
    if torch.cuda.is_available():
        states += torch.cuda.get_rng_state_all()
    return [it.cpu().numpy() for it in states]


def _set_random_states(states: list[AnyArray]) -> None:
    if keras.backend.backend() != "torch" or not states:
        return
    import torch

    torch.set_rng_state(torch.from_numpy(states[0]))
    if torch.cuda.is_available() and len(states) == 1 + torch.cuda.device_count():
        torch.cuda.set_rng_state_all([torch.from_numpy(it) for it in states[1:]])


def _values(variable: Any) -> AnyArray:
    values = np.asarray(keras.ops.convert_to_numpy(variable))
    # NumPy cannot save bfloat16 and its like; float32 holds their every value.
    return values if values.dtype.kind in "biuf" else values.astype(np.float32)


def _assign(variables: list[Any], values: list[AnyArray], group: str) -> None:
    shapes = [tuple(it.shape) for it in variables], [it.shape for it in values]
    if shapes[0] != shapes[1]:
        raise SampleError(
            f"The backup is of another model: its {group} has {len(values)} arrays "
            f"{shapes[1][:8]}, but this one has {len(variables)} {shapes[0][:8]}; delete the "
            "backup to start anew."
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, list[AnyArray]]]:
    groups: dict[str, list[AnyArray]] = {group: [] for group in _GROUPS}
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            state = json.loads(file[_STATE].tobytes())
            for name in file.files:
                if name != _STATE:
                    groups[name.split("/")[0]].append(file[name])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise StoreError(f"{path} is not a whole backup ({error}); delete it.") from error
    return state, groups
