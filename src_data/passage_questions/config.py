"""The settings of question making."""

from __future__ import annotations

from src_core.config import Count, Positive, Seed, config_class
from src_tasks.readers.sources import SourceSetting


@config_class
class Counts:
    """The largest number of questions of each kind. `asked_N` are those of N hops whose last fact a model
    asked for (`asking`); the other kinds have facts of patterns only.
    """

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
    asked_1: Count = 500
    asked_2: Count = 1000
    asked_3: Count = 300


@config_class
class CorpusConfig:
    """`corpus` is JSONL with `id` and `contents` (or `title` and `text`). Of `evaluation_files` no question
    is made whose passages support one of their questions, and none that gives one away; `excluded_corpora`
    are corpora of which no title may occur. `unique_names`: no two things of the corpus have the same name,
    as in an invented world (`src_data.fictional_corpus`); in any other one a name counts as a passage's
    subject only where more speaks for it.
    """

    corpus: str
    evaluation_files: tuple[SourceSetting, ...] = ()
    excluded_corpora: tuple[str, ...] = ("data/sample_world/corpus.jsonl",)
    unique_names: bool = False
    seed: Seed = 1


@config_class
class QuestionsConfig(CorpusConfig):
    """`out` is the question file. `per_path` bounds the questions of one chain of relations, `per_entity`
    those that use one passage. A sub-question's answer must stand in the `passage_chars` characters of its
    passage that a model is shown. `asked` is a file of facts that a model asked for (`asking`), "" for
    none. With `later_first` questions whose last answer stands behind the first sentence of its passage come
    before the others, of which patterns find far more.
    """

    out: str = "data/passage_questions.jsonl"
    asked: str = ""
    later_first: bool = True
    counts: Counts = Counts()
    per_path: Positive = 60
    per_entity: Positive = 3
    passage_chars: Positive = 300
    overwrite: bool = False
