import numpy as np
import pytest
import torch

from tests.trainers.data.conftest import write_nifti
from trainers.data.prepared.read import open_prepared
from trainers.data.prepared.write import prepare
from trainers.data.sources.acdc import AcdcSpec
from trainers.forward import Runtime
from trainers.result import CASES_FILE
from trainers.scoring import predict, score_cases
from trainers.spec import EmptySpec, LossSpec, ProtocolSpec, Regime, TrialSpec
from trainers.trial import run_trial

CPU = torch.device("cpu")


class Oracle(torch.nn.Module):
    """Knows the prepared labels: finds the case by its image, and answers with logits."""

    def __init__(self, data, certain=20.0):
        super().__init__()
        self.data, self.certain = data, certain

    def forward(self, images):
        answers = []
        for image in images.numpy():
            index = next(i for i, one in enumerate(self.data.images) if np.array_equal(one, image))
            label = torch.from_numpy(np.array(self.data.labels[index])).float()
            answers.append(torch.cat([1 - label.amax(dim=0, keepdim=True), label]))
        return self.certain * (2 * torch.stack(answers) - 1)


def spec_of(tree, **fields):
    return AcdcSpec(root=tree, **{"spacing": (4, 4, 8), "patch": (40, 40, 12), **fields})


def scores_of(data):
    hidden = np.zeros((len(data.cases), 3), bool)
    return score_cases(Oracle(data), data, range(len(data.cases)), hidden, Runtime(CPU, "fp32", "softmax"), 0.5)


def test_a_perfect_prediction_is_nearly_perfect_where_the_label_came_from(tree, tmp_path):
    data = open_prepared(prepare(spec_of(tree), tmp_path))
    for score in scores_of(data):
        assert score.dsc > 0.9
        assert score.pred_ml == pytest.approx(score.true_ml, rel=0.1)
        # The file's own volume, and not the prepared one: 5×5×10 mm.
        assert score.true_ml * 4 == pytest.approx(round(score.true_ml * 4))


def test_what_the_crop_cuts_off_is_missed(tree, tmp_path):
    data = open_prepared(prepare(spec_of(tree, spacing=(5, 5, 10), patch=(32, 8, 8)), tmp_path))
    whole = open_prepared(prepare(spec_of(tree, spacing=(5, 5, 10), patch=(32, 32, 8)), tmp_path))
    for cut, full in zip(scores_of(data), scores_of(whole), strict=True):
        assert full.dsc == 1
        assert cut.true_ml == full.true_ml
        assert cut.pred_ml <= full.pred_ml
    assert sum(score.pred_ml < score.true_ml for score in scores_of(data)) > len(data.cases)


def test_a_prediction_by_windows_is_that_of_each_window_where_they_agree(tree, tmp_path):
    """A network that looks at single voxels gives the same by windows as at once."""
    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, 4, kernel_size=1)
    computing = Runtime(CPU, "fp32", "softmax")
    image = torch.randn(1, 1, 21, 18, 11)
    found = predict(network, image, (8, 8, 8), computing, 0.5)
    with torch.no_grad():
        assert torch.allclose(found, network(image).softmax(dim=1), atol=1e-5)


@pytest.mark.parametrize("at", ["random", "label"])
def test_whole_cases_are_trained_by_patches_and_scored_as_a_whole(tree, tmp_path, at):
    data_spec = spec_of(tree, crop="none", patch=(16, 16, 4), spacing=(5, 5, 10))
    spec = TrialSpec(
        data=data_spec,
        data_key=data_spec.key(),
        empty=EmptySpec(group="ES", classes=("MYO",)),
        labeling=Regime(name="partial"),
        loss=LossSpec(name="dice", phi="I", eps="v_hat"),
        batch_size=2,
        protocol=ProtocolSpec(epochs=2, lr=1e-3, patches=at),
        folds=3,
    )
    data = open_prepared(prepare(data_spec, tmp_path))
    results = [run_trial(spec, data, tmp_path / name) for name in ("one", "two")]
    assert results[0].state == "DONE"
    assert results[0].metrics == results[1].metrics
    # ε is that of a patch, not of a whole heart.
    whole = data.volumes[:, 1].mean()
    assert 0 < results[0].v_hat["MYO"] < whole
    rows = (tmp_path / "one" / CASES_FILE).read_text().splitlines()
    assert len(rows) == 1 + 2 * 3


def test_a_rightly_empty_map_is_told_from_an_emptied_one(tree, tmp_path):
    label = next(tree.glob("training/patient001/*frame01_gt.nii.gz"))
    write_nifti(label, np.zeros((32, 32, 8), np.uint8))
    data = open_prepared(prepare(spec_of(tree, may_be_empty=("RV", "MYO", "LV")), tmp_path))
    scores = [score for score in scores_of(data) if score.case == "patient001-ED"]
    assert [(score.gt_empty, score.pred_empty, score.emptied) for score in scores] == [(True, True, False)] * 3
    assert all(np.isnan(score.dsc) and score.dsc_empty_1 == 1 for score in scores)
