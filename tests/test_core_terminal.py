"""Foreign text in the terminal: control characters, markup and overrides are shown, never obeyed."""

from __future__ import annotations

import ast
import io
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from src_core.console import Terminal, as_cell
from src_core.errors import UserError, run_main
from src_core.progress import StepProgress
from src_core.terminal import CommandLine, log_to_stderr, one_line, plain
from src_core.types import Passage, Question, Search, Status, Step, Trajectory
from src_infer.show import save_svg

ROOT = Path(__file__).resolve().parent.parent
HOSTILE = (
    "\x1b]52;c;cHdu\x1b\\",  # writes the clipboard
    "\x1b[2J\x1b[31mred",
    "a\rb",
    "\x00\x07\x08\x0b\x0c\x0e\x7f",
    "\x9b31m\x85\x90",  # C1 controls
    "\u202egnp.exe\u202c \u2066x\u2069",
    "\udcff\ud800",
    "\u2028\u2029\U000e0041",
    "[/b] [link=http://x]y[/link] [red]z",
    ":smile:",
)
FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)


def harmless(text: str) -> bool:
    return FORBIDDEN.search(text) is None


@pytest.mark.parametrize("text", HOSTILE)
def test_plain_text_is_harmless_and_as_long_as_before(text: str) -> None:
    assert harmless(plain(text))
    assert len(plain(text)) == len(text)
    plain(text).encode()


def test_every_character_that_is_not_a_control_stays() -> None:
    for text in ("a\n\tb", "naïve 漢字 שלום सहयोग \u200d👩\u200d👧 \u00a0", "[b]"):
        assert plain(text) == text
    assert plain("a\r\nb") == "a\nb"
    assert one_line(" a\r\nb\tc ") == "a ⏎ b c"


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("terminal", [False, True])
def test_a_console_prints_text_only(text: str, terminal: bool) -> None:
    out = io.StringIO()
    console = Terminal(file=out, width=200, force_terminal=terminal, color_system=None)
    table = Table(text, title=text)
    table.add_column(as_cell(text))
    table.add_column(Text(text))
    table.add_row(text, as_cell(text), Text.assemble(("x", "bold"), (text, "red")))
    for thing in (text, Text(text), table):
        console.print(thing)
    console.rule(text)
    shown = out.getvalue()
    if terminal:
        shown = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert harmless(shown)
    if "[" in text and "]" in text:
        assert shown.count("[/b]" if "/b" in text else "]") >= 5


def test_columns_stay_straight() -> None:
    out = io.StringIO()
    table = Table("a", "b")
    for text in HOSTILE:
        table.add_row(as_cell(text), "end")
    Terminal(file=out, width=100).print(table)
    rows = [line for line in out.getvalue().splitlines() if "end" in line]
    assert len({line.index("end") for line in rows}) == 1


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("terminal", [False, True])
def test_a_progress_line_is_text(text: str, terminal: bool) -> None:
    out = io.StringIO()
    console = Terminal(file=out, width=200, force_terminal=terminal)
    with StepProgress(console, unit=f"of {text}", total=1) as progress:
        progress.update(1, note=text)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue()).replace("\r", "")
    assert harmless(shown)


def test_an_error_is_one_line_of_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise UserError("the server says \x1b[2J\r\nwritten: /etc \udcff")

    with pytest.raises(SystemExit):
        run_main(fail)
    assert capsys.readouterr().err == "error: the server says ␛[2J ⏎ written: /etc �\n"


def test_a_mistake_on_the_command_line_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        CommandLine(prog="x").parse_args(["--\x1b[31m"])
    assert "␛[31m; see" in capsys.readouterr().err


def test_a_log_line_cannot_forge_another(capsys: pytest.CaptureFixture[str]) -> None:
    root, kept = logging.getLogger(), logging.getLogger().handlers[:]
    root.handlers = []
    try:
        log_to_stderr()
        try:
            raise ValueError("\x1b[31m")
        except ValueError as error:
            logging.getLogger("x").error("a\n2026 INFO x: %s", "\x1b]0;t\x07", exc_info=error)
    finally:
        root.handlers = kept
    written = capsys.readouterr().err
    assert harmless(written)
    assert written.splitlines()[0].endswith("x: a ⏎ 2026 INFO x: ␛]0;t␇")


def test_an_output_in_another_encoding_gets_replacements() -> None:
    code = "from src_core.console import Terminal; from src_core.terminal import say\n"
    code += "Terminal().print('caf\\u00e9 \\u2026 \\udcff'); say('caf\\u00e9')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, env=environment)
    assert (done.returncode, done.stdout) == (0, b"caf? ? ?\n")


def test_a_script_reads_the_bytes_of_a_file_name() -> None:
    code = "import os; from src_core.terminal import answer; answer(os.fsdecode(b'/a\\xff\\x1b'))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT).stdout == b"/a\xff\x1b\n"
    )


def test_a_picture_holds_plain_text(tmp_path: Path) -> None:
    text = "".join(HOSTILE)
    step = Step(1, text, Search(text), observation=text, passages=(Passage(text, text, text),))
    row = Trajectory(Question("q", text, (text,)), (step,), text, Status.FINISHED)
    save_svg(row, tmp_path / "t.svg", title=text)
    assert harmless((tmp_path / "t.svg").read_text(encoding="utf-8"))


def test_shell_scripts_say_plain_text() -> None:
    text = "a\x1b[31m\u202e\x85\x07é漢\n\tb\u2067"
    done = subprocess.run(
        ["bash", "-c", 'source deploy/say.sh; say "$1"; die "$1"', "-", text], capture_output=True, cwd=ROOT
    )
    assert done.stdout.decode() == "a?[31m???é漢\n\tb?\n"
    assert done.stderr.decode() == "error: a?[31m???é漢\n\tb?\n"


# -- nothing else writes to the terminal ---------------------------------------------------------------------

WRITERS = {"src_core/terminal.py", "src_core/console.py"}
MODULES = sorted(path for path in ROOT.glob("src_*/**/*.py") if str(path.relative_to(ROOT)) not in WRITERS)
STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}
MAKERS = {"print", "input", "Console", "TextColumn", "get_console", "ArgumentParser", "StreamHandler"}
MARKUP = {"from_markup", "from_ansi", "render_markup", "basicConfig", "print_exception", "print_json"}


def trespasses(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in STREAMS and ast.unparse(node.value) == "sys":
            yield f"{node.lineno}: sys.{node.attr}"
        if isinstance(node, ast.ImportFrom) and node.module == "sys":
            yield f"{node.lineno}: from sys import"
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            plain_name = isinstance(node.func, ast.Name)
            if (name in MAKERS and (plain_name or name != "print")) or name in MARKUP:
                yield f"{node.lineno}: {name}("
            for keyword in node.keywords:
                if keyword.arg in {"markup", "emoji", "highlight"}:
                    yield f"{node.lineno}: {keyword.arg}="


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_module_writes_to_the_terminal(path: Path) -> None:
    found = [
        each
        for each in trespasses(ast.parse(path.read_text(encoding="utf-8")))
        if not (path.name == "faiss_index.py" and each.endswith("sys.stdout"))  # flushes it, writes nothing
    ]
    assert found == []


def test_the_check_sees_what_is_forbidden() -> None:
    for line in (
        "print(x)",
        "sys.stderr.write(x)",
        "Console()",
        "Text.from_markup(x)",
        "c.print(x, markup=True)",
    ):
        assert list(trespasses(ast.parse(line))), line


SHELL = [path for room in (".", "deploy", "scripts") for path in sorted((ROOT / room).glob("*.sh"))]


@pytest.mark.parametrize("path", SHELL, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_script_prints_a_variable_past_say(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        assert not re.match(r"\s*(die|say)\(\) \{ (?!plain)", line), line
        if "echo" in line:
            assert not re.search(r"\becho [^;|)]*\$(?!\?)", line), line


def ended(code: str, redirection: str) -> tuple[int, str]:
    """Exit status and standard error of a program of ours under a shell's redirection."""
    program = f"from src_core.errors import UserError, run_main\ndef main():\n    {code}\nrun_main(main)\n"
    command = ["bash", "-c", f'"$0" -c "$1" {redirection}', sys.executable, program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    return done.returncode, done.stderr


def test_an_output_on_a_full_disk_is_one_sentence() -> None:
    for code in ("print('x' * 100_000)", "import sys; sys.stdout.write('x'); sys.stdout.flush()"):
        status, said = ended(code, "> /dev/full")
        assert (status, said.count("\n")) == (2, 1)
        assert said.startswith("error: ") and "No space left on device; free some space" in said


@pytest.mark.parametrize("code", ["open('/etc/passwd/x', 'w')", "import os; os.mkdir('/etc')", "open('/')"])
def test_a_path_that_the_system_refuses_is_one_sentence(code: str) -> None:
    status, said = ended(code, "")
    assert (status, said.count("\n")) == (2, 1)
    assert "cannot be used: " in said


def test_other_errors_of_the_system_keep_their_traceback() -> None:
    assert "Traceback" in ended("import os; os.kill(2**22 + 1, 9)", "")[1]


@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&- <&-"])
def test_closed_streams_change_no_exit_status(closed: str) -> None:
    assert ended("raise UserError('no')", closed)[0] == 2
    assert ended("from src_core.terminal import answer; answer('yes')", closed)[0] == 0
