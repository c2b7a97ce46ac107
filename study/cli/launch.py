"""The commands that run studies: launch, status, stop, logs, sync."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from study.cli.options import (
    load_study,
    places_of,
    quiet_anyway,
    quiet_option,
    show_json,
    study_name,
    with_json,
    with_places,
)
from trainers.errors import DicestudyError

if TYPE_CHECKING:
    from study.commands.launch import Launched
    from study.config.spec import StudySpec
    from study.storage.locations import Places

with_address = click.option(
    "--address",
    envvar="DICESTUDY_ADDRESS",
    help="Ray cluster: auto or HOST:6379; http://HOST:8265 for a Ray job on it. Without: this machine.",
)


@click.command()
@click.argument("study")
@with_address
@click.option("--detach", is_flag=True, help="Come back at once; see dicestudy status and logs.")
@click.option("--retry-failed", is_flag=True, help="Run those trials anew that failed by their own fault.")
@with_places
@with_json
@quiet_option
def launch(
    study: str,
    address: str | None,
    detach: bool,
    retry_failed: bool,
    store: str | None,
    storage: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run what is missing of a STUDY file; run again, it continues."""
    from study.config.load import read_text
    from study.execution.detached import is_job_server

    places, spec = places_of(store, storage), load_study(study)
    if detach or is_job_server(address):
        _launch_elsewhere(spec, read_text(study), places, address, detach, retry_failed, as_json, quiet)
        return
    from study.commands.launch import launch as run

    say = (lambda _: None) if quiet or as_json else (lambda text: click.echo(text, err=True))
    ended = run(spec, places, address, retry_failed, quiet or as_json, say)
    if as_json:
        show_json(vars(ended))
    elif not quiet:
        _show_outcome(ended, places, _store_option(store, storage))
    if ended.stopped:
        click.echo(f"interrupted; launch {ended.study} again to go on, its trials keep their checkpoints", err=True)
    if ended.troubled:
        click.echo(
            f"warning: the tracking store did not take everything ({ended.troubled}); "
            f"dicestudy sync {ended.study} delivers it",
            err=True,
        )
    if ended.stopped or ended.lost or ended.troubled or not ended.done:
        sys.exit(1)


@click.command()
@click.argument("study", required=False)
@with_address
@with_places
@with_json
@quiet_anyway
def status(study: str | None, address: str | None, store: str | None, storage: str | None, as_json: bool) -> None:
    """Say where a STUDY stands; without one, all on the storage."""
    from study.commands.status import status as find
    from study.execution.detached import is_job_server, status_of_job
    from study.storage.study_record import study_folders

    if study and is_job_server(address):
        found = [status_of_job(study_name(study), address)]
    else:
        places = places_of(store, storage)
        found = [find(name, places) for name in ([study_name(study)] if study else study_folders(places))]
    show_statuses(found, as_json, one=bool(study), where="on this storage")


@click.command()
@click.argument("study")
@with_address
@with_places
@quiet_anyway
def stop(study: str, address: str | None, store: str | None, storage: str | None) -> None:
    """End a running STUDY; its trials keep their checkpoints."""
    from study.execution.detached import ask_cluster, is_job_server

    name = study_name(study)
    if is_job_server(address):
        click.echo(ask_cluster("stop", name, address).strip())
        return
    from study.commands.status import stop as ask_to_stop

    ask_to_stop(name, places_of(store, storage))
    click.echo(f"{name} is asked to stop; launch it again to continue")


@click.command()
@click.argument("study")
@with_address
@click.option("-f", "--follow", is_flag=True, help="Until the launch ends.")
@with_places
@quiet_anyway
def logs(study: str, address: str | None, follow: bool, store: str | None, storage: str | None) -> None:
    """Print what the detached launch of a STUDY prints."""
    from study.execution.detached import follow as read

    for words in read(study_name(study), places_of(store, storage), address, follow):
        click.echo(words, nl=False)


@click.command()
@click.argument("study")
@with_places
@with_json
@quiet_option
def sync(study: str, store: str | None, storage: str | None, as_json: bool, quiet: bool) -> None:
    """Deliver a STUDY's records to the tracking store: what it lacks, or all to a new one."""
    from study.commands.sync import sync as deliver

    found = deliver(study_name(study), places_of(store, storage))
    if as_json:
        show_json(found)
    elif not quiet:
        click.echo(f"{found['study']}: the tracking store has {found['runs']} runs of {found['trials']} begun trials")
    if found["troubled"]:
        raise DicestudyError(f"the tracking store did not take everything: {found['troubled']}")


def show_statuses(found: list[dict[str, Any]], as_json: bool, *, one: bool, where: str) -> None:
    """Print the status of the ``one`` study that was asked for, or of all that there are ``where``."""
    if as_json:
        show_json(found[0] if one else found)
        return
    for entry in found:
        click.echo(status_text(entry))
    if not found:
        click.echo(f"no study {where} yet; begin with dicestudy init")


def _launch_elsewhere(
    spec: StudySpec,
    text: str,
    places: Places,
    address: str | None,
    detach: bool,
    retry_failed: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    from study.execution.detached import follow, is_job_server, job_state, launch_detached

    begun = launch_detached(spec, text, places, address, retry_failed)
    if as_json:
        show_json({"study": spec.name, "id": begun.id, "where": begun.where})
    elif not quiet:
        option = f" --address {shlex.quote(str(address))}" if is_job_server(address) else ""
        click.echo(
            f"{spec.name}: {begun.where}\nfollow it with dicestudy logs {spec.name}{option} --follow, "
            f"ask with dicestudy status {spec.name}{option}, end it with dicestudy stop {spec.name}{option}"
        )
    if detach or address is None:
        return
    for words in follow(spec.name, places, address):
        if not (quiet or as_json):
            click.echo(words, nl=False, err=True)
    if job_state(spec.name, address) != "SUCCEEDED":
        sys.exit(1)


def _show_outcome(ended: Launched, places: Places, options: str) -> None:
    click.echo(
        f"{ended.study}: {ended.done} of {ended.trials} trials done, {ended.failed} failed, {ended.lost} lost; "
        f"{ended.started} of them begun or continued by this launch"
    )
    folder = places.storage.study(ended.study)
    click.echo(f"report: {folder / 'report.html'}\ndashboard: dicestudy dashboard{options}")


def status_text(entry: dict[str, Any]) -> str:
    """A study's status for people, its failures below it."""
    return "\n".join(
        [status_line(entry), *(f"  failed {failure['key']}: {failure['reason']}" for failure in entry["failures"])]
    )


def status_line(entry: dict[str, Any]) -> str:
    """A study's status on one line."""
    from study.execution.progress import clock

    counts = "".join(f" · {name} {count}" for name, count in entry["trials"].items())
    eta = f" · ETA {clock(entry['eta_s'])}" if entry["eta_s"] is not None else ""
    return f"{entry['study']}: {entry['state']}{counts}{eta}"


def _store_option(store: str | None, storage: str | None) -> str:
    given = (("--store", store), ("--storage", storage))
    return "".join(f" {option} {shlex.quote(place)}" for option, place in given if place)
