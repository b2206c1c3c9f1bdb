"""Where question sets are had: what a missing file's error says. No set is shipped with this repository but
the sample world.
"""

from __future__ import annotations

import re
from pathlib import Path

from src_core.errors import UserError

FLASHRAG = "hub:RUC-NLPIR/FlashRAG_datasets"
# By how the words of a file's name begin.
PUBLISHERS = {
    "hotpot": "HotpotQA is at https://hotpotqa.github.io",
    "2wiki": "2WikiMultihopQA is at https://github.com/Alab-NII/2wikimultihop",
    "musique": "MuSiQue is at https://github.com/StonyBrookNLP/musique",
    "nq": "NQ-open is at hub:google-research-datasets/nq_open",
    "triviaqa": "TriviaQA is at http://nlp.cs.washington.edu/triviaqa",
    "popqa": "PopQA is at hub:akariasai/PopQA",
    "webq": "WebQuestions is at hub:stanfordnlp/web_questions",
    "strategyqa": "StrategyQA is at https://allenai.org/data/strategyqa",
    "bamboogle": "Bamboogle is at https://github.com/ofirpress/self-ask",
    "frames": "FRAMES is at hub:google/frames-benchmark",
    "fanout": "FanOutQA is at https://github.com/zhudotexe/fanoutqa",
    "iirc": "IIRC is at https://allenai.org/data/iirc",
    "mmlu": "MMLU is at https://github.com/hendrycks/test",
}


def missing_file(path: Path, setting: str = "") -> UserError:
    """What to say of a question file that is not there: which, where such a file is had, what to change ("":
    the caller knows no name of the setting).
    """
    words = re.split(r"[^a-z0-9]+", f"{path.parent.name} {path.name}".lower())
    home = next((text for name, text in PUBLISHERS.items() for word in words if word.startswith(name)), "")
    where = f"{home}, with other sets at {FLASHRAG}" if home else f"many published sets are at {FLASHRAG}"
    change = f"set {setting} to the file" if setting else "give its path"
    return UserError(f"no such file: {path}; {where}: download it and {change}")
