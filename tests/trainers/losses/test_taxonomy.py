"""The list, what can be built, and the page about it say the same."""

import json
import re
from pathlib import Path

import pytest

from trainers.losses import TAXONOMY
from trainers.losses.registry import BUILDERS
from trainers.losses.taxonomy import PHI_MEANING, PHIS

PAGE = Path(__file__).parents[3] / "docs" / "losses.md"

NAMES = (
    "ce wce topk focal dpce ss dice dice_squared iou tversky gdl focal_tversky asymmetric penalty boundary hausdorff "
    "combo ell dice_ce dice_focal boundary_gdl leaf_dice marginal_dice"
)


def row(entry):
    def default(value):
        return "–" if value is None else str(value).lower() if isinstance(value, bool) else f"{value:.4g}"

    parameters = ", ".join(f"`{one.name}` {default(one.default)}" for one in entry.parameters)
    cells = (
        entry.category,
        f"`{entry.name}`",
        entry.title,
        entry.formula.replace("|", "\\|"),
        "yes" if entry.phi_eps else "",
        parameters,
        entry.source,
    )
    return f"| {' | '.join(cells)} |".replace("  ", " ")


def test_every_name_is_listed_and_can_be_built():
    assert set(TAXONOMY) == set(NAMES.split()) == set(BUILDERS)
    assert all(entry.name == name for name, entry in TAXONOMY.items())


def test_the_page_shows_the_list():
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if re.match(r"\| [a-z ]+ \| `", line)]
    assert rows == [row(entry) for entry in TAXONOMY.values()]


def test_the_page_explains_phi():
    text = PAGE.read_text("utf-8")
    for phi, meaning in PHI_MEANING.items():
        assert f"`{phi}`: {meaning}" in text


def test_the_examples_of_the_page_run():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)
    assert blocks
    scope = {}
    for block in blocks:
        exec(block, scope)


@pytest.mark.parametrize("entry", TAXONOMY.values(), ids=TAXONOMY)
def test_an_entry_is_complete_and_serialises(entry):
    for text in (entry.title, entry.formula, entry.source, *(one.meaning for one in entry.parameters)):
        assert text.strip()
    plain = json.loads(json.dumps(entry.as_dict()))
    assert {"name", "category", "formula", "source", "phi_eps", "parameters"} <= set(plain)
    assert plain["parameters"] == {one.name: one.default for one in entry.parameters}
    assert not {"phi", "eps", "name", "weight"} & set(plain["parameters"])


def test_phi():
    assert tuple(PHI_MEANING) == PHIS == ("I", "CI", "BI", "BCI")
