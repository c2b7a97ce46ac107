"""What all commands share: options, the way results are shown, and how errors are told."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from study.commands.registry import ANSWERS
from study.storage.tracking_uri import TrackingUri, mask_secrets
from trainers.errors import DicestudyError, Fault, InputError

if TYPE_CHECKING:
    from study.config.spec import StudySpec
    from study.storage.locations import Places

MAX_MESSAGES_PER_KIND = 20
"""Messages of one kind that are shown; a table of a thousand rows has one cause."""

Command = TypeVar("Command", bound=Callable[..., Any])


class ErrorReportingGroup(click.Group):
    """Commands whose errors are read by people: one line per fault, no traceback, the exit code of the error."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command on an output that takes every character, its help included."""
        replace_unknown_characters()
        return super().main(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exit 1 if it failed, 2 if the input was wrong."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            echo_messages([f"error: {fault}" for fault in error.faults])
            ctx.exit(error.exit_code)
        except DicestudyError as error:
            click.echo(mask_secrets(f"error: {error}"), err=True)
            ctx.exit(error.exit_code)
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                # Somebody downstream (head) has seen enough.
                sys.stderr.close()
                ctx.exit(0)
            place = f"{error.filename}: " if error.filename else ""
            click.echo(f"error: {place}{error.strerror or error}", err=True)
            ctx.exit(1)


def replace_unknown_characters() -> None:
    """Let the output be UTF-8 where it is a file, and show a terminal ``?`` for what its encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue  # a test's own
        try:
            is_file = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
        except OSError:
            continue
        if is_file:
            stream.reconfigure(encoding="utf-8")
        stream.reconfigure(errors="replace")


def echo_messages(lines: Sequence[str]) -> None:
    """Print messages to stderr without secrets.

    Of each kind at most ``MAX_MESSAGES_PER_KIND``, and how many more there are.
    """
    seen: Counter[str] = Counter()
    for line in lines:
        kind = _kind_of(line)
        seen[kind] += 1
        if seen[kind] <= MAX_MESSAGES_PER_KIND:
            click.echo(mask_secrets(line), err=True)
    for kind, count in seen.items():
        if count > MAX_MESSAGES_PER_KIND:
            click.echo(
                f"… and {count - MAX_MESSAGES_PER_KIND:,} more of {count:,} such as: {_ending(kind)}; "
                "dicestudy check STUDY --json lists all",
                err=True,
            )


def _kind_of(line: str) -> str:
    """The message without its place, names and numbers."""
    message = line.partition(": ")[2].partition(": ")[2] or line
    return re.sub(r"'[^']*'|\S*[/\\]\S*|\d+(?:[.,]\d+)*", "…", message)


def _ending(kind: str) -> str:
    return kind if len(kind) <= 120 else kind[:119] + "…"


def with_places(command: Command) -> Command:
    """The options that say where records are."""
    for option in (
        click.option("--storage", help="Folder of checkpoints, prepared data and results [DICESTUDY_STORAGE]."),
        click.option("--store", help="MLflow tracking URI [DICESTUDY_STORE]."),
    ):
        command = option(command)
    return command


def with_options(answer: str) -> Callable[[Command], Command]:
    """The options that an answer has on every face."""

    def add(command: Command) -> Command:
        for option in reversed(ANSWERS[answer].options):
            command = click.option(
                f"--{option.name}",
                type=click.IntRange(min=1) if option.is_number else str,
                default=option.default,
                show_default=option.default is not None,
                metavar=option.metavar,
                help=option.help,
            )(command)
        return command

    return add


def with_json(command: Command) -> Command:
    """The option to print JSON instead of text."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


quiet_anyway = click.option("--quiet", is_flag=True, expose_value=False, help="Print nothing but results and errors.")
"""For commands that print nothing else."""
quiet_option = click.option("--quiet", is_flag=True, help="Print nothing but results and errors.")


def places_of(store: str | None, storage: str | None) -> Places:
    """Where records are, by options, environment or default. Raises: InputError for a password among the options."""
    from study.storage.locations import Places

    if store and TrackingUri(store).has_secret:
        raise InputError(
            Fault(
                "--store",
                "holds a password, and all users of this machine can read the arguments of its processes",
                "give the address by DICESTUDY_STORE, or keep a database's password in ~/.pgpass",
            )
        )

    return Places.find(store, storage)


def load_study(study: str) -> StudySpec:
    """Read a study file."""
    # Here and not above, as all that a command needs: --help comes in a blink.
    from study.config.load import load

    return load(study)


def study_name(study: str) -> str:
    """A study's name, given that or its file."""
    if study.endswith((".yaml", ".yml")):
        return load_study(study).name
    return study


def writable(path: Path, folder: bool = False) -> Path:
    """A place that a user named for a result. Raises: InputError if nothing can be written there."""
    from study.storage.folders import is_writable

    if not is_writable(path if folder else path.parent) or (path.is_dir() and not folder):
        raise InputError(Fault(str(path), "cannot be written", "choose another place with -o"))
    return path


def show(found: Any, as_text: Callable[[Any], str], as_json: bool) -> None:
    """Print a result as text or JSON."""
    if as_json:
        show_json(found)
    else:
        click.echo(as_text(found))


def show_best(found: Any, is_front: bool, as_json: bool) -> None:
    """Print a ranking, or the front of several metrics."""
    from analysis.report.terminal import best_text, front_text

    show(found, front_text if is_front else best_text, as_json)


def show_map(found: Any, output: Path | None, as_json: bool) -> None:
    """Print a transition map, and write its numbers and pictures where ``output`` is given."""
    from analysis.report.terminal import map_text

    show(found, map_text, as_json)
    if output is not None:
        from study.commands.report_files import write_map

        for path in write_map(found, output):
            click.echo(f"wrote {path}", err=True)


def show_json(value: Any) -> None:
    """Print JSON."""
    # Where the output cannot take every character, JSON has a spelling for it that loses nothing.
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("_", "-")
    click.echo(json.dumps(value, indent=1, allow_nan=False, ensure_ascii=encoding not in ("utf-8", "utf8")))
