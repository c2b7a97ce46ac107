"""``python -m study.cli``: the command without its script."""

from study.cli import main

main()
