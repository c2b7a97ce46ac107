"""Everything that is worth measuring on a GPU, in one call of at most ten minutes.

    python -m bench.gpu [--minutes 9] [--parts losses,steps] [--device cuda|cpu] [--quick] [-o FOLDER] [--acdc FOLDER]

Each part runs in a process of its own with a share of the time, and says each figure as soon as it has it: a part
that hangs, crashes or is cut short leaves what it measured. ``gpu.json`` and ``gpu.md`` in the output folder are
written anew after every row. Needs torch, numpy, scipy, pydantic and nibabel; MONAI for the peer; pytest for the
part ``tests``; Ray and MLflow for the part ``ray`` alone. What is missing is said and skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from bench.gpu.parts import PARTS, Budget, run_part
from bench.gpu.record import MARK, Record, Row, describe_machine, print_row

GRACE_S = 5.0
"""From a part's own end of time to its being killed [s]."""


def main() -> None:
    """Run the parts one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0, help="for all parts together (default: %(default)s)")
    parser.add_argument("--parts", default=",".join(PARTS), help="default: %(default)s")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="small shapes and few repetitions: does it run?")
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu-measured"), help="default: %(default)s")
    parser.add_argument("--acdc", type=Path, help="the challenge's training folder, for the part acdc")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: no such device on this machine; give --device cpu")
    if wanted.one:
        if wanted.device == "cpu":
            torch.set_num_threads(1)
        budget = Budget(wanted.seconds, wanted.device, wanted.quick, wanted.acdc)
        for row in run_part(wanted.one, budget):
            print_row(row)
        return
    names = [name for name in wanted.parts.split(",") if name]
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"--parts: unknown {', '.join(unknown)}; known: {', '.join(PARTS)}")
    wanted.output.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "-m", "bench.gpu", *sys.argv[1:]])
    record = Record(wanted.output, command, describe_machine(wanted.device))
    ends = time.monotonic() + 60 * wanted.minutes
    for index, name in enumerate(names):
        shares = [PARTS[each].share for each in names[index:]]
        left = ends - time.monotonic()
        seconds = max(left, 0.0) * shares[0] / sum(shares)
        part: Row = {"state": "running", "reason": "", "seconds": 0.0, "rows": []}
        record.parts[name] = part
        if left < GRACE_S:
            part |= {"state": "skipped", "reason": "the time was up"}
        else:
            _measure(name, part, seconds, record)
        record.write()
        reason = f": {part['reason']}" if part["reason"] else ""
        print(f"{name}: {part['state']}{reason}, {len(part['rows'])} rows, {part['seconds']:.0f} s", flush=True)
    print(f"written: {wanted.output / 'gpu.md'}, {wanted.output / 'gpu.json'}")
    sys.exit(any(part["state"] == "failed" for part in record.parts.values()))


def _measure(name: str, part: Row, seconds: float, record: Record) -> None:
    """Run one part in a process group of its own; kill the group once its time is up."""
    command = [sys.executable, "-m", "bench.gpu", *sys.argv[1:], "--one", name, "--seconds", str(seconds)]
    started = time.monotonic()
    errors = record.folder / f"{name}.log"
    with errors.open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
        in_time = True
        for line in _lines(process, started + seconds + GRACE_S):
            if line is None:
                in_time = False
                break
            if line.startswith(MARK):
                part["rows"].append(json.loads(line.removeprefix(MARK)))
                part["seconds"] = time.monotonic() - started
                record.write()
        if not in_time:
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    part["seconds"] = time.monotonic() - started
    if not in_time:
        part |= {"state": "cut short", "reason": f"its {seconds:.0f} s were up"}
    elif code == 0:
        skipped = [row["skipped"] for row in part["rows"] if set(row) == {"skipped"}]
        alone = skipped and len(skipped) == len(part["rows"])
        part |= {"state": "skipped", "reason": "; ".join(skipped), "rows": []} if alone else {"state": "done"}
    else:
        last = errors.read_text(errors="replace").strip().splitlines()[-1:]
        part |= {"state": "failed", "reason": f"exit code {code}: {' '.join(last)} (all of it: {errors.name})"}


def _lines(process: subprocess.Popen[str], deadline: float) -> Iterator[str | None]:
    """The process's lines as they come; None once the deadline [s, monotonic] is past."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=max(deadline - time.monotonic(), 0))
        except queue.Empty:
            yield None
            return
        if line is None:
            return
        yield line


if __name__ == "__main__":
    main()
