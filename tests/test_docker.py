"""The files of docker/, as far as they can be judged without running them."""

import base64
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from study.cli.main import main

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
SECRETS = ("DATABASE_PASSWORD", "MLFLOW_ADMIN_PASSWORD", "MLFLOW_SECRET_KEY", "RAY_TOKEN", "API_TOKEN")
COMPOSE = (DOCKER / "compose.yaml").read_text()
SERVICES = yaml.safe_load(COMPOSE)["services"]
MANIFESTS = {
    f"{path.name}:{document['kind']}/{document['metadata']['name']}": document
    for path in sorted((DOCKER / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
}
KUBERAY = yaml.safe_load((Path(__file__).parent / "kuberay.yaml").read_text())


def instructions():
    text = (DOCKER / "Dockerfile").read_text().replace("\\\n", " ")
    return [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]


def pods():
    """Every pod that the manifests describe, with its place."""
    for name, document in MANIFESTS.items():
        spec = document.get("spec", {})
        cluster = spec.get("rayClusterSpec", spec)
        if "headGroupSpec" in cluster:
            yield f"{name} head", cluster["headGroupSpec"]["template"]
            for group in cluster["workerGroupSpecs"]:
                yield f"{name} {group['groupName']}", group["template"]
        elif "template" in spec:
            yield name, spec["template"]


PODS = dict(pods())


def test_the_image_is_run_by_nobody_special():
    users = [value for name, value in instructions() if name == "USER"]
    assert users == ["10001:10001"]
    # What comes after it copies a folder, and installs nothing.
    after = [name for name, _ in instructions()][[name for name, _ in instructions()].index("USER") :]
    assert "RUN" not in after


def test_every_package_of_the_image_is_pinned():
    installs = [value for name, value in instructions() if name == "RUN" and "install " in value and "pip" in value]
    assert len(installs) == 5
    assert all("-c constraints.txt" in value or "--no-deps --force-reinstall ." in value for value in installs)
    bases = [value for name, value in instructions() if name == "ARG" and value.startswith("BASE=")]
    assert re.fullmatch(r"BASE=python:3\.\d+\.\d+-slim-bookworm", bases[0])


def test_the_image_has_a_stage_for_each_kind_and_a_healthcheck():
    stages = {value.split()[-1] for name, value in instructions() if name == "FROM"}
    assert {"cpu", "cuda"} <= stages
    assert [name for name, _ in instructions()].count("HEALTHCHECK") == 1


def test_what_is_pinned_is_what_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["postgres"], "flask-wtf<2"]  # of mlflow[auth]
    pins = {canonicalize_name(name): version for name, version in PINS.items()}
    for requirement in map(Requirement, asked):
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_the_compose_file_keeps_to_the_compose_specification():
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, str(DOCKER / "compose.yaml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_that_is_not_set_is_refused(secret):
    uses = re.findall(rf"\$\{{{secret}([^}}]*)\}}", COMPOSE)
    assert uses
    # `:?` refuses an empty one as well, `?` would not.
    assert all(use.startswith(":?") for use in uses)
    example = dict(re.findall(r"^(\w+)=(.*)$", (DOCKER / ".env.example").read_text(), re.MULTILINE))
    assert example[secret] == ""


def test_every_variable_of_the_compose_file_is_in_the_example():
    used = set(re.findall(r"\$\{(\w+)", COMPOSE))
    assert used == set(re.findall(r"^(\w+)=", (DOCKER / ".env.example").read_text(), re.MULTILINE))


def test_only_the_service_and_the_dashboard_are_published_and_only_here():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "mlflow": ["${BIND:-127.0.0.1}:${DASHBOARD_PORT:-5000}:5000"],
        "api": ["${BIND:-127.0.0.1}:${API_PORT:-8000}:8000"],
    }
    assert yaml.safe_load(COMPOSE)["networks"]["inside"] == {"internal": True}
    outside = {name for name, service in SERVICES.items() if "front" in service["networks"]}
    assert outside == {"mlflow", "api"}


def test_services_start_in_the_order_of_what_they_need():
    started = []
    while len(started) < len(SERVICES):
        ready = [name for name in SERVICES if name not in started and set(needs(name)) <= set(started)]
        assert ready, "services wait for each other"
        started += ready
    assert started[:3] == ["postgres", "mlflow", "ray-head"]
    assert all(condition == "service_healthy" for name in SERVICES for condition in needs(name).values())
    assert all("healthcheck" in service for service in SERVICES.values())


def needs(name):
    return {other: entry["condition"] for other, entry in SERVICES[name].get("depends_on", {}).items()}


def test_ray_asks_for_a_token_everywhere():
    for name in ("ray-head", "ray-worker", "ray-worker-gpu", "api"):
        assert SERVICES[name]["environment"]["RAY_AUTH_MODE"] == "token"
        assert SERVICES[name]["environment"]["RAY_AUTH_TOKEN"].startswith("${RAY_TOKEN:?")
    assert SERVICES["ray-worker-gpu"]["profiles"] == ["gpu"]


def test_no_secret_stands_in_a_command():
    for name, service in SERVICES.items():
        assert not any(secret in str(service.get("command", "")) for secret in SECRETS), name
    for name, pod in PODS.items():
        commands = [container.get("command", []) for container in pod["spec"]["containers"]]
        assert "$(" not in str(commands), name


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_keeps_to_its_schema(name):
    document = MANIFESTS[name]
    if document["apiVersion"].startswith("ray.io/"):
        schema = {"$ref": f"#/$defs/{document['kind']}", "$defs": KUBERAY["$defs"]}
        faults = [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(document)]
        assert faults == []
    else:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("name", PODS)
def test_a_pod_keeps_to_its_schema_and_is_nobody_special(name):
    template = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "any"}, "template": PODS[name]}
    kubernetes_validate.validate(template, kubernetes_validate.latest_version(), strict=True)
    spec = PODS[name]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert all(box["securityContext"]["allowPrivilegeEscalation"] is False for box in spec["containers"])
    assert {mount["name"] for box in spec["containers"] for mount in box.get("volumeMounts", [])} - {"database"} <= {
        volume["name"] for volume in spec.get("volumes", [])
    }


def test_a_wrong_manifest_is_told(tmp_path):
    cluster = yaml.safe_load((DOCKER / "kubernetes" / "ray-cluster.yaml").read_text())
    cluster["spec"]["workerGroupSpecs"][0]["maxReplica"] = 3
    schema = {"$ref": "#/$defs/RayCluster", "$defs": KUBERAY["$defs"]}
    assert "maxReplica" in str([error.message for error in Draft202012Validator(schema).iter_errors(cluster)])


def test_the_cluster_grows_by_gpus_from_nothing():
    (cluster,) = (document["spec"] for document in MANIFESTS.values() if document["kind"] == "RayCluster")
    (job,) = (document["spec"]["rayClusterSpec"] for document in MANIFESTS.values() if document["kind"] == "RayJob")
    for spec in (cluster, job):
        assert spec["enableInTreeAutoscaling"] is True
        assert spec["rayVersion"] == PINS["ray"]
        assert spec["authOptions"] == {"mode": "token", "secretName": "dicestudy-ray"}
        (gpu,) = (group for group in spec["workerGroupSpecs"] if group["groupName"] == "gpu")
        assert gpu["minReplicas"] == 0 < gpu["maxReplicas"]
        assert gpu["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    # The job's cluster is the standing one, but for the study's file.
    assert without_study(job) == without_study(cluster)


def without_study(spec):
    lines = yaml.safe_dump(spec, sort_keys=True)
    found = yaml.safe_load(lines)
    for template in (found["headGroupSpec"], *found["workerGroupSpecs"]):
        pod = template["template"]["spec"]
        pod["volumes"] = [volume for volume in pod["volumes"] if volume["name"] != "study"]
        for box in pod["containers"]:
            box["volumeMounts"] = [mount for mount in box["volumeMounts"] if mount["name"] != "study"]
    return found


def test_every_secret_of_a_manifest_is_in_the_example_which_a_server_refuses():
    kept = {
        (document["metadata"]["name"], key): value
        for document in MANIFESTS.values()
        if document["kind"] == "Secret"
        for key, value in document["data"].items()
    }
    used = set()
    for pod in PODS.values():
        for box in pod["spec"]["containers"]:
            for entry in box.get("env", []):
                if (reference := entry.get("valueFrom", {}).get("secretKeyRef")) is not None:
                    used.add((reference["name"], reference["key"]))
                else:
                    assert "PASSWORD" not in entry["name"]
                    assert "TOKEN" not in entry["name"]
    assert used == set(kept)
    for value in kept.values():
        with pytest.raises(ValueError, match="base64"):
            base64.b64decode(value, validate=True)


def test_every_claim_of_a_pod_is_there():
    claims = {
        document["metadata"]["name"] for document in MANIFESTS.values() if document["kind"] == "PersistentVolumeClaim"
    }
    used = {
        volume["persistentVolumeClaim"]["claimName"]
        for pod in PODS.values()
        for volume in pod["spec"].get("volumes", [])
        if "persistentVolumeClaim" in volume
    }
    assert used == claims


def commands():
    """What the files of docker/ run of ours."""
    for name, service in SERVICES.items():
        yield name, service.get("command", [])
    for name, pod in PODS.items():
        for box in pod["spec"]["containers"]:
            yield name, box.get("command", [])
    for name, document in MANIFESTS.items():
        yield name, document.get("spec", {}).get("entrypoint", "").split()
    yield "Dockerfile", yaml.safe_load(next(value for name, value in instructions() if name == "CMD"))
    launched = re.search(r"exec (dicestudy launch .*?)'", (DOCKER / "slurm.sbatch").read_text())
    yield "slurm.sbatch", launched[1].split()


@pytest.mark.parametrize(("name", "words"), [(name, words) for name, words in commands() if "dicestudy" in words])
def test_every_command_of_ours_is_one(name, words):
    command = main.commands[words[1]]
    options = {name for parameter in command.params for name in parameter.opts}
    assert all(word.split("=")[0] in options for word in words[2:] if word.startswith("--")), name


def test_the_slurm_script_is_one_that_bash_reads():
    script = DOCKER / "slurm.sbatch"
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = script.read_text()
    directives = re.findall(r"^#SBATCH (--[a-z-]+)", text, re.MULTILINE)
    # Slurm reads them before the first command only.
    first = next(i for i, line in enumerate(text.splitlines()) if line and not line.startswith("#"))
    assert len(directives) == sum(line.startswith("#SBATCH") for line in text.splitlines()[:first])
    assert {"--nodes", "--ntasks-per-node", "--signal", "--time"} <= set(directives)
    assert "set -euo pipefail" in text
