"""One trial alone: ``python -m trainers SPEC.json``. No study, no scheduler, no tracking.

The spec is that of a trial on the storage (``trials/KEY/spec.json``), or one written by hand, as JSON or YAML.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml
from pydantic import ValidationError
from rich.progress import Progress

from trainers.data.inspection import inspect
from trainers.data.prepared.read import is_prepared, open_prepared
from trainers.data.prepared.write import prepare, prepare_distances
from trainers.errors import DicestudyError, Fault, InputError
from trainers.networks import check_network
from trainers.spec import TrialSpec


def main() -> int:
    """Run the trial and print its figures; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m trainers", description="Run one trial.")
    parser.add_argument("spec", type=Path, help="the trial's spec, JSON or YAML")
    parser.add_argument("--storage", type=Path, default=Path("dicestudy-data"), help="folder for data and results")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    given = parser.parse_args()
    try:
        run(given.spec, given.storage, given.device)
    except InputError as error:
        for fault in error.faults:
            print(f"error: {fault}", file=sys.stderr)
        return error.exit_code
    except DicestudyError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def run(path: Path, storage: Path, device: str) -> None:
    """Prepare the data, train with a progress bar, print the final figures."""
    spec = read_spec(path)
    from trainers.forward import use_device
    from trainers.trial import run_trial

    use_device(device)
    if not is_prepared(storage / "prepared" / spec.data_key) and (faults := inspect(spec.data).faults):
        raise InputError(faults)
    folder = prepare(spec.data, storage)
    if spec.loss.needs_distance:
        prepare_distances(folder)
    data = open_prepared(folder)
    check_network(spec.protocol.network, data.channels, data.maps, data.patch, spec.batch_size)
    place = storage / "trials" / spec.key
    place.mkdir(parents=True, exist_ok=True)
    with Progress(transient=True) as progress:
        task = progress.add_task(f"trial {spec.key}", total=spec.protocol.epochs)
        result = run_trial(
            spec,
            data,
            place,
            lambda record: progress.update(task, completed=record["epoch"]),
            device,
        )
    print(f"trial {spec.key}: {result.state} {result.reason}".rstrip())
    for name, value in result.metrics.items():
        print(f"  {name:24} {value:.4f}")


def read_spec(path: Path) -> TrialSpec:
    """Read a trial's spec; its ``data_key`` is filled in where it is left out.

    Raises: InputError with every fault.
    """
    try:
        body = yaml.safe_load(path.read_text())
        if isinstance(body, dict) and "data_key" not in body:
            body["data_key"] = TrialSpec.model_validate({**body, "data_key": ""}).data.key()
        spec = TrialSpec.model_validate(body)
    except OSError as error:
        raise InputError(Fault(str(path), f"cannot be read: {error.strerror}")) from None
    except yaml.YAMLError as error:
        raise InputError(Fault(str(path), f"not readable as JSON or YAML: {error}")) from None
    except ValidationError as error:
        raise InputError(
            [Fault(f"{path}: {'.'.join(map(str, entry['loc']))}", entry["msg"]) for entry in error.errors()]
        ) from None
    if (now := spec.data.key()) != spec.data_key:
        raise InputError(Fault(f"{path}: data_key", f"{spec.data_key}, but the data is now {now}", "leave it out"))
    return spec


if __name__ == "__main__":
    sys.exit(main())
