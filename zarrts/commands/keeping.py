"""The commands that keep a store whole: verify, repair, remove, compact."""

import sys
from typing import Any

import click

from zarrts.commands.arguments import Size, storage_options
from zarrts.commands.failures import with_errors
from zarrts.sizes import format_count, format_size


@click.command(short_help="Check that a store is whole.")
@click.argument("store")
@click.option("--deep", is_flag=True, help="Read everything: checksums, labels, statistics.")
@click.option(
    "--sources",
    multiple=True,
    help="Compare each sample with the files that were converted. Give it once for each folder.",
)
@click.option("--labels", help="The file of labels that was converted with them.")
@click.option("--workers", type=click.IntRange(1), help="Files read at once.")
@storage_options
@with_errors
def verify(store: str, deep: bool, sources: tuple[str, ...], **options: Any) -> None:
    """Compare a STORE with its list of files; with --deep or --sources, all that is in them."""
    from zarrts.upkeep.operations import verify as verify_store

    found = verify_store(store, deep=deep, sources=_given(sources), **options)
    for problem in found.problems:
        click.echo(problem.text)
    for key in found.unnamed:
        click.echo(f"{key} is not part of the store.")
    compared = ["all content"] if deep else ["names", "sizes"]
    compared += ["sources"] if sources else []
    checked = (
        f"{format_count(found.n_files, 'file')}, {format_size(found.n_bytes)}; compared: "
        f"{', '.join(compared[:-1])}{' and ' if compared[1:] else ''}{compared[-1]}"
    )
    n_lacking = sum(it.is_of_sources for it in found.problems)
    n_damaged = len(found.problems) - n_lacking
    if n_damaged:
        click.echo(
            f"{store} is damaged: {format_count(n_damaged, 'problem')} in {checked}. If you have "
            f"the files: zarrts repair {store} --sources FOLDER",
            err=True,
        )
    elif n_lacking:
        click.echo(
            f"No damage is found in {store}: {checked}. But {format_count(n_lacking, 'source')} "
            f"could not be compared; give all that were converted: --sources FOLDER --sources "
            "ANOTHER",
            err=True,
        )
    if found.problems:
        sys.exit(1)
    click.echo(f"{store} is whole: {checked}")


def _given(sources: tuple[str, ...]) -> str | list[str] | None:
    """Return one source as it is, several as a list, and None where there is none."""
    return sources[0] if len(sources) == 1 else list(sources) or None


@click.command(short_help="Write damaged parts of a store anew.")
@click.argument("store")
@click.option(
    "--sources",
    multiple=True,
    required=True,
    help="The files that were converted. Give it once for each folder.",
)
@click.option("--labels", help="The file of labels that was converted with them.")
@click.option("--workers", type=click.IntRange(1), help="Parts written at once.")
@storage_options
@with_errors
def repair(store: str, sources: tuple[str, ...], **options: Any) -> None:
    """Write the damaged parts of a STORE anew; what is whole is not touched."""
    from zarrts.upkeep.operations import repair as repair_store

    repaired = repair_store(store, _given(sources), **options)
    for problem in repaired.problems:
        click.echo(f"repaired: {problem.text}")
    click.echo(f"{store} is whole.")


@click.command(short_help="Take a subject out of a store.")
@click.argument("store")
@click.option("--subject", required=True, help="Whose samples are removed.")
@click.option("--workers", type=click.IntRange(1), help="Parts written at once.")
@storage_options
@with_errors
def remove(store: str, subject: str, workers: int | None, **address: Any) -> None:
    """Take a subject out of a STORE; no byte of it is left there."""
    from zarrts.upkeep.operations import remove as remove_subject

    removed = remove_subject(store, subject=subject, workers=workers, **address)
    if removed.is_finished_only:
        click.echo(
            f"An earlier removal had been stopped before all was deleted; its last files are "
            f"deleted now, and {store} is version {removed.version}."
        )
        return
    click.echo(
        f"Removed {format_count(removed.n_samples, 'sample')} of {subject}; {store} is version "
        f"{removed.version}, and versions that held them are gone."
    )


@click.command(short_help="Join the parts of a store into one.")
@click.argument("store")
@click.option("--drop-versions", is_flag=True, help="End earlier versions, whose parts these are.")
@click.option(
    "--memory",
    type=Size(),
    default="1GiB",
    show_default=True,
    help="Not to be exceeded.",
)
@click.option("--workers", type=click.IntRange(1), help="Files written at once.")
@click.option("--progress/--no-progress", default=True, help="Show how far it is, on a terminal.")
@storage_options
@with_errors
def compact(store: str, **options: Any) -> None:
    """Join the parts of a STORE, one for each append, into one, which reads faster.

    Samples, their order, labels and sources stay as they are.
    """
    from zarrts.upkeep.operations import compact as compact_parts

    done = compact_parts(store, **options)
    if done.n_before == done.n_after:
        why = "one part" if done.n_after == 1 else f"{done.n_after} parts, no two of them alike"
        click.echo(f"{store} has {why}; nothing is to be joined.")
        return
    gone = (
        f", and {format_count(len(done.dropped), 'earlier version')} gone" if done.dropped else ""
    )
    click.echo(
        f"Joined {format_count(done.n_before, 'part')} into {done.n_after}; {store} is version "
        f"{done.version}{gone}."
    )
