"""The service on the command line: ``serve``, and ``--server`` for the commands that a service answers too."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from study.cli.launch import show_statuses, status_line, status_text
from study.cli.options import quiet_anyway, show, show_best, show_json, show_map, study_name, with_places, writable
from trainers.errors import DicestudyError, Fault, InputError

if TYPE_CHECKING:
    from study.client import Client


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; others need a token.")
@click.option("--port", default=8000, show_default=True)
@click.option(
    "--tokens",
    envvar="DICESTUDY_TOKENS",
    type=click.Path(path_type=Path),
    help="File of mode 600 with lines NAME read|write TOKEN; DICESTUDY_TOKEN is one more, which may write.",
)
@click.option(
    "--data-root",
    "data_roots",
    multiple=True,
    envvar="DICESTUDY_DATA_ROOTS",
    type=click.Path(),
    help="Folder below which posted studies may name data; several times for several. None: generated data only.",
)
@click.option("--address", envvar="DICESTUDY_ADDRESS", help="http://HOST:8265: posted studies run as Ray jobs there.")
@click.option("--rate", default="6000/minute", show_default=True, help="Requests of one client.")
@with_places
@quiet_anyway
def serve(
    host: str,
    port: int,
    tokens: Path | None,
    data_roots: tuple[str, ...],
    address: str | None,
    rate: str,
    store: str | None,
    storage: str | None,
) -> None:
    """Run the REST service, described at /docs."""
    from study.service.app import serve as run
    from study.service.auth import TokenFile
    from study.service.settings import Backends, ServiceSettings

    backends = Backends(store, storage, address, tuple(str(Path(root).expanduser()) for root in data_roots))
    run(ServiceSettings(host, port, TokenFile(tokens), backends, rate), click.echo)


def offer_server(group: click.Group) -> None:
    """Give the commands that a service answers the option ``--server``; have those that read records refuse it."""
    for name, command in group.commands.items():
        face = FACES.get(name)
        if face is None and not {"store", "storage"} <= {parameter.name for parameter in command.params}:
            continue  # reads no records: the option is unknown to it
        if name == serve.name:
            continue
        command.params.append(
            click.Option(
                ["--server"],
                envvar="DICESTUDY_SERVER",
                metavar="URL",
                hidden=face is None,
                help="Ask this dicestudy service instead; its token is in DICESTUDY_TOKEN.",
            )
        )
        command.callback = _local_or_served(command.callback, face or _refuse(name))


def _refuse(name: str) -> Face:
    def refuse(client: Client, **_: Any) -> None:
        remedy = f"a service answers {', '.join(sorted(FACES))}; give --store or --storage, or unset DICESTUDY_SERVER"
        raise InputError(Fault("--server", f"{name} cannot be asked of the service at {client.url}", remedy))

    return refuse


def _local_or_served(local: Callable[..., Any] | None, face: Face) -> Callable[..., Any]:
    assert local is not None

    @functools.wraps(local)
    def ask(server: str | None, **given: Any) -> Any:
        if server is None or _names_places(server):
            return local(**given)
        from study.client import Client

        return face(Client(server), **given)

    return ask


def _names_places(server: str) -> bool:
    """Whether the command line names places of its own, which then win over the environment's server.

    Raises: InputError if it names both.
    """
    context = click.get_current_context()
    typed = [
        name
        for name in ("store", "storage", "address")
        if name in context.params and context.get_parameter_source(name) == ParameterSource.COMMANDLINE
    ]
    if typed and context.get_parameter_source("server") == ParameterSource.COMMANDLINE:
        raise InputError(Fault(f"--{typed[0]}", f"the service at {server} has its own", "leave one of the two out"))
    return bool(typed)


def _best(client: Client, *, study: str, exported: Path | None, as_json: bool, **options: Any) -> None:
    del options["store"], options["storage"]
    if exported is not None and exported.suffix == ".yaml":
        fault = "a study file is made from the study's storage, which the service keeps"
        raise InputError(Fault("--export", fault, "export .csv or .parquet, or give --storage instead of --server"))
    name = study_name(study)
    found = client.best(name, **options)
    show_best(found, bool(options["pareto"]), as_json)
    if exported is not None:
        from study.commands.export import export
        from study.storage.locations import Places

        click.echo(f"wrote {export(found, writable(exported), name, Places.find())}", err=True)


def _table(client: Client, *, study: str, as_json: bool, **_: Any) -> None:
    from analysis.report.terminal import table_text

    show(client.table(study_name(study)), table_text, as_json)


def _map(client: Client, *, study: str, output: Path | None, as_json: bool, **_: Any) -> None:
    if output is not None:
        writable(output, folder=True)
    show_map(client.transition_map(study_name(study)), output, as_json)


def _status(client: Client, *, study: str | None, as_json: bool, **_: Any) -> None:
    found = [client.status(study_name(study))] if study else client.studies()
    show_statuses(found, as_json, one=bool(study), where=f"at {client.url}")


def _stop(client: Client, *, study: str, **_: Any) -> None:
    name = study_name(study)
    client.stop(name)
    click.echo(f"{name} is asked to stop; launch it again to continue")


def _launch(
    client: Client,
    *,
    study: str,
    retry_failed: bool,
    as_json: bool,
    quiet: bool,
    detach: bool = False,
    **_: Any,
) -> None:
    begun = client.launch(study, retry_failed)
    name, followed = begun["study"], begun
    if not (quiet or as_json):
        click.echo(f"{name}: {begun['where']}; {begun['to_run']} of {begun['trials']} trials to run", err=True)
    if not detach:
        try:
            for followed in client.events(name):
                if not (quiet or as_json):
                    click.echo(status_line(followed), err=True)
        except KeyboardInterrupt:
            raise DicestudyError(f"{name} goes on at {client.url}; end it with dicestudy stop {name}") from None
    if as_json:
        show_json(followed)
    elif not (quiet or detach):
        click.echo(status_text(followed))
    if not detach and (followed["state"] != "done" or not followed["trials"].get("done")):
        sys.exit(1)


Face = Callable[..., None]
FACES: dict[str, Face] = {
    "best": _best,
    "launch": _launch,
    "map": _map,
    "status": _status,
    "stop": _stop,
    "table": _table,
}
"""How each command asks a service; takes the client and what the command takes."""
