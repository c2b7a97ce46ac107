import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis.figures.curves import draw_roc
from analysis.figures.examples import ExampleCase, Panel, Setup
from analysis.figures.style import new_figure
from analysis.figures.transition import draw_transition
from analysis.formatting import crossing_text, figure, fixed, label, p_value, ranged
from analysis.report.html import render_report, svg
from analysis.report.sentences import sentences
from analysis.report.terminal import best_text, map_text, table_text
from analysis.results.all_results import find
from analysis.results.cells import cell_metrics
from analysis.results.ranking import best
from analysis.results.roc_curves import RATES, cells_to_draw, roc_curves
from analysis.results.table_one import table_one
from analysis.results.transition_map import transition_map
from analysis.tables import StudyTables
from tests.analysis.conftest import Setting, demo_settings, make_study

ABOUT = {
    "name": "phantom <one>",
    "versions": {"python": "3.11", "numpy": "2"},
    "seeds": [0, 1, 2],
    "device": "cpu",
    "study file": "name: phantom\nfolds: 1\n",
}
PARTIAL = [s for s in demo_settings() if s.labeling == "partial"]
DEGENERATE = {
    "no trials": ([], {}),
    "one cell": ([Setting()], {}),
    "one seed": (demo_settings(), {"seeds": 1}),
    "one case a group": (demo_settings(), {"cases": 1}),
    "all collapsed": (demo_settings(), {"collapse": lambda setting, seed: True}),
    "all failed": (demo_settings(), {"fail": lambda setting, seed: True}),
    "no emptied group": (demo_settings(), {"emptied": None}),
    "full labeling only": ([Setting("I", "1", 2, "full")], {}),
    "partial labeling only": (PARTIAL, {}),
}
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Reads a page strictly: tags balance, ids are unique, references stay inside."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.ids, self.references, self.words = [], [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "xlink:href", "src"):
                self.references.append(value)
            self.references += [f"#{ref}" for ref in re.findall(r"url\(#([^)]+)\)", value or "")]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def degenerate(name: str) -> StudyTables:
    settings, drawn = DEGENERATE[name]
    return make_study(settings, **drawn)


def without_scores(tables: StudyTables) -> StudyTables:
    cases = tables.cases.assign(dsc=np.nan, dv_ml=np.nan, pred_ml=np.nan)
    return replace(tables, cases=cases)


def some_scores_missing(tables: StudyTables) -> StudyTables:
    holes = np.arange(len(tables.cases)) % 5 == 0
    cases = tables.cases
    return replace(
        tables, cases=cases.assign(**{name: cases[name].mask(holes) for name in ("dsc", "dv_ml", "pred_ml")})
    )


def folds_missing(tables: StudyTables) -> StudyTables:
    """Each seed becomes a fold that tested other subjects; a third of them is not there."""
    trials = tables.trials.assign(fold=tables.trials["seed"], seed=0)
    there = ~((trials["fold"] == 1) & (np.arange(len(trials)) % 2 == 0))
    trials = trials[there]
    cases = tables.cases.merge(trials[["key", "fold"]], on="key")
    cases = cases[cases["subject"].str[-1].astype(int) % 3 == cases["fold"]].drop(columns="fold")
    return replace(tables, trials=trials, cases=cases)


def only_the_emptied_group(tables: StudyTables) -> StudyTables:
    labeling = tables.trials["labeling"].replace("partial", "partial 0.5")
    cases = tables.cases[tables.cases["group"] == "B"]
    return replace(tables, trials=tables.trials.assign(labeling=labeling), cases=cases, groups=("B",))


def all_diverged(tables: StudyTables) -> StudyTables:
    reason = "diverged: the loss was nan at epoch 1, step 3"
    return replace(tables, trials=tables.trials.assign(state="FAILED", reason=reason), cases=tables.cases.iloc[:0])


def no_eps_above_zero(tables: StudyTables) -> StudyTables:
    return replace(tables, trials=tables.trials.assign(eps="0", eps_voxels=0.0))


SPOILT = [
    (without_scores, "56 trials are done without a score; no figure knows of them."),
    (some_scores_missing, "Retention falls through ½"),
    (folds_missing, "Retention falls through ½"),
    (only_the_emptied_group, "so collapse cannot be told from learning empty, and there is no AUC"),
    (all_diverged, "0 done, 57 failed, 57 of them because they diverged."),
    (no_eps_above_zero, "no trial has an ε above 0"),
]


def everything(tables: StudyTables, rng: np.random.Generator) -> str:
    texts = [table_text(table_one(tables, rng)), map_text(transition_map(tables, rng))]
    texts += [best_text(best(tables, rng, goal=goal)) for goal in ("ignore", "empty", "dice")]
    return "\n".join(texts)


def test_report_is_one_sound_page_that_needs_nothing_else(demo, rng):
    raw = render_report(demo, ABOUT, rng)
    page = Page(raw)
    assert len(page.ids) == len(set(page.ids))
    assert {ref[0] for ref in page.references} == {"#"}
    assert {ref[1:] for ref in page.references} <= set(page.ids)
    assert "src=" not in raw
    assert "<script" not in raw  # what a cell holds is told by handlers of the figure alone
    assert "@import" not in raw
    assert 'name="viewport"' in raw
    # Two slices with several ε, one figure of ROC curves; a plane of ε and B has three heat maps.
    assert raw.count('role="img"') == 2 + 1 + raw.count('class="heat"')
    assert raw.count('class="heat"') >= 3
    for words in ("phantom <one>", "Retention falls through ½", "1 of 27 trials collapsed", "became NaN", "folds: 1"):
        assert words in page.text


def test_same_tables_give_the_same_bytes(demo):
    shuffled = replace(
        demo, trials=demo.trials.sample(frac=1, random_state=1), cases=demo.cases.sample(frac=1, random_state=2)
    )
    first, second = (render_report(each, ABOUT, np.random.default_rng(0)) for each in (demo, shuffled))
    assert first == second


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no trials", "No trial has ended yet, so nothing can be said."),
        ("one cell", "Only one cell is done, so nothing can be compared."),
        ("one seed", "No cell has more than one trial: intervals tell how cases differ, not how other seeds"),
        ("one case a group", "Retention falls through ½"),
        ("all failed", "All trials failed, so nothing can be said about the loss; see the failures."),
        ("all collapsed", "training collapses: the labelled group is lost as well"),
        ("no emptied group", "The study empties no group, so it cannot say"),
        ("full labeling only", "No trial under partial labeling is done, so the study cannot say"),
        ("partial labeling only", "No trial under full labeling is done: collapse is judged by an absolute floor"),
    ],
)
def test_degenerate_studies_give_answers_and_a_report_that_says_what_it_cannot_say(name, words, rng):
    tables = degenerate(name)
    page = Page(render_report(tables, {}, rng))
    assert words in page.text
    assert "nan" not in page.text.lower().replace("became nan", "")
    assert "None" not in page.text
    assert everything(tables, rng)


@pytest.mark.parametrize(("spoil", "words"), SPOILT, ids=lambda each: getattr(each, "__name__", ""))
def test_spoilt_studies_give_answers_and_a_report_that_says_what_it_cannot_say(spoil, words, demo, rng):
    tables = spoil(demo)
    page = Page(render_report(tables, {}, rng))
    told = everything(tables, rng)
    assert words in page.text or words in told
    for text in (page.text, told):
        assert "None" not in text
        assert not re.search(r"\bnan\b", text.replace("was nan", ""))


def test_the_report_gives_the_same_figures_as_each_answer_by_itself(demo):
    found = find(demo, np.random.default_rng(0))
    assert found.cells == cell_metrics(demo, np.random.default_rng(0))
    assert found.rows == table_one(demo, np.random.default_rng(0))
    assert found.mapped == transition_map(demo, np.random.default_rng(0))
    for goal, entries in found.rankings.items():
        assert entries == best(demo, np.random.default_rng(0), goal=goal)


def test_every_number_leads_to_its_cell_and_every_cell_to_its_run(demo, rng):
    cells = demo.trials["cell"].unique()
    raw = render_report(demo, ABOUT, rng, links={cell: f"http://runs/{cell}" for cell in cells})
    page = Page(raw)
    assert {f"cell-{cell}" for cell in cells} <= set(page.ids)
    assert {f"http://runs/{cell}" for cell in cells} <= set(page.references)
    # In the map as well, and beside every mention of a cell.
    assert set(re.findall(r'<a href="([^"]+)" target="_blank" rel="noopener" data-told', raw)) > {
        "http://runs/cell-001"
    }
    assert raw.count('<a href="#cell-') == raw.count('title="its run in the tracking server"') > len(cells)
    assert "http://" not in " ".join(Page(render_report(demo, ABOUT, np.random.default_rng(0))).references)
    assert set(demo.trials["key"]) <= set(page.text.split())


def test_the_report_shows_predictions_learning_and_examples_where_they_are_given(demo, rng):
    explained = [
        {"loss": "dice", "phi": "I", "eps": "v_hat", "eps_voxels": 200.0, "batch_size": 2, "labeling": "partial"}
        | {"class": "tumor", "outcome": "learns_empty", "crossing": 12.0}
    ]
    epochs = pd.DataFrame(
        [
            {"key": key, "epoch": epoch, "metric": f"val.dsc.{group}.tumor", "value": 0.5}
            for key in demo.trials["key"]
            for epoch in (0, 1)
            for group in "AB"
        ]
    )
    truth = np.eye(4, dtype=bool)
    setup = Setup(demo.trials["cell"].iloc[0], demo.trials["key"].iloc[0], "ignores")
    panels = (Panel(setup, truth, 0.5), Panel(setup, np.zeros((4, 4), dtype=bool), None))
    shown = ExampleCase("B00", "B", "tumor", True, 5.25, 1.0, truth.astype(np.uint8), truth, panels)
    raw = render_report(demo, ABOUT, rng, explained=explained, epochs=epochs, examples=[shown])
    text = Page(raw).text
    assert "The outcome was foretold in 1 of 1 cells" in text
    assert "over 1 epochs" in text
    assert "B00, group B (emptied), 5.25 ml" in text
    assert "ignores; DSC 0.50" in text
    assert "ignores; no DSC, empty" in text
    assert {ref[0] for ref in Page(raw).references if not ref.startswith("data:image/png;base64,")} == {"#"}
    assert 'class="foretold"' in raw


def test_a_report_without_pictures_says_so(demo, rng):
    assert "No pictures: none of the trials at hand kept slices" in Page(render_report(demo, ABOUT, rng)).text


def test_summary_reads_well(demo, rng):
    told = sentences(demo, transition_map(demo, rng), cell_metrics(demo, rng))
    assert told[0] == "57 trials in 19 cells: 56 done, 1 failed."
    assert told[1] == (
        "Φ=I, B=2: training ignores the emptied maps and still segments the emptied group from ε = 1e-7 to 6 voxels; "
        "training learns to output empty maps for the emptied group from ε = 20 to 2000 voxels. Retention falls "
        "through ½ between ε = 6 and 20 voxels (0.03 to 0.1 v̂); the step is narrower than the grid, so no closer "
        "value is known. 1 of 27 trials collapsed, at ε = 200 voxels; they are left out of means and fit."
    )
    assert told[3].startswith("Φ=BI, B=2: training learns to output empty maps")


def test_divided_seeds_are_told(rng):
    tables = make_study([Setting("I", "1"), Setting("I", "10"), Setting("I", "100")], seeds=4, spread=0.0)
    moved = tables.cases["key"].isin(tables.trials.query("eps == '10' and seed < 2")["key"])
    moved &= tables.cases["group"] == "B"
    tables = replace(tables, cases=tables.cases.assign(pred_ml=tables.cases["pred_ml"].where(~moved, 0.1)))
    told = sentences(tables, transition_map(tables, rng), cell_metrics(tables, rng))
    assert "training is divided (2 ignores, 2 learns empty) at ε = 10 voxels" in told[1]


def test_text_is_aligned_and_marks_what_matters(demo, rng):
    table = table_text(table_one(demo, rng)).splitlines()
    assert table[0].split() == [
        *("Φ", "ε", "B", "labeling", "group", "DSC", "ΔV", "[ml]", "AUC", "n", "p"),
        *("paper:", "DSC,", "ΔV", "outcomes"),
    ]
    assert any("B ∅" in line and "learns empty" in line for line in table)
    assert {line.index("partial") for line in table if "partial " in line and "∅ emptied" not in line} <= {22, 23}
    ranked = best_text(best(demo, rng, goal="empty"))
    assert "AUC − retention" in ranked
    assert "first" in ranked
    mapped = map_text(transition_map(demo, rng))
    assert "v̂ = 200 voxels" in mapped
    assert re.search(r"falls from 0\.\d\d to 0\.\d\d within less than 0\.523 decades, R² \d\.\d\d; 3 seeds", mapped)
    assert "lr" not in table[0]


def test_text_shows_other_settings_where_they_vary(rng):
    tables = make_study([Setting("I", "1"), Setting("I", "1", lr=0.01)])
    assert "lr" in table_text(table_one(tables, rng)).splitlines()[0]
    assert "Φ=I, B=2, lr=0.01" in map_text(transition_map(tables, rng))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (figure(1e-7), "1e-7"),
        (figure(2000.0), "2000"),
        (figure(3e6), "3e6"),
        (figure(12.345), "12.3"),
        (figure(None), "–"),
        (fixed(-0.004), "0.00"),
        (fixed(-12.34, 1), "−12.3"),
        (fixed(float("nan")), "–"),
        (ranged(0.5, None, None), "0.50"),
        (ranged(0.5, 0.4, 0.6), "0.50 [0.40, 0.60]"),
        (p_value(0.0004), "<0.001"),
        (p_value(None), "–"),
        (label({"phi": "", "batch_size": 2, "lr": 0.005}, ("phi", "batch_size", "lr")), "B=2, lr=0.005"),
    ],
)
def test_numbers_read_well(text, expected):
    assert text == expected


def test_an_open_interval_is_called_open():
    crossing = {"eps": 5.0, "low": None, "high": 9.0, "bracket": [4.0, 6.0], "step": False, "in_v_hat": {"eps": None}}
    assert crossing_text({"crossing": crossing, "reason": None}) == "at ε = 5 voxels [open, 9]"


def test_a_step_whose_interval_is_wider_than_its_bracket_tells_both():
    crossing = {"eps": 5.0, "low": 1.0, "high": None, "bracket": [4.0, 6.0], "step": True}
    crossing["in_v_hat"] = {"eps": 0.5, "bracket": [0.4, 0.6]}
    assert crossing_text({"crossing": crossing, "reason": None}) == (
        "between ε = 4 and 6 voxels (0.4 to 0.6 v̂; 95 % interval 1 to open voxels); "
        "the step is narrower than the grid, so no closer value is known"
    )


def test_transition_figure_shows_all_there_is(demo, rng):
    found = transition_map(demo, rng)["slices"][0]
    made, axes = new_figure()
    draw_transition(axes, found)
    shown = axes.get_legend_handles_labels()[1]
    assert shown == [
        "retention crosses ½ in here (95 %)",
        "retention of the emptied group",
        "DSC, labelled group",
        "DSC, emptied group",
        "collapsed trial",
        "share that collapsed (95 %)",
        "v̂ = 200 voxels",
    ]
    assert axes.get_xlabel() == "ε [voxels]"
    assert axes.get_xscale() == "log"
    FigureCanvasAgg(made).draw()
    (legend,) = made.legends
    assert not legend.get_window_extent().overlaps(axes.get_window_extent())


def test_roc_curves_start_and_end_and_are_few(demo, rng):
    cells = cells_to_draw(transition_map(demo, rng)["slices"], "tumor")
    assert 4 <= len(cells) <= 8
    curves = roc_curves(demo, cells, "tumor")
    assert [curve.cell for curve in curves] == cells
    areas = {cell["cell"]: cell["metrics"]["auc.tumor"]["mean"] for cell in cell_metrics(demo, rng)}
    for curve in curves:
        assert (np.diff(curve.true) >= 0).all()
        assert curve.true[-1] == 1
        assert np.trapezoid(curve.true, RATES) == pytest.approx(areas[curve.cell], abs=0.02)
    made, axes = new_figure()
    draw_roc(axes, curves, cells)
    assert len(axes.lines) == len(curves) + 1
    assert isinstance(made, Figure)


def test_roc_without_an_emptied_group_is_empty():
    assert roc_curves(make_study([Setting()], emptied=None), ["cell-000"], "tumor") == []


def test_svg_is_the_same_each_time_and_escapes_its_description():
    drawn = []
    for _ in range(2):
        made, axes = new_figure()
        axes.plot([0, 1], [0, 1])
        drawn.append(svg(made, "one", 'a "quoted" <figure>'))
    assert drawn[0] == drawn[1]
    assert drawn[0].startswith("<svg")
    assert 'aria-label="a &#34;quoted&#34; &lt;figure&gt;"' in drawn[0]
    assert "width=" not in drawn[0].split(">")[0]
