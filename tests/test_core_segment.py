"""The words of text without spaces, and that a word index finds passages by them."""

from __future__ import annotations

import pytest
from rich.console import Console

from src_core.progress import Steps
from src_core.segment import segment
from src_retrieval.results import ranked
from src_retrieval.sparse.bm25 import Bm25Index
from src_retrieval.sparse.bm25_build import build_bm25, divided

PASSAGES = [
    "Paris is the capital of France and lies on the Seine.",
    "中华人民共和国的首都是北京,人口超过两千万。",
    "长江是亚洲最长的河流,流经上海注入东海。",
    "李雷和韩梅梅在清华大学学习计算机科学。",
    "台灣最高的山是玉山,海拔三千九百五十二公尺。",
    "東京都は日本の首都で、世界最大の都市圏の一つである。",
    "富士山は静岡県と山梨県にまたがる日本で最も高い山です。",
    "コンピュータの父と呼ばれるアラン・チューリングはイギリスの数学者である。",
    "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย",
    "แม่น้ำเจ้าพระยาไหลผ่านภาคกลางลงสู่อ่าวไทย",
    "ປະເທດລາວມີນະຄອນຫຼວງຊື່ວຽງຈັນ",
    "រាជធានីភ្នំពេញជាទីក្រុងធំជាងគេនៅកម្ពុជា",
    "မြန်မာနိုင်ငံ၏မြို့တော်မှာနေပြည်တော်ဖြစ်သည်",
    "ལྷ་ས་ནི་བོད་ཀྱི་རྒྱལ་ས་ཡིན།",
    "भारत की राजधानी नई दिल्ली है।",
    "ঢাকা বাংলাদেশের রাজধানী।",
    "서울은 대한민국의 수도이다.",
    "Le cafe\u0301 e\u0301tait ferme\u0301.",
]
QUERIES = [
    ("What is the capital of France?", 0),
    ("中国的首都是哪里?北京", 1),
    ("北京", 1),
    ("哪条河流最长", 2),
    ("韩梅梅在哪里学习", 3),
    ("李雷", 3),
    ("玉山海拔", 4),
    ("日本の首都はどこですか", 5),
    ("東京", 5),
    ("富士山の高さ", 6),
    ("チューリングは誰ですか", 7),
    ("ﾁｭｰﾘﾝｸﾞ", 7),
    ("เมืองหลวงของไทยคืออะไร", 8),
    ("กรุงเทพ", 8),
    ("แม่น้ำเจ้าพระยา", 9),
    ("ວຽງຈັນ", 10),
    ("ភ្នំពេញ", 11),
    ("နေပြည်တော်", 12),
    ("བོད་ཀྱི་", 13),
    ("दिल्ली", 14),
    ("রাজধানী ঢাকা", 15),
    ("서울의 수도", 16),
    ("\u1109\u1165\u110b\u116e\u11af", 16),
    ("café", 17),
    ("cafe\u0301", 17),
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Bm25Index:
    folder = tmp_path_factory.mktemp("bm25")
    build_bm25(folder, lambda start, stop: PASSAGES[start:stop], len(PASSAGES), Steps(Console(quiet=True)))
    return Bm25Index(folder)


@pytest.mark.parametrize(("query", "row"), QUERIES)
def test_the_right_passage_comes_first_in_any_script(index: Bm25Index, query: str, row: int) -> None:
    assert ranked(index.search([query], 3), 0, 3)[0].row == row


def test_text_with_spaces_comes_back_as_it_is() -> None:
    for text in ("Plain words", "naïve café, Köln", "Привет мир", "x² ﬁne"):
        assert segment(text) == (text, [])


def test_each_script_has_its_rule() -> None:
    assert segment("在iPhone手机上").rest.split() == ["iPhone"]
    assert "手机" in segment("在iPhone手机上").words
    assert segment("ラーメン").words == ["ラー", "ーメ", "メン"]
    assert segment("น้ำใจ").words == ["น้ํา", "าใ", "ใจ"]  # a mark stays with its letter
    assert segment("हिन्दी में").words == ["हिन्दी", "में"]
    assert segment("２０２４年").rest.split() == ["2024"]
    assert segment("서울은").words == ["서울", "울은"]
    assert segment("e\u0301te\u0301") == ("été", [])
    assert segment("あ").words == ["あ"]


def test_a_foreign_name_does_not_lengthen_an_english_passage() -> None:
    plain, named = divided(["Beijing is a city", "Beijing (北京) is a city"])
    assert (plain.length, named.length) == (2, 3)
    assert {"beijing", "city", "北京"} <= set(named.words)
