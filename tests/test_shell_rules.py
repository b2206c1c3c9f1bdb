"""Rules for every shell script of the repository."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (".", "deploy", "scripts", "scripts/bench", "tests/shell")
SCRIPTS = [*sorted(path for room in ROOMS for path in (ROOT / room).glob("*.sh")), ROOT / ".ci/run"]


def test_there_are_scripts() -> None:
    names = {str(path.relative_to(ROOT)) for path in SCRIPTS}
    assert {"infer.sh", ".ci/run", "deploy/deploy.sh", "scripts/test.sh", "scripts/setup.sh"} <= names


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_script(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 80
    assert "0.0.0.0" not in text
    assert not re.search(r"\bpkill\b|\bkillall\b", text), "stop by recorded PID only"
    if text.startswith("#!"):
        assert text.startswith("#!/usr/bin/env bash\n# ")
        assert "\nset -Eeuo pipefail\n" in text
        assert path.stat().st_mode & 0o111, "not executable"
    else:
        assert text.startswith("# shellcheck shell=bash")
    subprocess.run(["bash", "-n", str(path)], check=True)


KNOWN = {"PATH": "/usr/bin:/bin", "HOME": "/"}
RUN_BY_PEOPLE = [
    path for path in SCRIPTS if path.read_text(encoding="utf-8").startswith("#!") and path.name != "run"
]
RUN_BY_PEOPLE = [path for path in RUN_BY_PEOPLE if "tests" not in path.parts]


@pytest.mark.parametrize("path", RUN_BY_PEOPLE, ids=lambda path: str(path.relative_to(ROOT)))
def test_help_is_the_head_of_the_script_at_once(path: Path) -> None:
    done = subprocess.run(["bash", str(path), "--help"], capture_output=True, text=True, timeout=20, cwd="/")
    head = path.read_text(encoding="utf-8").splitlines()[1].removeprefix("# ")
    assert (done.returncode, done.stdout.splitlines()[0], done.stderr) == (0, head, "")
    assert "BASH_VERSION" not in done.stdout


@pytest.mark.parametrize("name", ["array", "nodes"])
def test_a_job_script_has_its_help_too(name: str, tmp_path: Path) -> None:
    command = ["bash", str(ROOT / f"deploy/slurm/{name}.sh"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"sbatch deploy/slurm/{name}.sh" in done.stdout
    assert "SBATCH" not in done.stdout


@pytest.mark.parametrize("name", ["radio", "systems", "local", "lib", "servers"])
def test_a_file_of_functions_that_is_run_says_what_it_is(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "deploy"
    copy.symlink_to(ROOT / "deploy")
    command = ["bash", f"deploy/{name}.sh", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=tmp_path, env=KNOWN)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ourced" in done.stdout
    assert list(tmp_path.iterdir()) == [copy]


def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    for name in ("../x", "-x", "a b", "a,b"):
        env = {**KNOWN, "NAME": name, "RUNS_DIR": str(tmp_path / "runs"), "VENV": str(tmp_path / "v")}
        command = ["bash", str(ROOT / "scripts/deeprag.sh"), "eval"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, env=env, cwd=tmp_path)
        assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (2, "", [])
        assert done.stderr.startswith(f"error: NAME is '{name}', which cannot begin the names of the runs'")


@pytest.mark.parametrize("path", RUN_BY_PEOPLE, ids=lambda path: str(path.relative_to(ROOT)))
def test_another_shell_is_told_to_use_bash(path: Path) -> None:
    done = subprocess.run(["sh", str(path)], capture_output=True, text=True, timeout=20)
    if "BASH_VERSION" in subprocess.run(["sh", "-c", "set"], capture_output=True, text=True).stdout:
        return  # here sh is bash
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: this script needs bash; run: bash {path}\n"


def test_nearly_is_one_edit_or_two_neighbours_swapped() -> None:
    near = {"N_QUESTION": "N_QUESTIONS", "METHODE": "METHOD", "MODELLS": "MODELS", "PROFIL": "PROFILE"}
    near |= {"QUESTIONX": "QUESTION", "CORPSU": "CORPUS", "XCORPUS": "CORPUS", "ORPUS": "CORPUS"}
    far = ["PRFOLIE", "PYTHONPATH", "HOSTNAME", "LANG", "SLURM_NODELIST", "CUDA_VISIBLE_DEVICES", "LOGNAME"]
    code = 'source deploy/say.sh; for name; do nearest_knob "$name"; echo "$NEAREST"; done'
    done = subprocess.run(["bash", "-c", code, "-", *near, *far], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines() == [*near.values(), *([""] * len(far))]


@pytest.mark.parametrize("path", RUN_BY_PEOPLE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_misspelt_knob_is_refused_before_any_work(path: Path) -> None:
    command = ["bash", str(path), "x"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**KNOWN, "N_QUESTION": "3"}, cwd="/", timeout=20
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: N_QUESTION is set, but no knob has this name; did you mean N_QUESTIONS? "
        "(if not: unset N_QUESTION)\n"
    )


@pytest.mark.parametrize("wrapper", ["timeout 20", "nice", "env X=1", "bash -c '\"$@\"; exit $?' -"])
def test_a_misspelt_knob_is_refused_under_a_wrapper_too(wrapper: str) -> None:
    code = f"METHDO=x {wrapper} bash deploy/status.sh; exit $?"
    command = ["setsid", "--wait", "bash", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=KNOWN, cwd=ROOT, timeout=20)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: METHDO is set, but no knob has this name; did you mean METHOD?")


def test_a_setting_in_capital_letters_is_named_as_a_setting(tmp_path: Path) -> None:
    said = "did you mean QUESTION or the setting questions=… in small letters"
    for env, arguments in (({"QUESTIONS": "my.jsonl"}, []), ({}, ["QUESTIONS=my.jsonl"])):
        command = ["bash", "infer.sh", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env={**KNOWN, **env}, cwd=ROOT)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr


WITHOUT_OPTIONS = [
    "infer.sh",
    "data_construct.sh",
    "scripts/evaluate.sh",
    "scripts/setup.sh",
    "scripts/train.sh",
]
WITHOUT_OPTIONS += [f"scripts/{name}.sh" for name in ("construct_ray", "build_index", "make_corpus")]
WITHOUT_OPTIONS += [f"scripts/{name}.sh" for name in ("record_default", "train_small")]
WITHOUT_OPTIONS += [f"deploy/{name}.sh" for name in ("deploy", "deploy_async", "deploy_rag_engine", "status")]


@pytest.mark.parametrize("script", WITHOUT_OPTIONS)
def test_an_unknown_option_is_refused_before_any_work(script: str, tmp_path: Path) -> None:
    nothing = {"VENV": f"{tmp_path}/v", "VENV_TRAIN": f"{tmp_path}/t", "PYTHON": "/bin/false"}
    command = ["bash", str(ROOT / script), "--hlp"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**KNOWN, **nothing}, cwd=tmp_path, timeout=20
    )
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert "has no option --hlp; bash " in done.stderr
    assert done.stderr.endswith("--help says how it is called\n")


@pytest.mark.parametrize(
    ("name", "knob", "command"),
    [
        ("N_QUESTION", "N_QUESTIONS", "bash deploy/status.sh; exit $?"),  # the session had it from the start
        ("MODELS", "MODEL", "exec bash deploy/status.sh"),  # a knob of another script
        ("LOGDIR", "LOG_DIR", "exec bash deploy/status.sh"),
    ],
)
def test_what_others_set_is_a_note(name: str, knob: str, command: str, tmp_path: Path) -> None:
    env = {**KNOWN, name: "a\nb", "STATE_DIR": str(tmp_path)}
    session = ["setsid", "--wait", "bash", "-c", command]
    done = subprocess.run(session, capture_output=True, text=True, env=env, cwd=ROOT)
    assert done.returncode == 0
    assert done.stdout.startswith("server ")
    words = f"note: {name} is set, but no knob of this script has this name; did you mean {knob}?\n"
    assert done.stderr == words


def test_a_script_that_another_calls_does_not_check_again(tmp_path: Path) -> None:
    code = "source deploy/say.sh; check_knobs infer.sh; export N_QUESTION=3; bash deploy/status.sh"
    env = {**KNOWN, "STATE_DIR": str(tmp_path)}
    done = subprocess.run(["bash", "-euc", code], capture_output=True, text=True, env=env, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
