import math

import pytest

from trainers.epsilon import Epsilon, format_epsilon


@pytest.mark.parametrize(
    ("written", "amount", "unit"),
    [
        (1e-7, 1e-7, "voxels"),
        ("1e-7", 1e-7, "voxels"),
        (8789, 8789.0, "voxels"),
        ("v_hat", 1.0, "v_hat"),
        ("0.1 v_hat", 0.1, "v_hat"),
        ("0.1*v_hat", 0.1, "v_hat"),
        ("1.0e+2 v_hat", 100.0, "v_hat"),
    ],
)
def test_written_forms(written, amount, unit):
    assert Epsilon.parse(written) == Epsilon(amount, unit)


@pytest.mark.parametrize(
    "written", [0, -1e-7, "-1 v_hat", "nan", "inf", math.nan, "v_hot", "1 2 v_hat", "", None, True, []]
)
def test_refused_with_what_is_expected(written):
    with pytest.raises(ValueError, match="expected"):
        Epsilon.parse(written)


def test_reads_what_it_writes():
    for text in ("1e-07", "v_hat", "0.1 v_hat", "8789", "0.00316 v_hat"):
        assert str(Epsilon.parse(text)) == text
        assert Epsilon.parse(str(Epsilon.parse(text))) == Epsilon.parse(text)


def test_in_voxels():
    assert Epsilon.parse("0.1 v_hat").voxels(196.0) == pytest.approx(19.6)
    assert Epsilon.parse(5).voxels(196.0) == 5


def test_per_class_on_one_line():
    assert format_epsilon({"RV": Epsilon(1e-7), "LV": Epsilon(1, "v_hat")}) == "RV=1e-07, LV=v_hat"
