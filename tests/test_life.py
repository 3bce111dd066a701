"""The life of a store, step by step at random, beside a plain model of it in memory.

Whatever was done before, and wherever a step was killed, each version holds what the model has: the
old content or the new one. A kill is an error at one of the calls that change the disk, after which
no other such call comes through; the file that was being synced is torn. The slow test kills
processes as well.
"""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grown_stores import AnyArray
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import zarrts
from zarrts import system
from zarrts.errors import PlanError, StoreError, ZarrtsError
from zarrts.sources.study import fingerprint
from zarrts.storage import journal

NAMES = ("Aurelia", "Bruno", "Cosima", "Drusilla", "Eberhard", "Fritz")
CLASSES = ("N1", "N2", "REM", "wake")
# Of samples of shape (6, 3), five are in a chunk and fifteen in a shard.
SIZES: dict[str, Any] = {"chunk": 400, "shard": 1200, "codec": "none"}
QUIET: dict[str, Any] = {"progress": False, "workers": 2}
STEPS_OF_A_LIFE = 20

Content = tuple[AnyArray, AnyArray]
"""Values and labels of a subject."""
State = dict[str, Content]
"""Content of a version, by subject, in the order in which it is stored."""


# Kills -------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here; nobody should catch it."""


class Killer:
    """Counts the calls that change the disk, and ends the process at one of them.

    Only the names and files below a folder count.
    """

    def __init__(self, patch: pytest.MonkeyPatch, kill: Callable[[], None] | None = None) -> None:
        self._left: int | None = None
        self._kill = kill
        self.is_dead = False
        for name in ("replace", "rename", "unlink", "rmdir", "mkdir"):
            patch.setattr(os, name, self._counted(getattr(os, name)))
        for module in (system, journal):
            patch.setattr(module, "sync_file", self._sync)
        patch.setattr(system, "sync_folder", lambda path: self._count())

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *args: Any, **options: Any) -> Any:
            if not str(path).endswith("writing.lock"):  # whose end is that of the process
                self._count()
            return real(path, *args, **options)

        return call

    def _sync(self, fd: int) -> None:
        try:
            self._count()
        except Killed:
            os.ftruncate(fd, os.fstat(fd).st_size // 2)
            raise

    def _count(self) -> None:
        if self.is_dead:
            raise Killed
        if self._left is None:
            return
        self._left -= 1
        if self._left < 0:
            self.is_dead = True
            if self._kill is not None:
                self._kill()
            raise Killed

    @contextmanager
    def at(self, step: int | None) -> Iterator[None]:
        """Kill at a step, counted from 0; never if None."""
        self._left = step
        try:
            yield
        finally:
            self._left, self.is_dead = None, False


# The model ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """The versions of a store that can be opened, and the number of the latest one."""

    version: int = 0
    versions: dict[int, State] = field(default_factory=dict)

    @property
    def latest(self) -> State:
        return self.versions[self.version]

    def replaced(self, state: State) -> "Model":
        return Model(self.version + 1, {self.version + 1: state})

    def appended(self, state: State) -> "Model":
        number = self.version + 1
        return Model(number, {**self.versions, number: {**self.latest, **state}})

    def without(self, subject: str) -> "Model":
        kept = {number: it for number, it in self.versions.items() if subject not in it}
        number = self.version + 1
        left = {name: it for name, it in self.latest.items() if name != subject}
        return Model(number, {**kept, number: left})

    def compacted(self) -> "Model":
        return Model(self.version + 1, {self.version + 1: self.latest})


@dataclass
class Handle:
    """An open version, samples of it that were pickled, and what it holds."""

    store: Any
    pickled: bytes
    state: State
    is_damaged: bool = False


def joined(state: State) -> Content:
    x, y = zip(*state.values(), strict=True)
    return np.concatenate(x), np.concatenate(y)


def assert_is(samples: Any, state: State) -> None:
    """Samples are those of a version, with values, labels and subjects."""
    x, y = joined(state)
    found, codes = samples.load()
    np.testing.assert_array_equal(found, x)
    np.testing.assert_array_equal(np.array(samples.class_names)[codes], y)
    owners = [name for name, (some, _) in state.items() for _ in some]
    assert samples.subject.tolist() == owners


kills = st.tuples(st.booleans(), st.integers(0, 200)).map(lambda it: it[1] if it[0] else None)
subjects = st.sets(st.sampled_from(NAMES), min_size=1, max_size=3).map(sorted)


class Life(RuleBasedStateMachine):
    """A store in a folder, files of subjects beside it, and whoever has it open."""

    kills_processes = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.patch = pytest.MonkeyPatch()
        # Small files become large ones, of which samples are looked at.
        self.patch.setattr(fingerprint, "BLOCK_BYTES", 64)
        self.patch.setattr(fingerprint, "ROW_BLOCK_BYTES", 64)
        self.killer = Killer(self.patch)
        self.sources: State = {}
        self.path = self.folder / "a.zarr"
        self.model: Model | None = None
        # Whether a conversion, or a removal, was killed and may go on.
        self.is_unfinished = self.is_unswept = False
        self.killed: Callable[[int | None], None] | None = None
        self.handles: list[Handle] = []
        self.rows: dict[bytes, str] = {}
        self.n_made = 0

    def teardown(self) -> None:
        for it in self.handles:
            it.store.close()
        self.patch.undo()
        shutil.rmtree(self.folder)

    # Sources ---------------------------------------------------------------------------------

    @initialize(sizes=st.tuples(*[st.integers(1, 24)] * len(NAMES)), names=subjects)
    def save_sources(self, sizes: tuple[int, ...], names: list[str]) -> None:
        (self.folder / "sources").mkdir()
        for name, size in zip(NAMES, sizes, strict=True):
            self.save(name, size)
        self.convert(names, None, False, False)

    def save(self, name: str, size: int) -> None:
        self.n_made += 1
        rng = np.random.default_rng(self.n_made)
        x = rng.standard_normal((size, 6, 3)).astype("f4")
        y = np.array(CLASSES)[rng.integers(0, len(CLASSES), size)]
        # A zip says at both ends which crc32 the arrays have: others stand there.
        others = np.zeros(200)
        np.savez(self.file(name), a=others, x=x, y=y, z=others)
        self.sources[name] = x, y
        self.rows |= {row.tobytes(): name for row in x}

    def file(self, name: str) -> Path:
        return self.folder / "sources" / f"{name}.npz"

    def files(self, names: Sequence[str]) -> list[str]:
        return [str(self.file(name)) for name in names]

    def states(self, names: Sequence[str]) -> State:
        return {name: self.sources[name] for name in names}

    @rule(name=st.sampled_from(NAMES), is_of_same_size=st.booleans())
    def change_a_source(self, name: str, is_of_same_size: bool) -> None:
        size = len(self.sources[name][0])
        self.save(name, size if is_of_same_size else size % 24 + 1)

    # Steps -----------------------------------------------------------------------------------

    def take(
        self,
        step: tuple[Any, ...],
        after: Model,
        kill: int | None,
        again: Callable[[int | None], None],
        *,
        may_be_refused: bool = False,
        is_removal: bool = False,
    ) -> None:
        """Take a step, which is refused, killed, or comes to its end."""
        before, is_killed = self.model, False
        try:
            if self.kills_processes and kill is not None and kill % 8 == 0:
                is_killed = in_process(step, kill, self.folder)
            else:
                with self.killer.at(kill):
                    call(step)
                    is_killed = self.killer.is_dead
        except Killed:
            is_killed = True
        except PlanError as error:
            assert may_be_refused, error
            return
        if not is_killed:
            self.model, self.is_unfinished, self.is_unswept = after, False, False
            self.nothing_else_is_left()
            return
        self.killed = again
        version = self.version()
        assert version in (before.version if before else 0, after.version), version
        is_published = version == after.version
        if is_published:
            self.model = after
        self.is_unfinished |= not is_published and not is_removal
        self.is_unswept |= is_published

    def version(self) -> int:
        try:
            with zarrts.open(self.path) as store:
                return int(store.version)
        except StoreError:
            return 0

    @rule(names=subjects, kill=kills, overwrite=st.booleans(), restart=st.booleans())
    def convert(self, names: list[str], kill: int | None, overwrite: bool, restart: bool) -> None:
        state, step = self.states(names), ("convert", self.files(names), self.path)
        options = {**SIZES, "overwrite": overwrite, "restart": restart}
        if self.model is None or overwrite:
            after = (self.model or Model()).replaced(state)
            refused = self.is_unfinished and not restart
            again = partial(self.convert, names, overwrite=overwrite, restart=restart)
            self.take((*step, options), after, kill, again, may_be_refused=refused)
            return
        try:
            call((*step, options))
        except ZarrtsError:
            return
        # It holds just these, as they are now.
        assert list(self.model.latest) == names
        for one, other in zip(joined(self.model.latest), joined(state), strict=True):
            np.testing.assert_array_equal(one, other)

    @precondition(lambda self: self.model is not None)
    @rule(names=subjects, kill=kills, restart=st.booleans())
    def append(self, names: list[str], kill: int | None, restart: bool) -> None:
        assert self.model is not None
        new = [name for name in names if name not in self.model.latest]
        if not new:
            before = self.model
            try:
                call(("append", self.files(names), self.path, {"restart": restart}))
            except ZarrtsError:
                return
            assert all(
                np.array_equal(one, other)
                for name in names
                for one, other in zip(self.sources[name], before.latest[name], strict=True)
            )
            return
        step = ("append", self.files(new), self.path, {"restart": restart})
        after = self.model.appended(self.states(new))
        again = partial(self.append, names, restart=restart)
        self.take(step, after, kill, again, may_be_refused=self.is_unfinished and not restart)

    @precondition(lambda self: self.model is not None)
    @rule(number=st.integers(0, 99), kill=kills)
    def remove(self, number: int, kill: int | None) -> None:
        assert self.model is not None
        names = [*self.model.latest, *NAMES]
        name = names[number % len(names)]
        step = ("remove", [], self.path, {"subject": name})
        if name not in self.model.latest or len(self.model.latest) == 1:
            # Or it finishes an earlier removal.
            with suppress(ZarrtsError) if self.is_unswept else pytest.raises(ZarrtsError):
                call(step)
            return
        after = self.model.without(name)
        again = partial(self.remove, number)
        self.take(step, after, kill, again, may_be_refused=self.is_unfinished, is_removal=True)

    @precondition(lambda self: self.model is not None)
    @rule(kill=kills, may_drop=st.booleans())
    def compact(self, kill: int | None, may_drop: bool) -> None:
        assert self.model is not None
        with zarrts.open(self.path) as store:
            n_parts = len(store.header.segments)
        step = ("compact", [], self.path, {"drop_versions": may_drop})
        if n_parts == 1:
            with suppress(PlanError) if self.is_unfinished else nullcontext():
                call(step)
                # It deletes what an earlier step left.
                self.is_unswept = False
                self.nothing_else_is_left()
            assert self.version() == self.model.version
            return
        if not may_drop and len(self.model.versions) > 1:
            with pytest.raises(PlanError):
                call(step)
            return
        after = self.model.compacted()
        again = partial(self.compact, may_drop=may_drop)
        self.take(step, after, kill, again, may_be_refused=self.is_unfinished, is_removal=True)

    @precondition(lambda self: self.killed is not None)
    @rule(kill=kills)
    def do_it_again(self, kill: int | None) -> None:
        assert self.killed is not None
        again, self.killed = self.killed, None
        again(kill)

    @precondition(lambda self: self.model is not None and not self.is_unfinished)
    @rule(
        number=st.integers(0, 999), at=st.floats(0, 0.99), how=st.sampled_from(["flip", "unlink"])
    )
    def damage_and_repair(self, number: int, at: float, how: str) -> None:
        assert self.model is not None
        for it in self.handles:  # the file that they have open stays as it is
            it.is_damaged = True
        root = self.path
        with zarrts.open(root) as store:
            segments = [root / it.name for it in store.header.segments]
        every = [it for folder in segments for it in sorted(folder.glob("*/**/0")) if it.is_file()]
        every = [it for it in every if "table" not in it.parts]
        file = every[number % len(every)]
        content = file.read_bytes()
        if how == "flip":
            place = int(at * len(content))
            flipped = bytes([content[place] ^ 255])
            file.write_bytes(content[:place] + flipped + content[place + 1 :])
        else:
            file.unlink()
        assert zarrts.verify(root, deep=True).problems
        try:
            zarrts.repair(root, sources=str(self.folder / "sources"))
        except ZarrtsError:
            is_same = all(
                np.array_equal(one, other)
                for name, stored in self.model.latest.items()
                for one, other in zip(self.sources[name], stored, strict=True)
            )
            assert not is_same, file
            file.write_bytes(content)
            return
        assert file.read_bytes() == content

    # Places ----------------------------------------------------------------------------------

    @rule(name=st.sampled_from(["a.zarr", "b.zarr"]), how=st.sampled_from(["move", "copy"]))
    def change_place(self, name: str, how: str) -> None:
        place = self.folder / name
        if place == self.path or not self.path.exists():
            return
        shutil.rmtree(place, ignore_errors=True)
        if how == "move":
            self.path.rename(place)
        else:
            shutil.copytree(self.path, place)
        self.path = place

    @rule(names=subjects, kill=kills)
    def delete_and_convert(self, names: list[str], kill: int | None) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self.model, self.is_unfinished, self.is_unswept = None, False, False
        self.convert(names, kill, False, False)

    # Handles ---------------------------------------------------------------------------------

    @precondition(lambda self: self.model is not None and len(self.handles) < 6)
    @rule(number=st.integers(0, 99), is_read=st.booleans())
    def open_version(self, number: int, is_read: bool) -> None:
        assert self.model is not None
        known = sorted(self.model.versions)
        version = known[number % len(known)]
        store = zarrts.open(self.path, version=version)
        handle = Handle(store, pickle.dumps(store.samples), self.model.versions[version])
        if is_read:
            assert_is(store.samples, handle.state)
        self.handles.append(handle)

    @precondition(lambda self: bool(self.handles))
    @rule(number=st.integers(0, 99), how=st.sampled_from(["load", "batches", "pickle", "close"]))
    def use_handle(self, number: int, how: str) -> None:
        handle = self.handles[number % len(self.handles)]
        x, y = joined(handle.state)
        try:
            if how == "close":
                handle.store.close()
                self.handles.remove(handle)
            elif how == "load":
                assert_is(handle.store.samples, handle.state)
            elif how == "pickle":
                assert_is(pickle.loads(handle.pickled), handle.state)
            else:
                names = np.array(handle.store.class_names)
                for batch in handle.store.samples.batches(4, memory="3KiB", seed=number):
                    np.testing.assert_array_equal(batch.x, x[batch.sample_id])
                    np.testing.assert_array_equal(names[batch.y], y[batch.sample_id])
        except ZarrtsError:
            # It was removed, replaced, moved or deleted.
            assert self.is_gone(handle), how

    def is_gone(self, handle: Handle) -> bool:
        if handle.is_damaged or handle.store.path != str(self.path) or self.model is None:
            return True
        return all(it is not handle.state for it in self.model.versions.values())

    # What always holds -------------------------------------------------------------------------

    @invariant()
    def every_version_is_what_it_was(self) -> None:
        if self.model is None:
            assert self.version() == 0
            return
        for version in range(1, self.model.version + 1):
            if version not in self.model.versions:
                with pytest.raises(StoreError, match=f"Version {version} is gone"):
                    zarrts.open(self.path, version=version)
                continue
            with zarrts.open(self.path, version=version) as store:
                assert_is(store.samples, self.model.versions[version])
        with zarrts.open(self.path) as store:
            assert store.version == self.model.version
            counts = [np.count_nonzero(joined(self.model.latest)[1] == it) for it in CLASSES]
            found = dict(zip(store.class_names, store.samples.class_counts.tolist(), strict=True))
            assert found == {it: n for it, n in zip(CLASSES, counts, strict=True) if it in found}

    def nothing_else_is_left(self) -> None:
        """No byte of whoever is in no version, and no damage."""
        assert self.model is not None
        found = zarrts.verify(self.path, deep=True)
        assert (found.problems, found.unnamed) == ((), ())
        held = {
            row.tobytes()
            for state in self.model.versions.values()
            for x, _ in state.values()
            for row in x
        }
        names = {name for state in self.model.versions.values() for name in state}
        everything = b"\n".join(it.read_bytes() for it in self.path.rglob("*") if it.is_file())
        for row, name in self.rows.items():
            assert row in held or row not in everything, name
        for name in {*NAMES} - names:
            assert name.encode() not in everything


def call(step: tuple[Any, ...]) -> None:
    """Convert, append, remove or compact."""
    how, files, path, options = step
    if how == "convert":
        zarrts.convert(files, path, **QUIET, **options).close()
    elif how == "append":
        zarrts.append(path, files, **QUIET, **options).close()
    elif how == "remove":
        zarrts.remove(path, workers=2, **options)
    else:
        zarrts.compact(path, **QUIET, **options)


def in_process(step: tuple[Any, ...], kill: int, folder: Path) -> bool:
    """Take a step in a process that is killed; return whether it was."""
    file = folder / "step.pickle"
    file.write_bytes(pickle.dumps((step, kill)))
    done = subprocess.run([sys.executable, __file__, str(file)], capture_output=True, check=False)
    file.unlink()
    if done.returncode == 3:
        raise PlanError(done.stderr.decode())
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode != 0


def live(life: type[Life], n_steps: int) -> None:
    options = settings(
        max_examples=max(1, n_steps // STEPS_OF_A_LIFE),
        stateful_step_count=STEPS_OF_A_LIFE,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes
    )
    run_state_machine_as_test(life, settings=options)


pytestmark = pytest.mark.filterwarnings("ignore:.*has not come to its end")


def test_a_store_is_what_its_model_is() -> None:
    live(Life, 200)


class LifeWithProcesses(Life):
    """Each eighth kill is that of a process."""

    kills_processes = True


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.skipif(os.name == "nt", reason="kills by a signal")
def test_a_store_is_what_its_model_is_for_long() -> None:
    live(LifeWithProcesses, int(os.environ.get("ZARRTS_LIFE_STEPS", "20000")))


if __name__ == "__main__":
    (taken, step_of_kill), ended = (
        pickle.loads(Path(sys.argv[1]).read_bytes()),
        lambda: os.kill(os.getpid(), signal.SIGKILL),
    )
    with pytest.MonkeyPatch.context() as outer, Killer(outer, ended).at(step_of_kill):
        fingerprint.BLOCK_BYTES = fingerprint.ROW_BLOCK_BYTES = 64
        try:
            call(taken)
        except PlanError as refused:
            sys.stderr.write(str(refused))
            sys.exit(3)
