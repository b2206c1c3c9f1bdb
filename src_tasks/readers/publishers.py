"""The download pages of question sets, for the error of a missing file. This repository ships no set except
the sample world.
"""

from __future__ import annotations

import re
from pathlib import Path

from src_core.errors import UserError

FLASHRAG = "hub:RUC-NLPIR/FlashRAG_datasets"
# Keys are the beginnings of words in a file's name.
PUBLISHERS = {
    "hotpot": "HotpotQA is at https://hotpotqa.github.io",
    "2wiki": "2WikiMultihopQA is at https://github.com/Alab-NII/2wikimultihop",
    "musique": "MuSiQue is at https://github.com/StonyBrookNLP/musique",
    "nq": "NQ-open is at hub:google-research-datasets/nq_open",
    "triviaqa": "TriviaQA is at http://nlp.cs.washington.edu/triviaqa",
    "popqa": "PopQA is at hub:akariasai/PopQA",
    "evotemp": "CAG's EvoTempQA is at https://github.com/panruotong/CAG",
    "cag": "CAG's EvoTempQA is at https://github.com/panruotong/CAG",
    "situatedqa": "SituatedQA is at https://github.com/mikejqzhang/SituatedQA",
    "timeqa": "TimeQA is at https://github.com/wenhuchen/Time-Sensitive-QA",
    "freshqa": "FreshQA is at https://github.com/freshllms/freshqa",
    "webq": "WebQuestions is at hub:stanfordnlp/web_questions",
    "strategyqa": "StrategyQA is at https://allenai.org/data/strategyqa",
    "bamboogle": "Bamboogle is at https://github.com/ofirpress/self-ask",
    "frames": "FRAMES is at hub:google/frames-benchmark",
    "fanout": "FanOutQA is at https://github.com/zhudotexe/fanoutqa",
    "iirc": "IIRC is at https://allenai.org/data/iirc",
    "mmlu": "MMLU is at https://github.com/hendrycks/test",
}


def missing_file(path: Path, setting: str = "", *, shown: str = "") -> UserError:
    """The error of a missing question file: its path (or what the caller says of it, `shown`), where such a
    file can be downloaded, and the setting to change ("": not known to the caller). The message for a list
    in the place of a path, whether its bracket is closed or not, says so.
    """
    if str(path)[:1] in ("[", "{"):
        return UserError(
            f"no such file: {shown or path}; {setting or 'it'} is the path of one file and not a list; write "
            "it without brackets"
        )
    words = re.split(r"[^a-z0-9]+", f"{path.parent.name} {path.name}".lower())
    home = next((text for name, text in PUBLISHERS.items() for word in words if word.startswith(name)), "")
    where = f"{home}, with other sets at {FLASHRAG}" if home else f"many published sets are at {FLASHRAG}"
    change = f"set {setting} to the file" if setting else "give its path"
    return UserError(f"no such file: {shown or path}; {where}: download it and {change}")
