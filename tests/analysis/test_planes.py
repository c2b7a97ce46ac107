import json

import numpy as np
import pytest

from analysis.figures.heatmap import draw_plane
from analysis.figures.heatmap_svg import plane_svgs
from analysis.figures.style import PANELS, new_figure, shade
from analysis.report.sentences import plane_sentence
from analysis.results.planes import EpsAxis, in_order, plane_rows, spans_of
from analysis.results.transition_map import transition_map
from tests.analysis.conftest import Setting, make_study, sometimes

LINE = ("1e-07", "0.01 v_hat", "0.1 v_hat", "v_hat")


@pytest.fixture(scope="module")
def mapped():
    settings = [Setting("I", eps, b, "partial") for eps in LINE for b in (16, 2, 4)]
    settings += [Setting("BI", "1e-07", b) for b in (2, 4)]
    return transition_map(make_study(settings, collapse=sometimes), np.random.default_rng(0))


def plane_of(mapped, x, y):
    (found,) = [plane for plane in mapped["planes"] if (plane["x"], plane["y"]) == (x, y)]
    return found


def test_a_plane_of_eps_holds_every_cell_with_the_boundary_of_each_row(mapped):
    plane = plane_of(mapped, "eps", "batch_size")
    assert [row["value"] for row in plane["rows"]] == [2, 4, 16]
    assert len(plane["cells"]) == 12
    assert plane["at"]["phi"] == "I"
    for row in plane["rows"]:
        assert row["crossing"] == mapped["slices"][row["slice"]]["crossing"]
        # k = 2a/b²: 1/4 at a = ½, the double root v̂; 1/8 at a = ¼, two roots whose product is v̂².
        assert row["roots"][0] == {"a": 0.5, "eps": [200.0]}
        low, high = row["roots"][1]["eps"]
        assert low * high == pytest.approx(200**2)
    at_v_hat = next(cell for cell in plane["cells"] if cell["x"] == 200 and cell["y"] == 2)
    assert at_v_hat["collapse"] == pytest.approx(1 / 3)
    json.dumps(mapped, allow_nan=False)


def test_two_settings_at_one_eps_make_a_plane(mapped):
    plane = plane_of(mapped, "phi", "batch_size")
    assert plane["at"]["eps"] == "1e-07"
    assert len(plane["cells"]) == 5
    by_place = {(cell["x"], cell["y"]): cell["retention"] for cell in plane["cells"]}
    assert by_place["I", 2] > 0.8
    assert by_place["BI", 2] < 0.1


def test_planes_are_flat_for_a_table(mapped):
    rows = plane_rows(mapped)
    assert len(rows) == sum(len(plane["cells"]) for plane in mapped["planes"])
    assert not any(isinstance(value, dict | list) for row in rows for value in row.values())


def test_values_of_a_factor_stand_in_their_own_order():
    assert in_order([16, 2, 4, 2]) == [2, 4, 16]
    assert in_order(["BCI", "I", "BI"]) == ["I", "BI", "BCI"]
    assert in_order(["partial", "partial 0.5", "partial 0.25"]) == ["partial 0.25", "partial 0.5", "partial"]


def test_wide_gaps_are_drawn_short_and_places_beyond_the_scan_stay_near():
    axis = EpsAxis([1e-7, 1.0, 10.0])
    assert axis.cut
    assert axis.places == pytest.approx([0, 1, 2])
    assert axis.place(10**0.5) == pytest.approx(1.5)
    assert axis.place(1e9) == pytest.approx(2.5)
    assert np.allclose(axis.edges([1e-7, 1.0, 10.0]), [(-0.5, 0.5), (0.5, 1.5), (1.5, 2.5)])
    assert not EpsAxis([1.0, 10.0]).cut


def test_every_cell_is_a_link_that_tells_its_figures(mapped):
    plane = plane_of(mapped, "eps", "batch_size")
    first = plane["cells"][0]["cell"]
    drawn = plane_svgs(plane, {first: "http://runs/1?a=1&b=2"}, [{"value": 4, "eps": 5.0}])
    assert [each["title"] for each in drawn] == [title for _, title, _ in PANELS]
    for each in drawn:
        assert each["drawing"].count("<a ") == 12
        assert 'href="http://runs/1?a=1&amp;b=2"' in each["drawing"]
        assert f'href="#cell-{plane["cells"][1]["cell"]}"' in each["drawing"]
        assert each["drawing"].count('class="foretold"') == 1
    assert "B = 2, ε = 200 voxels (1 v̂): retention" in drawn[0]["drawing"]


def test_planes_are_drawn_with_their_boundary(mapped):
    for plane in mapped["planes"]:
        for name, _, _ in PANELS:
            _, axes = new_figure()
            draw_plane(axes, plane, name)
            (drawn,) = axes.collections[:1]
            assert len(drawn.get_paths()) == len(plane["cells"]) == len(spans_of(plane))
            assert len(axes.texts) == sum(cell[name] is not None for cell in plane["cells"])


def test_a_plane_of_a_search_draws_its_cells_without_numbers_that_nobody_could_read(mapped):
    plane = plane_of(mapped, "eps", "batch_size")
    like = plane["cells"][0]
    values = [row["value"] for row in plane["rows"]]
    many = [{**like, "x": float(x), "y": y} for y in values for x in np.geomspace(1e-6, 1e6, 700)]
    _, axes = new_figure()
    draw_plane(axes, {**plane, "cells": many}, "retention")
    assert len(axes.collections[0].get_paths()) == len(many)
    assert not axes.texts


def test_a_plane_says_what_it_shows(mapped):
    text = plane_sentence(mapped, plane_of(mapped, "eps", "batch_size"))
    assert text.startswith("ε and B")
    assert "retention crosses ½ between ε = 2 and 20 voxels for B = 4 as for all others" in text
    assert "trials collapsed in 3 of 12 cells" in text


def test_shades_are_told_apart_without_colour():
    def lightness(value, name):
        fill = shade(value, name)[0]
        return sum(weight * int(fill[i : i + 2], 16) for i, weight in ((1, 0.3), (3, 0.59), (5, 0.11)))

    for name, sign in (("retention", 1), ("collapse", -1)):
        steps = sign * np.diff([lightness(value, name) for value in np.linspace(0, 1, 9)])
        assert (steps > 5).all()
    assert shade(None, "retention")[0] == "#E8E8E8"
