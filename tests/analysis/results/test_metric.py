import math

import pytest

from analysis.results.metric import Direction, Metric, metrics_of

KNOWN = metrics_of(("A", "EU, NA"), ("tumor", "MYO.ES"), {"EU, NA": "EU:2c: NA", "MYO.ES": "MYO:2e:ES"})


def test_names_tell_kind_group_class_and_unit():
    metric = Metric.parse("final.dv_ml.EU:2c: NA.MYO:2e:ES", KNOWN)
    assert (metric.kind, metric.group, metric.class_, metric.unit) == ("dv_ml", "EU, NA", "MYO.ES", "ml")
    assert Metric.parse("auc.tumor", KNOWN) == Metric("auc.tumor", "auc", None, "tumor", Direction.HIGHEST)
    assert Metric.parse("auc.tumor", KNOWN).unit == ""


@pytest.mark.parametrize(
    ("text", "direction", "score"),
    [
        ("dsc.A.tumor", "highest", -2.0),
        ("-dsc.A.tumor", "lowest", 2.0),
        ("-final.retention.tumor", "lowest", 2.0),
        ("dv_ml.A.tumor", "closest to 0", -2.0),
        ("-dv_ml.A.tumor", "lowest", 2.0),
    ],
)
def test_the_highest_score_is_the_best(text, direction, score):
    metric = Metric.parse(text, KNOWN)
    assert (metric.direction, metric.score(-2.0)) == (direction, score)
    assert math.isnan(metric.score(None))


def test_closest_to_zero_takes_either_side():
    metric = KNOWN["dv_ml.A.tumor"]
    assert metric.score(0.5) == metric.score(-0.5) > metric.score(1.0)


def test_unknown_metrics_are_refused_with_those_known():
    with pytest.raises(ValueError, match=r"unknown metric 'dsc.C.tumor', known: auc.MYO:2e:ES, auc.tumor, dsc.A"):
        Metric.parse("dsc.C.tumor", KNOWN)
    with pytest.raises(ValueError, match="known: none, for no trial is done"):
        Metric.parse("dsc.A.tumor", {})
