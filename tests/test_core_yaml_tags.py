"""Tags of YAML make nothing: each place that reads YAML refuses them in one sentence, and no code runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from src_core.config import load_config
from src_core.errors import UserError
from src_infer.config import InferConfig

TAGS = (
    "!!python/object/apply:os.system ['touch {}']",
    "!!python/object/apply:subprocess.check_output [['touch', '{}']]",
    "!!python/object/apply:builtins.eval [\"open('{}', 'w')\"]",
    "!!python/object/new:os.system ['touch {}']",
    "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{}']]",
    "!!python/object:subprocess.Popen {{args: ['touch', '{}']}}",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/tuple [1, 2]",
    "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch {}']",
    "!include {}",
    "&a [*a, !!python/object/apply:os.system ['touch {}']]",
)


@pytest.fixture(params=TAGS, ids=range(len(TAGS)))
def tagged(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A value with a tag that would make the file `hit`; the test fails if it is there in the end."""
    return str(request.param).format(tmp_path / "hit")


def test_a_file_of_settings_runs_nothing(tmp_path: Path, tagged: str) -> None:
    for text in (tagged, f"top_k: {tagged}\n", f"agent:\n  url: {tagged}\n"):
        (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match="not valid YAML") as refused:
            load_config(InferConfig, tmp_path / "c.yaml")
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "hit").exists()


def test_a_setting_on_the_command_line_runs_nothing(tmp_path: Path, tagged: str) -> None:
    for key in ("top_k", "agent", "limits.t_max", "agent_sampling.temperature", "method_settings.x"):
        with pytest.raises(UserError):
            load_config(InferConfig, None, [f"{key}={tagged}"])
    assert not (tmp_path / "hit").exists()
