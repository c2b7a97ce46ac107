"""The command ``dicestudy``: parses, calls a function, shows what it returns."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click

from study.cli.launch import launch, logs, status, stop, sync
from study.cli.options import (
    ErrorReportingGroup,
    echo_messages,
    load_study,
    places_of,
    quiet_anyway,
    quiet_option,
    show,
    show_best,
    show_json,
    show_map,
    study_name,
    with_json,
    with_options,
    with_places,
    writable,
)
from study.cli.service import offer_server, serve
from study.config.presets import preset_text
from trainers.errors import Fault, InputError


@click.group(
    cls=ErrorReportingGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="dicestudy")
def main() -> None:
    """What will my Dice loss do with labels that are missing, and with labels that are rightly empty?"""  # noqa: D400
    # nibabel prints what it finds odd in a header; what matters of that is told as a fault.
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)


@main.command()
@click.argument("preset", default="phantom")
@click.option("-o", "--output", default="study.yaml", show_default=True, help="File to write; - for the terminal.")
@quiet_option
def init(preset: str, output: str, quiet: bool) -> None:
    """Write a commented study file from a PRESET (default: phantom)."""
    text = preset_text(preset)
    if output == "-":
        click.echo(text, nl=False)
        return
    path = Path(output)
    if path.exists():
        raise InputError(Fault(output, "exists already", "remove it, or choose another name with -o"))
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(Fault(output, f"cannot be written: {error.strerror}", "choose another place")) from None
    if not quiet:
        click.echo(f"wrote {output}; next: dicestudy launch {output}")


@main.command()
@click.argument("study")
@with_json
@quiet_option
def check(study: str, as_json: bool, quiet: bool) -> None:
    """Validate a STUDY file and its data, every header and label, all faults at once."""
    from study.commands.check import check_study, check_text
    from study.execution.progress import step_bar

    with step_bar("reading headers and labels", quiet or as_json) as bar:
        found = check_study(study, bar)
    if as_json:
        show_json(found)
    else:
        echo_messages([f"error: {Fault(fault['file'], fault['fault'], fault['remedy'])}" for fault in found["faults"]])
        echo_messages([f"note: {notice}" for notice in found["notices"]])
        if found["ok"] and not quiet:
            click.echo(check_text(found["statistics"]))
    if not found["ok"]:
        sys.exit(InputError.exit_code)


@main.command()
@click.argument("study")
@click.option(
    "--measure/--no-measure", default=True, show_default=True, help="Try a few steps where no trial is done yet."
)
@with_places
@with_json
@quiet_option
def plan(study: str, measure: bool, store: str | None, storage: str | None, as_json: bool, quiet: bool) -> None:
    """Say what launching a STUDY file would run, how long it takes, and what it cannot answer."""
    from study.execution.progress import step_bar
    from study.planning.forecast import forecast, forecast_text

    with step_bar("trying a few steps", quiet or as_json) as bar:
        found = forecast(load_study(study), places_of(store, storage), measure, bar)
    show(found, forecast_text, as_json)


@main.command()
@click.argument("study")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="PNG to write: the push over ε.")
@with_places
@with_json
@quiet_anyway
def explain(study: str, output: Path | None, store: str | None, storage: str | None, as_json: bool) -> None:
    """Predict, before any training, what each cell of a STUDY file does with emptied maps."""
    from analysis.report.terminal import explain_text
    from study.commands.explain import explain as find

    picture = None if output is None else writable(output)
    show(find(load_study(study), places_of(store, storage), picture), explain_text, as_json)


@main.command()
@click.argument("study")
@with_options("best")
@click.option("--export", "exported", type=click.Path(path_type=Path), help="File: .csv, .parquet, or .yaml to rerun.")
@with_places
@with_json
@quiet_anyway
def best(
    study: str, exported: Path | None, store: str | None, storage: str | None, as_json: bool, **options: Any
) -> None:
    """Rank the cells of a STUDY."""
    from study.commands.answers import best as find

    places = places_of(store, storage)
    found = find(study_name(study), places=places, **options)
    show_best(found, bool(options["pareto"]), as_json)
    if exported is not None:
        from study.commands.export import export

        click.echo(f"wrote {export(found, writable(exported), study_name(study), places)}", err=True)


@main.command()
@click.argument("study")
@with_places
@with_json
@quiet_anyway
def table(study: str, store: str | None, storage: str | None, as_json: bool) -> None:
    """Print the paper's table 1 of a STUDY."""
    from analysis.report.terminal import table_text
    from study.commands.answers import table as find

    show(find(study_name(study), places_of(store, storage)), table_text, as_json)


@main.command("map")
@click.argument("study")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for JSON, CSV and pictures.")
@with_places
@with_json
@quiet_anyway
def map_command(study: str, output: Path | None, store: str | None, storage: str | None, as_json: bool) -> None:
    """Print where ignoring turns into learning empty in a STUDY."""
    from study.commands.answers import transition_map

    if output is not None:
        writable(output, folder=True)
    found = transition_map(study_name(study), places_of(store, storage))
    show_map(found, output, as_json)


@main.command()
@click.argument("study")
@click.option("-o", "--output", type=click.Path(path_type=Path), default="report.html", show_default=True)
@with_places
@with_json
@quiet_option
def report(study: str, output: Path, store: str | None, storage: str | None, as_json: bool, quiet: bool) -> None:
    """Write one self-contained page about a STUDY."""
    from study.commands.report import report as write

    path = write(study_name(study), writable(output), places_of(store, storage))
    if as_json:
        show_json({"report": str(path)})
    elif not quiet:
        click.echo(f"wrote {path}")


@main.command()
@click.argument("study")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--trial", metavar="KEY", help="A done trial's key or a cell's, or how it begins; or: best.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the label maps.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@with_places
@with_json
@quiet_option
def predict(
    study: str,
    images: tuple[str, ...],
    trial: str | None,
    output: Path,
    device: str,
    store: str | None,
    storage: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Segment each IMAGE by a trial of a STUDY, in the image's own space.

    Files of a case with several channels are joined by commas, in the order of training: flair.nii.gz,t1.nii.gz.
    The label map is named after the first; classes that may overlap have a file each.
    """
    from study.commands.predict import predict as run
    from study.execution.progress import step_bar

    # A file whose name holds a comma is itself.
    cases = [[Path(image)] if Path(image).exists() else list(map(Path, image.split(","))) for image in images]
    with step_bar("predicting", quiet or as_json) as bar:
        places = places_of(store, storage)
        found = run(study_name(study), trial, cases, writable(output, folder=True), places, device, bar)
    if as_json:
        show_json(found)
    elif not quiet:
        for entry in found["written"]:
            volumes = ", ".join(f"{name} {ml:.4g} ml" for name, ml in entry["ml"].items())
            click.echo(f"wrote {entry['file']}: {volumes}")


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=5000, show_default=True)
@with_places
@quiet_anyway
def dashboard(host: str, port: int, store: str | None, storage: str | None) -> None:
    """Start the MLflow server on the store and print its address."""
    from study.tracking.dashboard import serve_dashboard

    serve_dashboard(places_of(store, storage), host, port, click.echo)


@main.command()
@with_json
@quiet_anyway
def losses(as_json: bool) -> None:
    """List the losses by category, with formulas and sources."""
    from trainers.losses.taxonomy import TAXONOMY

    if as_json:
        show_json([entry.as_dict() for entry in TAXONOMY.values()])
        return
    category = ""
    for entry in TAXONOMY.values():
        if entry.category != category:
            category = entry.category
            click.echo(f"\n{category.upper()}" if category else "")
        marks = "Φ ε  " if entry.phi_eps else ""
        parameters = ", ".join(f"{p.name}={'none' if p.default is None else p.default}" for p in entry.parameters)
        click.echo(f"  {entry.name:14} {marks}{entry.formula}")
        click.echo(f"  {'':14} {parameters or 'no parameters'} · {entry.source}")


for _command in (launch, status, stop, logs, sync, serve):
    main.add_command(_command)
offer_server(main)
