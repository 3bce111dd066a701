"""Find out which of several processes this one is, from whatever connects them.

Nothing is imported or initialised for that: only what the program uses already is asked.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any, Literal

from zarrts.errors import SampleError

Rank = int | Literal["auto"]
_TASKS = ("chief", "worker")  # of TF_CONFIG, those that train


def resolve(rank: Rank, world_size: int) -> tuple[int, int]:
    """Return rank and world size; for rank="auto" those of the program, 0 of 1 if it is alone.

    Parameters
    ----------
    world_size : int
        With rank="auto", 1 leaves it to be found as well.

    Raises
    ------
    SampleError
        If those asked contradict each other, or `world_size`.
    """
    if not isinstance(rank, str):
        return rank, world_size
    if rank != "auto":
        raise SampleError(f"rank={rank!r} is unknown; use a number from 0, or 'auto'.")
    found = {name: place for name, ask in _SOURCES if (place := ask()) and place[1] > 1}
    if len(set(found.values())) > 1:
        claims = "; ".join(f"{name}: {at} of {total}" for name, (at, total) in found.items())
        raise SampleError(
            f"It is not clear which process this is ({claims}); give rank= as a number."
        )
    place = next(iter(found.values()), (0, 1))
    if world_size not in (1, place[1]):
        says = f"{next(iter(found))} says {place[1]}" if found else "no framework says so"
        raise SampleError(
            f"world_size={world_size}, but {says}: connect the processes before, leave world_size "
            "out, or give rank= as a number."
        )
    return place


def _of_tf_config() -> tuple[int, int] | None:
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return None
    try:
        config = json.loads(text)
        cluster, task = config.get("cluster", {}), config.get("task", {})
        return _place(cluster, task.get("type", "worker"), int(task.get("index", 0)))
    except (ValueError, AttributeError, TypeError) as error:
        raise SampleError(f"The variable TF_CONFIG cannot be understood: {text!r}.") from error


def _place(cluster: dict[str, Any], task: str, index: int) -> tuple[int, int] | None:
    """Return where a task stands among those of a cluster that train; None if it does not."""
    sizes = {name: len(cluster.get(name, ())) for name in _TASKS}
    if task not in _TASKS:
        return None
    return index + (sizes["chief"] if task == "worker" else 0), sum(sizes.values())


def _of_tensorflow() -> tuple[int, int] | None:
    """Return what a MultiWorkerMirroredStrategy says in whose scope we are."""
    distribute = getattr(sys.modules.get("tensorflow"), "distribute", None)
    if distribute is None or not distribute.has_strategy():
        return None
    strategy = distribute.get_strategy()
    if not isinstance(strategy, distribute.MultiWorkerMirroredStrategy):
        return None
    resolver = strategy.cluster_resolver
    cluster = resolver.cluster_spec().as_dict()
    return _place(cluster, resolver.task_type or "worker", resolver.task_id or 0)


def _of_jax() -> tuple[int, int] | None:
    """Return what jax.distributed says; jax.process_count() alone would initialise devices."""
    jax = sys.modules.get("jax")
    if jax is None or not _is_jax_distributed(jax):
        return None
    return jax.process_index(), jax.process_count()


def _is_jax_distributed(jax: Any) -> bool:
    is_initialized = getattr(jax.distributed, "is_initialized", None)
    if is_initialized is not None:
        return bool(is_initialized())
    from jax._src.distributed import global_state  # what older ones have

    return global_state.client is not None


def _of_torch() -> tuple[int, int] | None:
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed.get_rank(), distributed.get_world_size()


def _of_torchrun() -> tuple[int, int] | None:
    """Return what torchrun told its processes, who may not have met yet."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


_SOURCES: tuple[tuple[str, Callable[[], tuple[int, int] | None]], ...] = (
    ("TF_CONFIG", _of_tf_config),
    ("tf.distribute", _of_tensorflow),
    ("jax.distributed", _of_jax),
    ("torch.distributed", _of_torch),
    ("torchrun", _of_torchrun),
)
