"""The command `zarrts`: one function a subcommand."""

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from zarrts.commands.arguments import (
    Size,
    content_options,
    source_options,
    storage_options,
    value_or_values,
    worker_options,
)
from zarrts.commands.failures import with_errors, write_any_letter
from zarrts.commands.keeping import compact, remove, repair, verify

_USUAL_STORE = "study.zarr"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="zarrts")
def main() -> None:
    """Train Keras networks on time series that do not fit in memory."""
    write_any_letter()


for _command in (verify, repair, remove, compact):
    main.add_command(_command)


@main.command(short_help="Turn files into one compressed store.")
@click.argument("sources", nargs=-1, metavar="SOURCES...")
@click.argument("store", required=False)
@click.option("--dry-run", is_flag=True, help="Say what was understood; write nothing.")
@source_options
@content_options
@click.option("--dtype", default="auto", show_default=True, help="auto, keep, or a NumPy dtype.")
@click.option(
    "--memory",
    type=Size(),
    default="1GiB",
    show_default=True,
    help="Not to be exceeded.",
)
@click.option(
    "--chunk",
    type=Size(),
    default="1MiB",
    show_default=True,
    help="The least that is read at once.",
)
@click.option(
    "--shard", type=Size(), default="64MiB", show_default=True, help="Size of the files of a store."
)
@click.option(
    "--codec",
    type=click.Choice(["auto", "lz4", "zstd", "none"]),
    default="lz4",
    show_default=True,
    help="lz4 is fast to read, zstd smaller; auto: lz4, or none where it saves nothing.",
)
@click.option(
    "--pack",
    default="auto",
    show_default=True,
    callback=value_or_values,
    help="Store floats as 16-bit counts: auto, where nothing is lost; no; or the largest error, "
    "such as 0.1uV. Of several inputs acc=auto,hr=no.",
)
@worker_options
@click.option("--overwrite", is_flag=True, help="Write anew, whatever store is there.")
@click.option("--restart", is_flag=True, help="Give up another conversion that did not finish.")
@click.option("--progress/--no-progress", default=True, help="Show how far it is, on a terminal.")
@storage_options
@with_errors
def convert(
    sources: tuple[str, ...], store: str | None, table: str | None, dry_run: bool, **options: Any
) -> None:
    """Turn the files SOURCES (files, folders or patterns) into one compressed STORE.

    With --dry-run, SOURCES alone will do.
    """
    from zarrts.commands.describe import describe_masks, describe_plan, next_lines
    from zarrts.conversion.options import ConvertOptions
    from zarrts.conversion.prepare import prepare
    from zarrts.sources import with_table

    if dry_run and not sources and not (table and store):
        sources, store = (store,) if store else (), _USUAL_STORE
    if store is None:
        raise click.UsageError("Missing argument 'STORE'.")
    if not (sources or table):
        raise click.UsageError(
            "name the files and then the store to be made: zarrts convert subjects/ study.zarr"
        )
    progress = options.pop("progress")
    sized = {f"{name}_bytes": options.pop(name) for name in ("memory", "chunk", "shard")}
    source = with_table(list(sources) or None, table)
    address = options.pop("storage_options")
    prepared = prepare(source, store, ConvertOptions(**options, **sized), address)
    for line in describe_plan(prepared):
        click.echo(line)
    if dry_run:
        for line in describe_masks(prepared):
            click.echo(line)
        done = f"{store} is complete already, from these sources and options."
        again = "Repeat without --dry-run."
        click.echo(f"Nothing written. {done if prepared.is_done else again}")
        return
    if prepared.is_done:
        _run(prepared, False)
        click.echo(f"{store} is complete already, from these sources and options.")
    else:
        _run(prepared, progress)
        click.echo(f"{store} is complete. Train on it:")
    for line in next_lines(store, prepared):
        click.echo(f"    {line}")


def _run(prepared: Any, progress: bool) -> None:
    from zarrts.conversion.run import run
    from zarrts.progress import show_progress

    try:
        with show_progress(prepared.raw_bytes, prepared.layout.n_rows, progress) as on_rows:
            run(prepared, on_rows)
    except KeyboardInterrupt:
        click.echo(
            "Stopped. What is finished is kept; the same command goes on from there.", err=True
        )
        sys.exit(1)


@main.command(short_help="Add more subjects to a store.")
@click.argument("store")
@click.argument("sources", nargs=-1, metavar="SOURCES...")
@click.option("--dry-run", is_flag=True, help="Say what was understood; write nothing.")
@source_options
@click.option(
    "--memory",
    type=Size(),
    default="1GiB",
    show_default=True,
    help="Not to be exceeded.",
)
@worker_options
@click.option("--restart", is_flag=True, help="Give up another conversion that did not finish.")
@click.option("--progress/--no-progress", default=True, help="Show how far it is, on a terminal.")
@storage_options
@with_errors
def append(
    store: str,
    sources: tuple[str, ...],
    table: str | None,
    dry_run: bool,
    progress: bool,
    **options: Any,
) -> None:
    """Add the files SOURCES, of more subjects, to a STORE, as a new version of it.

    Whoever trains on the version before is not disturbed.
    """
    from zarrts.commands.describe import describe_plan
    from zarrts.conversion.options import ConvertOptions
    from zarrts.conversion.prepare import prepare_append
    from zarrts.sources import with_table

    if not (sources or table):
        raise click.UsageError("Missing argument 'SOURCES...'.")
    source = with_table(list(sources) or None, table)
    options["memory_bytes"] = options.pop("memory")
    address = options.pop("storage_options")
    prepared = prepare_append(source, store, ConvertOptions(**options), address)
    for line in describe_plan(prepared):
        click.echo(line)
    if prepared.is_done:
        if not dry_run:
            _run(prepared, False)
        click.echo(f"{store} holds these already.")
    elif dry_run:
        click.echo("Nothing written. Repeat without --dry-run.")
    else:
        _run(prepared, progress)
        click.echo(f"{store} is complete, with these as its latest version.")


@main.command("formats", short_help="List the kinds of files that can be read here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@with_errors
def list_formats(as_json: bool) -> None:
    """List the kinds of files that can be read here, and what is lacking of the others."""
    from zarrts.commands.format_table import as_documents, print_formats

    if as_json:
        click.echo(json.dumps(as_documents(), indent=2))
    else:
        print_formats()


@main.command(short_help="Say what a store holds.")
@click.argument("store")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--split", metavar="FILE", help="A split that was saved: what is in its parts.")
@storage_options
@with_errors
def info(store: str, as_json: bool, split: str | None, **address: Any) -> None:
    """Say what a STORE holds."""
    from zarrts.commands.subject_table import print_subjects
    from zarrts.commands.summary import describe_split, describe_store, summarize
    from zarrts.store import open_store

    opened = open_store(store, **address)
    summary = summarize(opened)
    if split is not None:
        summary["split"] = describe_split(opened.load_split(split))
    if as_json:
        click.echo(json.dumps(summary, indent=2))
        return
    for line in describe_store(store, summary):
        click.echo(line)
    print_subjects(summary)


@main.command(short_help="Draw what a store holds, as one page.")
@click.argument("store")
@click.option("-o", "--output", default="report.html", show_default=True, help="The page.")
@click.option("--split", metavar="FILE", help="A split that was saved: who is in its parts.")
@click.option("--results", metavar="FILE", help="What zarrts.evaluate(...).save(FILE) wrote.")
@storage_options
@with_errors
def report(store: str, output: str, split: str | None, results: str | None, **address: Any) -> None:
    """Draw what a STORE holds, as one page that needs no network and no other file.

    Subjects and classes, some samples of each class, the range of each channel, lengths and
    sizes; with --split its parts, with --results who and what was right.
    """
    from zarrts.report import write_report

    write_report(store, output, split=split, results=results, progress=True, **address)
    click.echo(f"{output} is written; open it in a browser.")


@main.command(short_help="Scroll through recordings in a browser.")
@click.argument("store")
@click.option("--results", metavar="FILE", help="Of zarrts.evaluate(predictions=True).save(FILE).")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="By default, a free one.")
@click.option("--browser/--no-browser", default=True, help="Open the page.")
@storage_options
@with_errors
def view(store: str, results: str | None, port: int, browser: bool, **address: Any) -> None:
    """Serve a page on this machine that scrolls and zooms through the recordings of a STORE."""
    from zarrts.store import open_store
    from zarrts.view import view as serve

    options: dict[str, Any] = {"port": port, "browser": browser}
    with (
        suppress(KeyboardInterrupt),  # whenever it comes
        open_store(store, **address) as opened,
        serve(opened, results, **options) as viewer,
    ):
        click.echo(f"{store} is at {viewer.url} until you press Ctrl-C.")
        viewer.wait()


@main.command(short_help="Measure how fast this machine reads a store.")
@click.argument("store")
@click.option("--batch-size", type=click.IntRange(1), default=128, show_default=True)
@click.option("--memory", type=Size(), default="512MiB", show_default=True, help="As in training.")
@click.option("--workers", type=click.IntRange(1), help="Threads that read and decode.")
@click.option("--seconds", type=float, default=5.0, show_default=True, help="For each figure.")
@click.option("--fit/--no-fit", default=True, help="Train a small network, if Keras is there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("-o", "--output", metavar="FILE", help="Draw it, too: .png, .svg or .pdf.")
@storage_options
@with_errors
def bench(store: str, as_json: bool, output: str | None, **options: Any) -> None:
    """Measure how fast this machine reads a STORE, and what limits it."""
    from rich.console import Console

    from zarrts.commands.bench import measure_store
    from zarrts.commands.picture import check_picture, write_picture
    from zarrts.commands.rates import show

    if output is not None:
        check_picture(output)
    report = measure_store(store, **options)
    if output is not None:
        write_picture(report, output)
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
    else:
        show(report, Console(markup=False, emoji=False, highlight=False))
        if output is not None:
            click.echo(f"{output} is written.")


@main.command(short_help="Train on real recordings of ten people.")
@click.argument("folder", default="demo", required=False)
@click.option("--all", "leave_each_out", is_flag=True, help="Leave each person out in turn.")
@click.option("--epochs", type=click.IntRange(1), default=15, show_default=True)
@with_errors
def demo(folder: str, leave_each_out: bool, epochs: int) -> None:
    """Convert real recordings of ten people into FOLDER, and train a network on them."""
    from zarrts.demo import run_demo

    run_demo(Path(folder), leave_each_out=leave_each_out, epochs=epochs, say=click.echo)
