"""Invented rows in the layouts of published question sets, and how the tests write and read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from src_tasks.readers.rows import SourceRow
from src_tasks.readers.sources import BadRow, OnBadRow, SourceConfig, read_source

Row = dict[str, Any]

HOTPOTQA: Row = {
    "_id": "h1",
    "question": "In which county lies the mill that Orla Venn painted?",
    "answer": "Marrow County",
    "type": "bridge",
    "level": "medium",
    "supporting_facts": [["Orla Venn", 1], ["Quill Mill", 0]],
    "context": [
        ["Quill Mill", ["Quill Mill is a watermill in Marrow County.", " It burnt down in 1881."]],
        ["Tarn Hall", ["Tarn Hall is a manor."]],
        ["Orla Venn", ["Orla Venn was a painter.", " She is known for a picture of Quill Mill."]],
    ],
}
HOTPOTQA_HUB: Row = {
    **{key: value for key, value in HOTPOTQA.items() if key != "_id"},
    "id": "h1",
    "supporting_facts": {"title": ["Orla Venn", "Quill Mill"], "sent_id": [1, 0]},
    "context": {
        "title": [title for title, _ in HOTPOTQA["context"]],
        "sentences": [sentences for _, sentences in HOTPOTQA["context"]],
    },
}
MUSIQUE: Row = {
    "id": "2hop__11_22",
    "question": "Who founded the town where Ivo Lint was born?",
    "answer": "Hanne Brook",
    "answer_aliases": ["H. Brook", "Hanne Brook"],
    "answerable": True,
    "paragraphs": [
        {"idx": 0, "title": "Gleam Town", "paragraph_text": "Founded by Hanne Brook.", "is_supporting": True},
        {"idx": 1, "title": "Other", "paragraph_text": "Nothing of use.", "is_supporting": False},
        {"idx": 2, "title": "Ivo Lint", "paragraph_text": "Born in Gleam Town.", "is_supporting": True},
    ],
    "question_decomposition": [
        {
            "id": 11,
            "question": "Ivo Lint >> place of birth",
            "answer": "Gleam Town",
            "paragraph_support_idx": 2,
        },
        {"id": 22, "question": "Who founded #1 ?", "answer": "Hanne Brook", "paragraph_support_idx": 0},
    ],
}
TWOWIKI: Row = {
    **HOTPOTQA,
    "_id": "w1",
    "type": "compositional",
    "answer_id": "Q77",
    "evidences": [["Orla Venn", "painted", "Quill Mill"], ["Quill Mill", "located in", "Marrow County"]],
    "entity_ids": "Q1_Q2",
}
IIRC: Row = {
    "pid": "p_1",
    "title": "Sable Ferry",
    "text": "Sable Ferry crossed the Lune. It was run by the Dorn family.",
    "links": [{"target": "Dorn family", "indices": [45, 56]}],
    "questions": [
        {
            "qid": "q_0",
            "question": "Who was the eldest of the family that ran the ferry?",
            "context": [
                {"passage": "main", "text": "It was run by the Dorn family.", "indices": [30, 60]},
                {"passage": "Dorn family", "text": "Ansel Dorn was the eldest.", "indices": [0, 26]},
            ],
            "answer": {
                "type": "span",
                "answer_spans": [{"text": "Ansel Dorn", "passage": "dorn family", "type": "answer"}],
            },
            "question_links": ["Dorn family"],
        },
        {
            "qid": "q_1",
            "question": "How many years did the ferry run?",
            "context": [{"passage": "main", "text": "Sable Ferry crossed the Lune.", "indices": [0, 29]}],
            "answer": {"type": "value", "answer_value": "40", "answer_unit": "years"},
            "question_links": [],
        },
        {
            "qid": "q_2",
            "question": "Was the ferry painted green?",
            "context": [],
            "answer": {"type": "none"},
            "question_links": [],
        },
    ],
}
TRIVIAQA: Row = {
    "Question": "Which bird is on the flag of Oost?",
    "QuestionId": "tc_9",
    "QuestionSource": "http://example.org",
    "Answer": {
        "Value": "Grey Heron",
        "Aliases": ["Grey Heron", "Gray heron", "Ardea cinerea"],
        "NormalizedAliases": ["grey heron"],
        "HumanAnswers": ["a heron"],
        "Type": "WikipediaEntity",
    },
    "EntityPages": [],
    "SearchResults": [],
}
TRIVIAQA_HUB: Row = {
    "question": "Which bird is on the flag of Oost?",
    "question_id": "tc_9",
    "question_source": "http://example.org",
    "answer": {"value": "Grey Heron", "aliases": ["Gray heron"], "normalized_aliases": [], "type": "Entity"},
    "entity_pages": {"title": []},
}
POPQA: Row = {
    "id": "77",
    "subj": "Mira Toll",
    "prop": "occupation",
    "obj": "glazier",
    "question": "What is Mira Toll's occupation?",
    "possible_answers": '["glazier", "window \\"fitter\\""]',
}
WEBQUESTIONS: Row = {
    "url": "http://example.org/view/en/mira_toll",
    "utterance": "what did mira toll make?",
    "targetValue": '(list (description "Glass \\"lamps\\"") (description Windows))',
}
CAG: Row = {
    "id": 3,
    "question": "Who is the mayor of Oost?",
    "q_date": "2023/11/17",
    "docs": [
        {"id": 0, "title": "", "text": "Ilse is mayor since 2022.", "date": "2023/11/16", "cred": "high"},
        {"id": 1, "title": "Oost", "text": "Orla Venn was elected mayor.", "date": None, "cred": "low"},
    ],
    "answers": ["Ilse", "Queen Ilse"],
}
SITUATEDQA: Row = {
    "question": "who is the mayor of oost",
    "id": -7924170207595297549,
    "edited_question": "who is the mayor of oost as of 2021",
    "date": "2021",
    "date_type": "sampled_year",
    "answer": ["Orla Venn", "Orla Venn"],
    "any_answer": ["Orla Venn", "Ilse"],
}
TIMEQA: Row = {
    "idx": "/wiki/Orla_Venn#P39#0",
    "question": "Which position did Orla Venn hold from 2018 to 2021?",
    "context": "Orla Venn was mayor of Oost from 2018 to 2021.",
    "targets": ["mayor of Oost", "mayor"],
}
FRESHQA: Row = {
    "id": "2",
    "split": "TEST",
    "question": "Who is the latest mayor of Oost?",
    "effective_year": "2022",
    "next_review": "weekly",
    "false_premise": "FALSE",
    "num_hops": "one-hop",
    "fact_type": "fast-changing",
    "source": "https://example.org",
    "answer_0": "Ilse",
    "answer_1": "Queen Ilse",
    "answer_2": "",
    "note": "",
}
STRATEGYQA: Row = {
    "qid": "s1",
    "term": "Otter",
    "description": "an animal",
    "question": "Could an otter read a map?",
    "answer": False,
    "facts": ["Otters cannot read.", "A map has to be read."],
    "decomposition": ["Can otters read?", "Is #1 needed for a map?"],
    "evidence": [
        [[["Otter-3", "Map - chart-1"]], ["operation"]],
        [[["Otter-3"], "no_evidence"], [["Reading-2"], "operation"]],
    ],
}
FRAMES: Row = {
    "": "0",
    "Prompt": "How much taller is Tarn Hall than Quill Mill?",
    "Answer": "12 metres",
    "wikipedia_link_1": "https://en.wikipedia.org/wiki/Tarn_Hall",
    "wikipedia_link_11+": "",
    "reasoning_types": "Numerical reasoning",
    "wiki_links": "['https://en.wikipedia.org/wiki/Tarn_Hall', 'https://en.wikipedia.org/wiki/Quill%C3%A9_Mill_(Oost)']",
}
FANOUTQA: Row = {
    "id": "f1",
    "question": "How old are the two mills of Marrow County?",
    "answer": {"Quill Mill": 140, "Low Mill": "90 years"},
    "categories": ["Buildings"],
    "decomposition": [
        {
            "id": "f1a",
            "question": "Which mills are in Marrow County?",
            "answer": ["Quill Mill", "Low Mill"],
            "depends_on": [],
            "evidence": {"pageid": 1, "revid": 2, "title": "Marrow County", "url": "https://example.org"},
            "decomposition": [],
        },
        {
            "id": "f1b",
            "question": "How old are they?",
            "answer": {"Quill Mill": 140},
            "depends_on": ["f1a"],
            "evidence": None,
            "decomposition": [
                {
                    "id": "f1c",
                    "question": "How old is Quill Mill?",
                    "answer": 140,
                    "depends_on": [],
                    "evidence": {
                        "pageid": 3,
                        "revid": 4,
                        "title": "Quill Mill",
                        "url": "https://example.org",
                    },
                    "decomposition": [],
                }
            ],
        },
    ],
}
PROJECT: Row = {
    "id": "x1",
    "dataset": "2wikimultihopqa",
    "split": "train",
    "source": "someone/something",
    "question": "Where was the painter of Quill Mill born?",
    "answers": ["Oost"],
    "supporting_titles": ["Orla Venn", '"Quill" Mill'],
    "gold_ids": ["p1", "p7"],
    "context_ids": ["p1", "p2", "p7"],
    "type": "compositional",
    "supporting_facts": [["Orla Venn", 0]],
    "evidences": [["Quill Mill", "painter", "Orla Venn"]],
    "decomposition": [
        {"question": "Who painted Quill Mill?", "answer": "The painter of Quill Mill is Orla Venn."},
        {"question": "Where was Orla Venn born?"},
    ],
}
SQUAD_HUB: Row = {
    "id": "56be",
    "title": "Oost",
    "context": "Queen Ilse ruled Oost.",
    "question": "Who ruled Oost?",
    "answers": {"text": ["Queen Ilse", "Ilse"], "answer_start": [0, 6]},
}
SQUAD_PARAGRAPH: Row = {
    "context": "Queen Ilse ruled Oost.",
    "qas": [
        {"id": "1", "question": "Who ruled Oost?", "answers": [{"text": "Ilse", "answer_start": 6}]},
        {"id": "2", "question": "Who built Oost?", "answers": [], "is_impossible": True},
    ],
}
ARC_HUB: Row = {
    "id": "c1",
    "question": "What burns?",
    "choices": {"text": ["iron", "peat", "slate"], "label": ["A", "B", "C"]},
    "answerKey": "B",
}
ARC_LIST = [{"text": "iron", "label": "1"}, {"text": "peat", "label": "2"}]
MMLU: Row = {"question": "What burns?", "A": "iron", "B": "peat", "C": "slate", "D": "lead", "answer": "B"}
ROWS: dict[str, list[Row]] = {
    "hotpotqa": [HOTPOTQA, HOTPOTQA_HUB],
    "musique": [MUSIQUE],
    "2wikimultihopqa": [TWOWIKI],
    "iirc": [IIRC],
    "triviaqa": [TRIVIAQA, TRIVIAQA_HUB],
    "popqa": [POPQA],
    "webquestions": [WEBQUESTIONS, {"url": "u", "question": "who made glass?", "answers": ["Mira Toll"]}],
    "cag": [CAG],
    "situatedqa": [SITUATEDQA],
    "timeqa": [TIMEQA, TIMEQA | {"targets": [""]}],
    "freshqa": [FRESHQA],
    "strategyqa": [STRATEGYQA],
    "frames": [FRAMES],
    "fanoutqa": [FANOUTQA],
    "nq": [{"question": "who runs sable ferry", "answer": ["Dorn family", "the Dorns"]}],
    "bamboogle": [{"Question": "Who ruled Oost when the mill burnt?", "Answer": "Queen Ilse"}],
    "flashrag": [{"id": "train_0", "question": "who ruled oost", "golden_answers": ["Ilse"], "metadata": {}}],
    "plain": [
        {"question": "Who ruled Oost?", "answer": "Ilse"},
        {"id": 4, "question": "When was that?", "answers": [1881, "the year 1881"]},
    ],
    "project": [PROJECT],
    "squad": [SQUAD_HUB, {"title": "Oost", "paragraphs": [SQUAD_PARAGRAPH]}],
    "arc": [
        ARC_HUB,
        {"id": "c2", "question": {"stem": "What burns?", "choices": ARC_LIST}, "answerKey": "2"},
    ],
    "mmlu": [MMLU],
    "multiple_choice": [
        {"question": "What is a heron?", "choices": ["a fish", "a bird"], "answer": 1},
        {"question": "What is an eel?", "choices": ["a fish", "a bird"], "answer": "A", "subject": "zoology"},
    ],
}


def written(folder: Path, rows: list[Any], name: str = "rows.jsonl") -> str:
    path = folder / name
    lines = b"\n".join(row if isinstance(row, bytes) else orjson.dumps(row) for row in rows)
    path.write_bytes(lines if name.endswith("l") else orjson.dumps(rows))
    return str(path)


def read(path: str, **settings: Any) -> list[SourceRow]:
    bad: list[BadRow] = []
    rows = list(read_source(SourceConfig(path=path, **settings), report=bad.append))
    assert not bad
    return rows


def read_skipping(path: str, **settings: Any) -> tuple[list[SourceRow], list[BadRow]]:
    bad: list[BadRow] = []
    source = SourceConfig(path=path, **settings)
    return list(read_source(source, report=bad.append, on_bad_row=OnBadRow.SKIP)), bad
