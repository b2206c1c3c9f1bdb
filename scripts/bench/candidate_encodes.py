"""The encodes that RADIO's score table needs: each distinct passage once, against every candidate of every
question as in the release (reference radio_flashrag.md, section 1.3), in one run.

    bash scripts/build_index.sh corpus=CORPUS.jsonl index_dir=/tmp/bm25 type=bm25
    python scripts/bench/candidate_encodes.py corpus=CORPUS.jsonl index=/tmp/bm25 'questions=[a.train.jsonl]'

Candidates come from the index; they are scored with `score_candidates` (the stage `scores`) and then question
by question with the same encoder. Both count the passages that they encode. The encoder `toy` costs nothing
and counts the same; `encoder=e5-small n=20` shows the seconds as well. The rationale is a fixed sentence.
"""

from __future__ import annotations

import sys
import time
from itertools import chain, islice, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src_core.config import build_config, config_class
from src_core.errors import run_main
from src_core.progress import Steps
from src_core.rankings import PassageFile, RankedPassage, Ranking
from src_core.types import Passage, Question
from src_data.radio.config import Query
from src_data.radio.rationales import Outcome, Rationale
from src_data.radio.scores import query_text, score_candidates
from src_infer.rag_engine import unique_passages
from src_retrieval.encoders.base import EncoderOptions
from src_retrieval.encoders.load import load_encoder
from src_retrieval.engine import EngineConfig, open_engine
from src_retrieval.scoring import ScorerSettings, Similarity
from src_tasks.readers.sources import read_questions

RATIONALE = "The record of that year names the place, and the place names the person."


@config_class
class Bench:
    """`n` questions, taken in turn from the files; `top_n` candidates of each."""

    corpus: str
    index: str
    questions: tuple[str, ...]
    n: int = 2000
    top_n: int = 50
    encoder: str = "toy"


def main() -> None:
    """Read the command line, search, encode both ways, print."""
    config = build_config(Bench, {}, sys.argv[1:], where="the command line")
    files = [read_questions(path) for path in config.questions]
    turns = (each for each in chain(*zip_longest(*files)) if each is not None)
    questions = list(islice(turns, config.n))
    candidates = candidates_of(config, questions)
    table = Table("way", "questions", "candidates", "encoded", "ratio", "seconds")
    total = sum(map(len, candidates))
    with TemporaryDirectory() as folder:
        begun = time.perf_counter()
        encoded = once(config, Path(folder), questions, candidates)
        seconds = time.perf_counter() - begun
    table.add_row("each distinct passage once", *cells(questions, total, encoded, seconds))
    begun = time.perf_counter()
    encoded = per_question(config, questions, candidates)
    table.add_row("per question", *cells(questions, total, encoded, time.perf_counter() - begun))
    Console().print(table)


def cells(questions: list[Question], total: int, encoded: int, seconds: float) -> list[str]:
    """The numbers of a row."""
    numbers = [f"{len(questions):,}", f"{total:,}", f"{encoded:,}"]
    return [*numbers, f"{total / encoded:.2f}", f"{seconds:.1f}"]


def candidates_of(config: Bench, questions: list[Question]) -> list[list[Passage]]:
    """The passages of each question, without a second one of the same text."""
    settings = EngineConfig(retrieval_method="", index_path=config.index, corpus_path=config.corpus)
    engine = open_engine(settings).engine
    found: list[list[Passage]] = []
    with Steps(Console(stderr=True))("questions searched", total=len(questions)) as progress:
        for question in questions:
            (rows,) = engine.search([question.question], [config.top_n])
            found.append(unique_passages([engine.corpus.passage(each.row) for each in rows]))
            progress.advance(1)
    return found


def once(config: Bench, folder: Path, questions: list[Question], candidates: list[list[Passage]]) -> int:
    """The stage `scores`. Returns the passages that were encoded."""
    passages = PassageFile(folder)
    for found in candidates:
        passages.add(found)
    passages.close()
    rankings = {
        question.id: Ranking(
            question.id,
            question.question,
            tuple(RankedPassage(each.id, {"retrieval": -rank}) for rank, each in enumerate(found)),
        )
        for question, found in zip(questions, candidates, strict=True)
    }
    rationales = {question.id: rationale(question) for question in questions}
    similarity = Similarity(ScorerSettings(encoder=config.encoder), folder)
    done = score_candidates(
        folder / "scores.jsonl",
        rankings,
        questions,
        rationales,
        similarity=similarity,
        query=Query.PUBLISHED,
        steps=Steps(Console(stderr=True)),
    )
    similarity.close()
    return done.encoded


def per_question(config: Bench, questions: list[Question], candidates: list[list[Passage]]) -> int:
    """One call for the query and one for the passages of each question, as in the release. Returns the
    passages that were encoded.
    """
    encoder = load_encoder(config.encoder, EncoderOptions(query_max_length=512))
    encoded = 0
    for question, found in zip(questions, candidates, strict=True):
        query = encoder.encode_queries([query_text(question, rationale(question), Query.PUBLISHED)])[0]
        vectors = encoder.encode_passages([passage.contents for passage in found])
        encoded += len(vectors)
        vectors @ query
    return encoded


def rationale(question: Question) -> Rationale:
    """A rationale of the length that models write."""
    return Rationale(question.id, "bench", "bench", Outcome.WRITTEN, RATIONALE)


if __name__ == "__main__":
    run_main(main)
