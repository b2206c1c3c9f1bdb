"""The files for clusters: manifests name real settings, jobs run with stand-ins, images copy what exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from src_core.config import load_config
from src_core.server_url import addresses
from src_infer.config import InferConfig
from src_retrieval.server import ServerConfig

ROOT = Path(__file__).resolve().parent.parent
MANIFESTS = sorted((ROOT / "deploy/kubernetes").glob("*.yaml"))
IMAGES = sorted((ROOT / "deploy/containers").glob("*.Dockerfile"))
JOBS = sorted((ROOT / "deploy/slurm").glob("*.sh"))


def documents() -> list[dict[str, Any]]:
    return [each for path in MANIFESTS for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def container(name: str) -> dict[str, Any]:
    """The container of a workload."""
    (found,) = [
        each for each in documents() if each["metadata"]["name"] == name and each["kind"] != "Service"
    ]
    (only,) = found["spec"]["template"]["spec"]["containers"]
    return dict(only)


def test_there_are_files() -> None:
    assert [path.stem for path in MANIFESTS] == ["llm", "retriever", "runner"]
    assert [path.stem for path in IMAGES] == ["gpu", "laptop"]
    assert [path.stem for path in JOBS] == ["array", "nodes"]


def test_the_runner_asks_the_servers_that_the_other_manifests_start() -> None:
    config = load_config(InferConfig, ROOT / "configs/infer/gpu.yaml", container("infer")["args"])
    services = {each["metadata"]["name"]: each["spec"] for each in documents() if each["kind"] == "Service"}
    sets = {each["metadata"]["name"]: each["spec"] for each in documents() if each["kind"] == "StatefulSet"}
    for name, urls, end in (("llm", config.agent.url, "/v1"), ("retriever", config.retriever, "")):
        port = services[name]["ports"][0]["port"]
        count = sets[name]["replicas"]
        assert addresses(urls) == tuple(f"http://{name}-{n}.{name}:{port}{end}" for n in range(count))
        assert sets[name]["serviceName"] == name
        assert services[name]["clusterIP"] == "None"
        assert services[name]["selector"] == sets[name]["selector"]["matchLabels"]
        assert sets[name]["template"]["metadata"]["labels"] == services[name]["selector"]
        assert container(name)["ports"][0]["containerPort"] == port
    assert config.reader.url == config.agent.url


def test_the_retriever_takes_the_settings_of_its_manifest() -> None:
    its = container("retriever")
    given = [
        argument.replace("$(POD_IP)", "10.0.0.7").replace("$(POD_NAME)", "retriever-0")
        for argument in its["args"]
    ]
    config = load_config(ServerConfig, ROOT / its["command"][-1], given)
    assert (config.host, config.port) == ("10.0.0.7", 9892)
    assert "retriever-0.retriever" in config.serving.hosts


def test_workloads_have_the_token_from_a_secret_and_no_rights() -> None:
    for each in documents():
        if each["kind"] == "Service":
            continue
        pod = each["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for its in pod["containers"]:
            assert its["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            tokens = [value for value in its["env"] if value["name"] in ("REARAG_TOKEN", "VLLM_API_KEY")]
            assert tokens
            assert all("secretKeyRef" in value["valueFrom"] for value in tokens)
            assert {mount["name"] for mount in its["volumeMounts"]} == {
                each["name"] for each in pod["volumes"]
            }


def test_manifests_keep_to_the_schemas_of_kubernetes() -> None:
    import kubernetes_validate  # not in the environments of training and Ray, which collect this file

    for document in documents():
        kubernetes_validate.validate(document, "1.32", strict=True)


def test_images_are_linted() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    subprocess.run([linter, *map(str, IMAGES)], check=True)


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_images_copy_what_is_there_and_run_without_root(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for line in re.findall(r"^COPY --chown=app:app (.+)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["1000"]
    assert re.search(r"^FROM \S+:[\w.-]+$", text, re.MULTILINE)
    assert not re.search(r"TOKEN|API_KEY|PASSWORD", text)


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_jobs_are_bash_and_refuse_to_run_outside_slurm(path: Path) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)
    done = subprocess.run(
        ["bash", str(path)], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "submit this with sbatch" in done.stderr


def stand_ins(folder: Path) -> dict[str, str]:
    """A checkout whose scripts only say how they were called, and commands of Slurm that run here."""
    made = {
        "deploy/deploy.sh": 'mkdir -p "$STATE_DIR"; echo "deploy $REARAG_HOST ${#REARAG_TOKEN}" >> "$SAID"',
        "deploy/deploy_rag_engine.sh": 'mkdir -p "$STATE_DIR"; echo "engine $* $RETRIEVER_HOST" >> "$SAID"',
        "deploy/stop.sh": 'echo "stop $STATE_DIR" >> "$SAID"',
        "scripts/evaluate.sh": 'echo "evaluate $* $REARAG_PORT" >> "$SAID"',
        "infer.sh": 'printf "infer %s\\n" "$*" >> "$SAID"',
        "bin/scontrol": "printf 'n1\\nn2\\n'",
        "bin/srun": 'while [[ $1 == --* ]]; do shift; done; exec "$@"',
        "bin/curl": 'grep -q "$([[ $4 == *9892* ]] && echo engine || echo deploy)" "$SAID"',
        "bin/sleep": "[[ $1 == infinity ]] && exec /bin/sleep 600; exec /bin/sleep 0.05",
    }
    for name, body in made.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/usr/bin/env bash\n{body}\n", encoding="utf-8")
        file.chmod(0o755)
    (folder / "said").touch()
    return {
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        "SAID": str(folder / "said"),
        "SLURM_SUBMIT_DIR": str(folder),
        "SLURM_JOB_ID": "77",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "HOSTNAME": "here",
    }


def test_a_job_of_nodes_starts_a_server_on_each_and_one_run_against_all(tmp_path: Path) -> None:
    environment = stand_ins(tmp_path)
    command = ["bash", str(ROOT / "deploy/slurm/nodes.sh"), "N_QUESTIONS=-1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = (tmp_path / "said").read_text().splitlines()
    assert {"deploy n1 48", "deploy n2 48", "engine retriever n1"} <= set(said)
    assert said[-1] == (
        "infer N_QUESTIONS=-1 agent.url=http://n1:9891/v1,http://n2:9891/v1 "
        "reader.url=http://n1:9891/v1,http://n2:9891/v1 retriever=http://n1:9892 in_flight=128"
    )


def test_a_task_of_an_array_runs_its_method_and_stops_its_servers(tmp_path: Path) -> None:
    environment = stand_ins(tmp_path) | {
        "SLURM_ARRAY_TASK_ID": "1",
        "SLURM_ARRAY_JOB_ID": "88",
        "METHODS": "rearag ircot",
    }
    command = ["bash", str(ROOT / "deploy/slurm/array.sh"), "configs/eval/real.yaml", "name=x", "top_k=5"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = (tmp_path / "said").read_text().splitlines()
    assert said[-2].startswith("evaluate configs/eval/real.yaml top_k=5 methods=[ircot] name=x-ircot 2")
    assert said[-1] == "stop deploy/state/88-1"
    environment["SLURM_ARRAY_TASK_ID"] = "2"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "task 2 has no method" in done.stderr) == (2, True)
