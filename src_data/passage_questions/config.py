"""The settings of question making."""

from __future__ import annotations

from src_core.config import Count, Positive, Seed, config_class
from src_tasks.readers.sources import SourceSetting


@config_class
class Counts:
    """The largest number of questions of each kind."""

    single: Count = 500
    bridge_2: Count = 1500
    bridge_3: Count = 600
    described_1: Count = 200
    described_2: Count = 600
    described_3: Count = 200
    comparison: Count = 700
    yes_no: Count = 400
    unanswerable_1: Count = 250
    unanswerable_2: Count = 250


@config_class
class QuestionsConfig:
    """`corpus` is JSONL with `id` and `contents` (or `title` and `text`), `out` the question file. Of
    `evaluation_files` no question is made whose passages support one of their questions, and none that gives
    one away; `excluded_corpora` are corpora of which no title may occur. `per_path` bounds the questions of
    one chain of relations, `per_entity` those that use one passage. A sub-question's answer must stand in
    the `passage_chars` characters of its passage that a model is shown. `unique_names`: no two things of the
    corpus have the same name, as in an invented world (`src_data.fictional_corpus`); in any other one a name
    counts as a passage's subject only where more speaks for it.
    """

    corpus: str
    out: str = "data/passage_questions.jsonl"
    evaluation_files: tuple[SourceSetting, ...] = ()
    excluded_corpora: tuple[str, ...] = ("data/sample_world/corpus.jsonl",)
    counts: Counts = Counts()
    per_path: Positive = 60
    per_entity: Positive = 3
    passage_chars: Positive = 300
    unique_names: bool = False
    seed: Seed = 1
    overwrite: bool = False
