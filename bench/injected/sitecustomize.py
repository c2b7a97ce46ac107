"""On the import path of hosts under test: what Python runs at its start, so that a chosen trial goes wrong."""

import importlib.abc
import importlib.util
import json
import os
import signal
import sys
import time
from pathlib import Path

MEMORY = 2**30


class _Injected(importlib.abc.MetaPathFinder):
    """Wraps ``trainers.trial.run_trial`` when the module is first imported."""

    def find_spec(self, name, *_):
        if name != "trainers.trial":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            run = module.run_trial

            def run_trial(spec, *arguments, **named):
                file = Path(os.environ["DICESTUDY_INJECT"])
                orders = json.loads(file.read_text()) if file.exists() else {}
                what = orders.get(spec.key, orders.get("*", ""))
                if what == "raise":
                    raise RuntimeError("injected")
                if what == "allocate":
                    bytearray(b"1" * MEMORY)
                    os.kill(os.getpid(), signal.SIGKILL)
                if what.startswith("last "):
                    time.sleep(float(what.removeprefix("last ")))
                return run(spec, *arguments, **named)

            module.run_trial = run_trial

        spec.loader.exec_module = exec_module
        return spec


if "DICESTUDY_INJECT" in os.environ:
    sys.meta_path.insert(0, _Injected())
