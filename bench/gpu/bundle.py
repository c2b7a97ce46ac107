"""Pack what a machine with a GPU needs beside Python, torch, numpy and scipy: code, tests, wheels.

    python -m bench.gpu.bundle [-o gpu-bundle.tar.gz]

There, without a network:

    tar xf gpu-bundle.tar.gz && cd gpu-bundle
    pip install --no-index --find-links wheels --no-deps wheels/*.whl
    python -m bench.gpu
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = ("trainers", "study", "analysis", "bench", "tests", "docs/studies", "pyproject.toml", "constraints.txt")
WHEELS = (
    *("pydantic", "pydantic_core", "annotated-types", "typing-inspection", "typing_extensions"),
    *("nibabel", "importlib_resources", "monai", "PyYAML", "pillow"),
    *("pytest", "pluggy", "iniconfig", "packaging", "Pygments"),
)
"""What trainers and their tests import beyond torch, numpy and scipy, with what those import in turn."""
MOST_MIB = 64


def main() -> None:
    """Fetch the wheels at the versions that are pinned, and write the archive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu-bundle.tar.gz"), help="default: %(default)s")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        wheels = Path(name) / "wheels"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*command, "-c", str(ROOT / "constraints.txt"), "-d", str(wheels), *WHEELS], check=True)
        with tarfile.open(wanted.output, "w:gz") as archive:
            archive.add(wheels, "gpu-bundle/wheels")
            for part in CODE:
                archive.add(ROOT / part, f"gpu-bundle/{part}", filter=_without_caches)
    mib = wanted.output.stat().st_size / 2**20
    print(f"{wanted.output}: {mib:.1f} MiB")
    if mib > MOST_MIB:
        sys.exit(f"error: {wanted.output} is larger than {MOST_MIB} MiB; leave something out of bench/gpu/bundle.py")


def _without_caches(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in entry.name else entry


if __name__ == "__main__":
    main()
