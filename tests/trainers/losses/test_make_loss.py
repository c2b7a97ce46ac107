"""The specification of a loss: what it may say, and what is told to whoever says something else."""

import subprocess
import sys

import pytest
import torch

from tests.trainers.losses.cases import build, line
from trainers.errors import InputError
from trainers.losses import TAXONOMY, make_loss, with_phi_eps


def faults(spec, **arguments):
    with pytest.raises(InputError) as caught:
        make_loss(spec, **arguments)
    return [str(fault) for fault in caught.value.faults]


def test_the_promise():
    prediction, target = torch.rand(2, 1, 4, 4, 4), torch.zeros(2, 1, 4, 4, 4)
    loss = make_loss({"name": "tversky", "alpha": 0.3, "beta": 0.7, "phi": "I", "eps": 1e-7})
    assert loss(prediction, target).shape == ()
    assert loss(prediction, target, presence=torch.ones(2, 1, dtype=torch.bool)).shape == ()


def test_unknown_names_and_parameters():
    assert faults({"name": "dise"}) == [f"loss: unknown loss 'dise', known: {', '.join(TAXONOMY)}"]
    assert faults({"name": "dice", "phi": "I", "eps": 1.0, "alpha": 0.3}) == [
        "loss 'dice': unknown parameter 'alpha', known: phi, eps, class_weights, background"
    ]
    assert faults({"name": "ce", "phi": "I"}) == ["loss 'ce': unknown parameter 'phi', known: none"]
    assert "unknown head 'tanh', known: sigmoid, softmax" in faults({"name": "ce"}, head="tanh")[0]


def test_all_faults_at_once():
    found = faults(
        {
            "terms": [
                {"name": "dise"},
                {"name": "tversky", "phi": "i", "eps": 0, "alpha": -1},
                {"name": "ce", "weight": -1},
            ]
        }
    )
    assert [fault.split(":")[0] for fault in found] == [
        "loss term 1",
        "loss term 2 'tversky'",
        "loss term 2 'tversky'",
        "loss term 2 'tversky'",
        "loss term 3",
    ]
    assert found[1] == "loss term 2 'tversky': alpha is -1; expected a number, 0 or above"
    assert "unknown phi 'i', known: I (one φ per case and class" in found[2]
    assert found[3] == "loss term 2 'tversky': eps is 0; expected a finite number above 0 [voxels], or one per class"


def test_phi_and_eps_have_no_default():
    assert faults({"name": "dice"}) == [
        "loss 'dice': phi is missing; write it out, one of I, CI, BI, BCI",
        "loss 'dice': eps is missing; write it out [voxels]; the usual negligible value is 1.0e-7",
    ]


@pytest.mark.parametrize("eps", [-1, 0, float("nan"), float("inf"), True, "v_hat", None, [], [1.0, 0.0], [[1.0]]])
def test_eps_is_a_number_above_0(eps):
    assert len(faults({"name": "dice", "phi": "I", "eps": eps})) == 1


def test_eps_per_class():
    for phi in ("CI", "BCI"):
        (fault,) = faults({"name": "dice", "phi": phi, "eps": [1.0, 2.0]})
        assert (
            fault == f"loss 'dice': eps per class, but a φ of {phi} spans the classes; give one number, or use I or BI"
        )
    (fault,) = faults({"name": "gdl", "phi": "I", "eps": [1.0, 2.0]})
    assert fault == "loss 'gdl': eps per class, but generalised Dice sums over the classes; give one number"
    (fault,) = faults({"name": "dice", "phi": "I", "eps": [1.0, 2.0]}, classes=3)
    assert fault == "loss 'dice': eps has 2 numbers for 3 classes; give one each"
    loss = make_loss({"name": "dice", "phi": "I", "eps": [1.0, 2.0]})
    with pytest.raises(InputError, match="eps: 2 numbers for 3 maps; give one per class"):
        loss(torch.rand(1, 3, 4), torch.zeros(1, 3, 4))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"name": "topk", "k": 0}, "k is 0; expected a number above 0, at most 100 [%]"),
        ({"name": "topk", "t": 1.5}, "t is 1.5; expected a number above 0, at most 1"),
        ({"name": "focal", "gamma": "2"}, "gamma is '2'; expected a number, 0 or above"),
        ({"name": "wce", "class_weights": [0, 0]}, "expected numbers, 0 or above and not all 0, one per class"),
        ({"name": "boundary", "background": 1}, "background is 1; expected true or false"),
        ({"name": "boundary", "background": True}, "a sigmoid head has no background map; leave background out"),
        ({"name": "combo", "phi": "I", "eps": 1, "a": 2}, "a is 2; expected a number from 0 to 1"),
        ({"name": "gdl", "phi": "I", "eps": 1, "absent_weight": -1}, "absent_weight is -1; expected a number"),
        ({"name": "ce", "weight": 1.0}, "a weight belongs to a term"),
        ({"terms": []}, "expected a list of losses with weights"),
        ({"terms": ["ce"]}, "loss term 1: is 'ce'; expected a mapping"),
        ({"terms": [{"name": "ce"}], "name": "dice"}, "unknown field 'name' beside terms"),
        ("dice", "is 'dice'; expected a mapping"),
    ],
)
def test_faults(spec, words):
    assert any(words in fault for fault in faults(spec))


def test_shapes_must_fit():
    with pytest.raises(InputError, match=r"prediction is \(1, 1, 4\) and target \(1, 2, 4\)"):
        build("dice")(torch.rand(1, 1, 4), torch.rand(1, 2, 4))
    with pytest.raises(InputError, match=r"give both as \(batch, class, \*space\)"):
        build("dice")(torch.rand(1, 4), torch.rand(1, 4))


@pytest.mark.parametrize("name", TAXONOMY)
def test_every_loss_says_what_it_needs(name):
    sigmoid, softmax = build(name), build(name, head="softmax")
    assert sigmoid.name == softmax.name == name
    assert not sigmoid.needs_background
    entropic = TAXONOMY[name].category == "distribution" or name in ("ell", "dice_ce", "dice_focal", "marginal_dice")
    assert softmax.needs_background == entropic
    assert sigmoid.needs_distance == (name in ("dpce", "boundary", "hausdorff", "boundary_gdl"))


def test_a_sum_joins_the_names():
    assert make_loss({"terms": [{"name": "ce"}, {"name": "focal"}]}).name == "ce+focal"


def test_filling_in_phi_and_eps():
    assert with_phi_eps({"name": "dice", "eps": 3.0}, phi="BI", eps=1.0) == {"name": "dice", "phi": "BI", "eps": 3.0}
    assert with_phi_eps({"name": "ce"}, phi="BI", eps=1.0) == {"name": "ce"}
    filled = with_phi_eps({"terms": [{"name": "dice"}, {"name": "ce"}, "odd"]}, phi="I", eps=1.0)
    assert filled == {"terms": [{"name": "dice", "phi": "I", "eps": 1.0}, {"name": "ce"}, "odd"]}


def test_the_result_is_float32_or_wider():
    for given, found in (
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ):
        assert build("dice_ce")(line([[0.5]]).to(given), line([[1]])).dtype == found


def test_the_list_does_not_wait_for_torch():
    code = "import sys; from trainers.losses import TAXONOMY, make_loss; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
