"""Networks by name: what a file may say, what it is told, and what stands in a trial's key."""

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from study.config.load import parse_study
from study.config.search_space import enumerate_trials
from study.config.trial_params import trial_settings
from trainers.networks import NetworkSpec
from trainers.spec import ProtocolSpec, TrialSpec


def read(value):
    return NetworkSpec.model_validate(value)


def with_network(trial, value):
    protocol = trial.protocol.model_copy(update={"network": read(value)})
    return TrialSpec.model_validate(trial.model_dump() | {"protocol": protocol})


def test_a_bare_name_is_dumped_as_such(trial):
    assert json.loads(trial.model_dump_json())["protocol"]["network"] == "tiny"
    assert ProtocolSpec(epochs=1).model_dump_json().startswith('{"network":"tiny",')
    assert trial_settings(trial)["network"] == "tiny"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("tiny", "tiny"),
        ({"name": "no-new-net", "features": [8, 16]}, "no-new-net(features=[8, 16])"),
        ({"name": "VNet", "act": ["elu", {"inplace": True}]}, 'VNet(act=["elu", {"inplace": true}])'),
    ],
)
def test_every_form_comes_back(written, text):
    spec = read(written)
    assert json.loads(spec.model_dump_json()) == written
    assert read(spec.model_dump()) == read(json.loads(spec.model_dump_json())) == spec
    assert hash(read(written)) == hash(spec)
    assert str(spec) == text


def test_what_is_the_same_network_has_one_key(trial):
    def key(value):
        return with_network(trial, value).key

    assert key("tiny") == key({"name": "tiny"}) == key({"name": "tiny", "features": [8, 16, 32]}) == trial.key
    assert key({"name": "tiny", "features": [8, 16]}) != trial.key
    arguments = {"channels": [4, 8], "strides": [2]}
    backwards = dict(reversed(arguments.items()))
    assert key({"name": "UNet", **arguments}) == key({"name": "UNet", **backwards})


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (
            "unett",
            "unknown network 'unett', known: tiny, no-new-net, acdc-net, or a MONAI network by its class name "
            "(BasicUNet, DynUNet, …); did you mean 'UNet'?",
        ),
        ("no-new-ent", "did you mean 'no-new-net'?"),
        ("basicunet", "did you mean 'BasicUNet'?"),
        ("Quicknat", "MONAI's Quicknat has no in_channels and out_channels, and cannot be fitted to the data"),
        (3, "network is 3, expected a name, or {name: …} with arguments beside it"),
        ({"name": "tiny", "arguments": 3}, "arguments is 3, expected a mapping"),
        ({"name": "tiny", "width": 3}, "unknown argument of network tiny 'width', known: features"),
        ({"name": "tiny", "features": 8}, "features of network tiny is 8, expected at least two whole numbers"),
        ({"name": "tiny", "features": [8]}, "expected at least two whole numbers above 0"),
        ({"name": "tiny", "features": [8, True]}, "expected at least two whole numbers above 0"),
        ({"name": "tiny", "features": [8, 0]}, "expected at least two whole numbers above 0"),
        ({"name": "BasicUNet", "in_channels": 4}, "in_channels of network BasicUNet follows from the data; leave it"),
        ({"name": "UNETR", "img_size": 4}, "img_size of network UNETR follows from the data"),
        ({"name": "VNet", "featurs": 1, "bais": True}, "unknown argument of network VNet 'bais', known: act, "),
        ({"name": "VNet", "bais": True}, "did you mean 'bias'?"),
        ("UNet", "network UNet needs channels, strides"),
        ({"name": "VNet", "dropout_prob": float("nan")}, "dropout_prob is nan, expected a number"),
        ({"name": "VNet", "act": {1, 2}}, "expected a number, a word, true or false, or a list or mapping of these"),
    ],
)
def test_what_is_wrong_is_told(written, words):
    with pytest.raises(ValidationError) as caught:
        read(written)
    assert words in str(caught.value.errors()[0]["ctx"]["error"])


def test_all_faults_of_a_network_at_once():
    with pytest.raises(ValidationError, match=r"in_channels .*; unknown argument .* 'x'.*; network UNet needs strides"):
        read({"name": "UNet", "in_channels": 1, "x": 1, "channels": [4, 8]})


def test_arguments_of_a_parent_that_are_passed_on_are_known():
    assert read({"name": "HyenaNDUNETR", "hyena_stages": [True] * 4, "depths": [2, 2, 2, 2]}).arguments
    assert read({"name": "DenseNet121", "dropout_prob": 0.1}).arguments


def test_a_trial_refuses_a_patch_that_its_network_cannot_pool(trial):
    with pytest.raises(ValidationError, match="24×24×16 voxels cannot be halved 4 times"):
        with_network(trial, "no-new-net")
    assert with_network(trial, {"name": "no-new-net", "features": [4, 8, 16]}).protocol.network.name == "no-new-net"


def test_a_study_searches_over_networks(study_text):
    axis = "    network: [tiny, {name: no-new-net, features: [4, 8]}, {name: VNet, bias: true}]\n"
    study = parse_study(study_text + axis)
    networks = [str(trial.protocol.network) for trial in enumerate_trials(study, lambda _: "")]
    assert networks == ["tiny", "no-new-net(features=[4, 8])", "VNet(bias=true)"] * (len(networks) // 3)


def test_names_are_known_without_torch_or_monai():
    code = (
        "import sys; from trainers.spec import ProtocolSpec\n"
        "ProtocolSpec.model_validate({'epochs': 1, 'network': {'name': 'BasicUNet', 'dropout': 0.1}})\n"
        "sys.exit(bool({'torch', 'monai'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
