"""A new user's first hour: the commands of README and docs parse, name what is there, and (slow) run as
printed in a fresh clone.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from helpers_documents import write_docx, write_pdf
from helpers_own_servers import SHAPES, serving

ROOT = Path(__file__).resolve().parent.parent
READ = ("your_method", "serving", "retrieval", "data", "training", "evaluation")
PAGES = [ROOT / "README.md", *(ROOT / f"docs/{name}.md" for name in READ)]
KNOWN_KNOBS = frozenset(
    knob
    for path in [*ROOT.glob("*.sh"), *ROOT.glob("scripts/**/*.sh"), *ROOT.glob("deploy/*.sh")]
    for knob in re.findall(r"\$\{([A-Z_]+):[-=]", path.read_text(encoding="utf-8"))
)
FOREIGN_KNOBS = {
    *("ES_JAVA_OPTS", "POSTGRES_PASSWORD", "PGHOST", "PGUSER", "PGPASSWORD"),
    *("BRAVE_API_KEY", "SERPER_API_KEY", "TAVILY_API_KEY"),
}
"""Environment variables of programs that are not ours."""
_SCRIPT = re.compile(r"[\w./-]+\.sh\b|\b(?:configs|data|src_\w+)/[\w./-]+\.(?:yaml|jsonl|py)\b")
_KNOB = re.compile(r"^([A-Z][A-Z_]+)=")


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """Each command of the page's bash blocks, without comments; continued lines are joined."""
    lines = "".join(blocks(page)).replace("\\\n", " ").splitlines()
    return [command for line in lines if (command := re.sub(r"(^|\s+)#\s.*$", "", line).strip())]


ALL = [(page, command) for page in PAGES for command in commands(page)]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_the_bash_blocks_parse(page: Path) -> None:
    for block in blocks(page):
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("page", "command"), ALL, ids=lambda value: str(value)[-60:])
def test_a_printed_command_names_files_and_knobs_that_there_are(page: Path, command: str) -> None:
    for name in _SCRIPT.findall(command):
        assert (ROOT / name).is_file() or name.startswith("data/mine/"), name
    for word in shlex.split(command):
        if knob := _KNOB.match(word):
            assert knob[1] in KNOWN_KNOBS | FOREIGN_KNOBS, knob[1]
    for module in re.findall(r"-m (src_[\w.]+)", command):
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), module


class Clone:
    """A fresh clone with a person's own files beside it, and ports that nobody uses."""

    def __init__(self, folder: Path) -> None:
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
        self.folder = folder
        names = ("REARAG_PORT", "RETRIEVER_PORT", "DEMO_PORT")
        ports = dict(zip(names, map(str, free_ports(len(names))), strict=True))
        self.demo_port = ports["DEMO_PORT"]
        weights = os.environ.get("REARAG_CACHE", str(ROOT / ".cache/models"))  # fetched once for all clones
        knobs = {"N_QUESTIONS": "1", "N_SAMPLES": "2", "REARAG_CACHE": weights, "COLUMNS": "160"}
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        network = {
            name: value
            for name, value in os.environ.items()
            if name.lower().startswith(("pip_", "http", "ssl"))
        }
        self.environment = {**kept, **network, **ports, **knobs}

    def run(self, command: str, **more: str) -> str:
        """What the command prints, which ends well."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env={**self.environment, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=3600,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


def free_ports(count: int) -> list[int]:
    """Distinct ports: all are held before the first is given back."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def printed(page: str, part: str) -> str:
    """The one command of the page that holds `part`."""
    (found,) = [command for at, command in ALL if at.name == page and part in command]
    return found


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    made = Clone(tmp_path_factory.mktemp("newcomer") / "clone")
    (made.folder / "my.jsonl").write_text('{"question": "Who wrote Emma?", "answer": "Jane Austen"}\n')
    documents = made.folder / "my_folder"
    documents.mkdir()
    (documents / "pump.md").write_text("# Pump\n\nThe pump stops at 60 degrees.\n")
    (documents / "note.txt").write_text("The valve is in room 4.\n")
    (documents / "page.html").write_text("<h1>Mayor</h1><p>The mayor is Dr. Quist.</p>")
    write_docx(documents / "report.docx", [("1", "Water"), ("", "The flow is 30 litres.")])
    write_pdf(documents / "manual.pdf", [["First page."], ["The fuse is red."]])
    for name, page in (("rewrite.py", "README.md"), ("my_method.py", "docs/your_method.md")):
        text = (ROOT / page).read_text(encoding="utf-8")
        (made.folder / name).write_text(
            re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[0]
        )
    yield made
    made.run("bash deploy/stop.sh")


@pytest.mark.slow
def test_the_quick_start_runs_as_printed(clone: Clone) -> None:
    first = clone.run("bash infer.sh")
    assert "1/1 questions" in first
    assert all(
        word in first for word in ("question", "answer", "gold", "EM", "gold recall", "written: runs/")
    )
    clone.run(re.findall(r"as one page: (.*)", first)[0])
    assert list(clone.folder.glob("runs/*/report.html"))
    asked = clone.run(printed("README.md", "librettist"))
    assert "Thought 1: " in asked
    assert "Answer: " in asked
    assert "Who wrote Emma?" in clone.run(printed("README.md", "questions=my.jsonl"))


@pytest.mark.slow
def test_construction_evaluation_and_live_page_run_as_printed(clone: Clone) -> None:
    with serving(SHAPES[2]) as (url, _):
        own = {"BASE_URL": url, "MODEL_NAME": SHAPES[2].model}
        made = clone.run(printed("README.md", "bash data_construct.sh"), **own)
        assert "2/2 chains" in made
        clone.run(re.findall(r"to read them: (.*)", made)[0])
        table = clone.run(printed("README.md", "evaluate.sh configs/eval/smoke.yaml"), **own)
        assert "too few" in table
        assert (clone.folder / "runs/eval-smoke/index.html").is_file()
        clone.run(printed("README.md", "deploy_demo.sh"), **own)
        page = f"http://127.0.0.1:{clone.demo_port}/"
        with urllib.request.urlopen(page, timeout=20) as reply:
            assert b"<title>ReaRAG lab</title>" in reply.read()
        assert "demo stopped" in clone.run("bash deploy/stop.sh")


@pytest.mark.slow
def test_own_server_documents_and_methods_run_as_printed(clone: Clone) -> None:
    with serving(SHAPES[0]) as (url, _):
        command = printed("README.md", "MODEL_NAME=qwen3:8b").replace("http://127.0.0.1:11434/v1", url)
        assert "constrained by a json schema" in clone.run(command)
    with serving(SHAPES[-1]) as (url, _):
        command = printed("README.md", "gpt-5-mini").replace("https://api.openai.com/v1", url)
        assert "max_completion_tokens in place of max_tokens" in clone.run(
            command.replace("API_KEY=…", "API_KEY=s3cr3t-key")
        )
    with serving(SHAPES[2]) as (url, _):
        own = {"BASE_URL": url, "MODEL_NAME": SHAPES[2].model}
        assert "5 documents" in clone.run(printed("README.md", "CORPUS=my_folder"), **own)
        clone.run("METHOD=rewrite.py bash infer.sh", **own)
        for at, command in ALL:
            if (
                at.name == "your_method.md"
            ):  # under a name of its own: another server made the runs of `smoke`
                clone.run(f"{command} name=mine" if "evaluate.sh" in command else command, **own)
        assert "mine" in (clone.folder / "runs/eval-mine/table.md").read_text()
