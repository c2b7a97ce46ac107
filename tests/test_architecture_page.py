"""What docs/architecture.md and CONTRIBUTING.md name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = {name: (ROOT / name).read_text("utf-8") for name in ("docs/architecture.md", "CONTRIBUTING.md")}
LINKS = [(page, target) for page, text in PAGES.items() for target in re.findall(r"\]\((?!http)([^)#]+)", text)]


@pytest.mark.parametrize(("page", "target"), LINKS)
def test_a_link_leads_somewhere(page, target):
    assert ((ROOT / page).parent / target).exists()


def test_the_tree_is_the_one_on_disk():
    (tree,) = re.findall(r"## The tree\n\n```\n(.*?)```", PAGES["docs/architecture.md"], flags=re.DOTALL)
    named, package = {}, ""
    for line in tree.splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            package = name.rstrip("/")
            named[package] = set()
        elif name.endswith("/"):
            named[package].add(name.rstrip("/"))
    on_disk = {
        package: {path.name for path in (ROOT / package).iterdir() if (path / "__init__.py").exists()}
        for package in named
    }
    assert named == on_disk


def test_commands_of_make_are_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)", PAGES["CONTRIBUTING.md"], flags=re.MULTILINE)) <= targets
