"""scripts/setup.sh: what it notices, and the sentence with which each trouble ends."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from helpers_wait import PATIENCE

ROOT = Path(__file__).resolve().parent.parent


class Setup:
    """`scripts/setup.sh` in a copy of the tree, with a fake interpreter whose `pip install` only notes that
    it ran.
    """

    def __init__(self, tmp: Path) -> None:
        self.tree, self.bin, self.notes = tmp / "tree", tmp / "bin", tmp / "notes"
        for script in (
            "scripts/setup.sh",
            "deploy/say.sh",
            "deploy/knobs.sh",
            "deploy/install.sh",
            "infer.sh",
        ):
            (self.tree / script).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / script).write_bytes((ROOT / script).read_bytes())
        (self.tree / "base.txt").write_text("one==1\n")
        (self.tree / "dev.txt").write_text("# comment\n-r base.txt\ntwo==2\n")
        self.bin.mkdir()
        self.interpreter("python3", works=True)

    def interpreter(self, name: str, *, works: bool, venv: bool = True) -> None:
        """A stub: `-c` says if it is new enough, `-m venv` copies itself, `-m pip` notes its arguments."""
        made = f'mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; exit {0 if venv else 1}'
        stub = self.bin / name
        stub.write_text(
            f'#!/bin/sh\ncase "$1 $2" in\n--version*) echo Python {"3.11.9" if works else "3.9.2"};;\n'
            f'-c*) exit {0 if works else 1};;\n"-m venv") {made};;\n'
            f'"-m pip") echo "$*" >> {self.notes};;\nesac\n'
        )
        stub.chmod(0o755)

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        for name in ("python3.13", "python3.12", "python3.11", "python"):
            if not (self.bin / name).exists():
                (self.bin / name).symlink_to("/bin/false")
        return subprocess.run(
            ["bash", str(self.tree / "scripts/setup.sh"), *arguments],
            env={"PATH": f"{self.bin}:{os.environ['PATH']}", "VENV": ".venv"} | env,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def installs(self) -> int:
        """How often `pip install` ran."""
        return self.notes.read_text().count("-m pip install") if self.notes.exists() else 0


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_the_second_run_does_nothing(setup: Setup) -> None:
    first = setup.run("dev.txt")
    assert first.returncode == 0, first.stderr
    assert "installing dev.txt into .venv (once)" in first.stdout
    second = setup.run("dev.txt")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert setup.installs() == 1


LINES = (
    "Collecting one==1",
    "  Downloading one-1-py3-none-any.whl (16.3 MB)",
    "Collecting two[extra]>=2",
    "  Using cached two-2-py3-none-any.whl (700 kB)",
)


def slow_pip(setup: Setup, *lines: str, seconds: float, status: int = 0) -> None:
    """From now on `pip install` prints these lines and takes its time."""
    setup.run("base.txt")
    (setup.tree / "base.txt").write_text("one==1\ntwo[extra]>=2\n")
    printed = "".join(f"echo '{line}'; " for line in lines)
    python = setup.tree / ".venv/bin/python"
    python.write_text(f'#!/bin/sh\ncase "$*" in *install*) {printed} sleep {seconds}; exit {status};; esac\n')


def test_what_will_be_installed_and_how_far_it_is_are_said(setup: Setup) -> None:
    slow_pip(setup, *LINES, seconds=2.5)
    done = setup.run("base.txt", PROGRESS_SECONDS="1")
    installs = "installing base.txt into .venv (once): 2 packages and what they need"
    first, last = done.stdout.splitlines()
    assert (done.returncode, first) == (0, f"{installs}, of a size that was not measured")
    assert re.fullmatch(r"installed base\.txt in \d+ s", last)
    said = done.stderr.splitlines()
    assert re.fullmatch(r"downloading: 17 MB so far, now two, \d+ s so far", said[0])
    assert len(said) <= 5
    assert "\r" not in done.stderr


def test_unpacking_is_said_too(setup: Setup) -> None:
    slow_pip(setup, *LINES, "Installing collected packages: one, two", seconds=1.6)
    done = setup.run("base.txt", PROGRESS_SECONDS="1")
    assert re.match(r"unpacking: \d+ MB in \.venv, \d+ s so far\n", done.stderr)


def test_on_a_terminal_one_line_is_rewritten(setup: Setup) -> None:
    slow_pip(setup, *LINES, seconds=1.5)
    ours, theirs = os.openpty()
    command = ["bash", str(setup.tree / "scripts/setup.sh"), "base.txt"]
    env = {"PATH": f"{setup.bin}:{os.environ['PATH']}", "VENV": ".venv"}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=theirs, timeout=PATIENCE)
    os.close(theirs)
    assert done.returncode == 0
    written = ""
    with suppress(OSError), os.fdopen(ours, "rb", buffering=0) as terminal:  # its end is an error on Linux
        while more := terminal.read(1000):
            written += more.decode()
    assert "downloading: 17 MB so far, now two" in written
    assert written.endswith("\r\x1b[K")
    assert "\n" not in written


def test_what_a_failing_pip_wrote_is_shown(setup: Setup) -> None:
    slow_pip(setup, *LINES, "ERROR: No space left \x1b[2J", seconds=0, status=1)
    failed = setup.run("base.txt")
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-2:] == [
        "ERROR: No space left ?[2J",
        "error: pip could not install base.txt; its last lines are above, all of them in "
        ".cache/base.txt.log; check the network and the disk, and run this again",
    ]
    wrong = setup.run("base.txt", PROGRESS_SECONDS="a[$(touch x)]")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


def test_the_size_of_every_environment_of_the_first_commands_is_known() -> None:
    code = 'source deploy/install.sh; for file; do size_of "$file"; echo; done'
    files = ["requirements-local.txt", "requirements-train.txt", "requirements-dev.txt", "requirements.txt"]
    done = subprocess.run(["bash", "-euc", code, "-", *files], capture_output=True, text=True, cwd=ROOT)
    *measured, node = done.stdout.splitlines()
    sizes = [re.match(r"about (\d+(?:\.\d)?) ([MG]B) on disk", line) for line in measured]
    assert all(sizes), measured
    local, train, dev = (float(size[1]) * (1000 if size[2] == "GB" else 1) for size in sizes if size)
    assert 100 < local < dev < train < 10_000
    assert node.startswith("many GB on disk")


@pytest.mark.parametrize("changed", ["dev.txt", "base.txt"])
def test_a_change_is_noticed_also_in_an_included_file(setup: Setup, changed: str) -> None:
    setup.run("dev.txt")
    file = setup.tree / changed
    file.write_text(file.read_text() + "three==3\n")
    assert setup.run("dev.txt").returncode == 0
    assert setup.installs() == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no requirements file is named"),
        (["nothing.txt"], "no such requirements file: nothing.txt"),
        (["broken.txt"], "no such requirements file: ./gone.txt"),
    ],
)
def test_a_missing_file_is_one_sentence(setup: Setup, arguments: list[str], words: str) -> None:
    (setup.tree / "broken.txt").write_text("-r gone.txt\n")
    result = setup.run(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {words}")
    assert result.stderr.count("\n") == 1


def test_an_old_python_is_one_sentence(setup: Setup) -> None:
    setup.interpreter("python3", works=False)
    result = setup.run("base.txt")
    assert result.returncode == 2
    assert result.stderr == (
        "error: Python 3.11 or newer is needed (python3: Python 3.9.2); install it, "
        "or name it with PYTHON=/path/to/python3.11\n"
    )
    named = setup.run("base.txt", PYTHON="/no/such/python")
    assert "none was found" in named.stderr
    assert named.stderr.count("\n") == 1


def test_an_environment_of_an_old_python_is_one_sentence(setup: Setup) -> None:
    setup.interpreter("python3", works=False)
    made = setup.tree / ".venv/bin"
    made.mkdir(parents=True)
    (made / "python").symlink_to(setup.bin / "python3")
    result = setup.run("base.txt")
    assert result.returncode == 2
    assert "remove that folder or choose another" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_failing_venv_names_the_package(setup: Setup) -> None:
    setup.interpreter("python3", works=True, venv=False)
    result = setup.run("base.txt")
    assert result.returncode == 2
    assert "apt install python3-venv" in result.stderr


def test_a_failing_install_leaves_no_stamp(setup: Setup) -> None:
    setup.run("base.txt")
    (setup.tree / "base.txt").write_text("one==2\n")
    python = setup.tree / ".venv/bin/python"
    python.write_text('#!/bin/sh\ncase "$*" in *install*) exit 1;; esac\n')
    failed = setup.run("base.txt")
    assert failed.returncode == 2
    assert "pip could not install base.txt" in failed.stderr
    assert not list((setup.tree / ".venv").glob("installed-*"))


def test_the_gpu_file_covers_the_light_one(setup: Setup) -> None:
    for name in ("requirements.txt", "requirements-local.txt"):
        (setup.tree / name).write_text("one==1\n")
    setup.run("requirements.txt")
    assert "uninstall" in setup.notes.read_text()  # faiss-cpu and faiss-gpu share one folder
    quiet = setup.run("requirements-local.txt")
    assert (quiet.returncode, quiet.stdout) == (0, "")


def test_the_gpu_file_holds_every_package_of_the_light_one() -> None:
    def names(file: str) -> set[str]:
        lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
        return {re.split("[<>=]", line)[0] for line in lines if line and line[0] not in "#-"}

    assert names("requirements-local.txt") - names("requirements.txt") == {"faiss-cpu"}
