"""The pictures of a report: slices that trials kept on the storage, as the analysis takes them."""

from __future__ import annotations

import pandas as pd

from analysis.figures.examples import ExampleCase, Panel, Setup, choose_setups, choose_slices
from analysis.outcomes import trial_scores
from analysis.results.all_results import Findings
from analysis.tables import DONE, StudyTables
from study.storage.locations import Places
from trainers.example_slices import EXAMPLES_FILE, Example, load_examples


def examples_of(found: Findings, places: Places) -> list[ExampleCase]:
    """Chosen cases under setups that did different things; none where no trial at hand kept slices."""
    tables, storage = found.tables, places.storage
    done = tables.trials.loc[tables.trials["state"] == DONE, "key"]
    kept = [key for key in done if (storage.trial(key) / EXAMPLES_FILE).exists()]
    if not kept or not tables.emptied_classes:
        return []
    scores = trial_scores(tables)
    shown: list[ExampleCase] = []
    for class_ in tables.emptied_classes:
        setups = choose_setups(tables, class_, kept, scores)
        slices = {setup: load_examples(storage.trial(setup.key)) for setup in setups}
        shown += _cases(tables, class_, slices)
    return shown


def _cases(tables: StudyTables, class_: str, slices: dict[Setup, list[Example]]) -> list[ExampleCase]:
    """The chosen cases that every setup kept."""
    by_case = [{example.case: example for example in kept if class_ in example.found} for kept in slices.values()]
    if not by_case:
        return []
    common = [example for name, example in by_case[0].items() if all(name in other for other in by_case)]
    hidden = tables.emptied.group if tables.emptied is not None else None
    own = tables.cases[tables.cases["class"] == class_].set_index(["key", "case"])
    cases = []
    for place in choose_slices([(example.group, example.quartile) for example in common], hidden):
        example = common[place]
        panels = tuple(
            Panel(setup, kept[example.case].found[class_], _figure(own, setup.key, example.case, "dsc"))
            for setup, kept in zip(slices, by_case, strict=True)
        )
        cases.append(
            ExampleCase(
                example.case,
                example.group,
                class_,
                example.group == hidden,
                _figure(own, next(iter(slices)).key, example.case, "true_ml"),
                example.aspect,
                example.image,
                example.truth[class_],
                panels,
            )
        )
    return cases


def _figure(cases: pd.DataFrame, key: str, case: str, name: str) -> float | None:
    """A score of one trial's case; None where it has none. cases: of one class, by key and case."""
    value = cases[name].get((key, case))
    return None if value is None or value != value else float(value)
