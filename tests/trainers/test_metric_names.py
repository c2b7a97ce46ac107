import re

from hypothesis import example, given
from hypothesis import strategies as st

from trainers.metric_names import decode_name, encode_name, metric_name


@given(st.text(min_size=1))
@example(":2c:")
@example("a:b-c:")
def test_spelling_is_reversible_and_fit_for_mlflow(name):
    assert decode_name(encode_name(name)) == name
    assert re.fullmatch(r"[A-Za-z0-9_: -]+", encode_name(name))


def test_plain_names_stay_and_others_are_spelled_by_code_point():
    assert metric_name("dsc", "A", "tumor") == "dsc.A.tumor"
    assert metric_name("dsc", "high grade", "whole_tumor-1") == "dsc.high grade.whole_tumor-1"
    assert metric_name("dv_ml", "EU, NA", "MYO.ES") == "dv_ml.EU:2c: NA.MYO:2e:ES"
    assert metric_name("retention", "肿瘤") == "retention.:80bf-7624:"
