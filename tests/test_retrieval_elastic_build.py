"""Elasticsearch is filled through its own client: resume, counts, and what a server can refuse, against a
stand-in that speaks HTTP.
"""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers_elastic import FakeElastic, Reply, Request, built, fake_elastic, options, refusal, served
from helpers_wait import until
from test_retrieval_build import QUIET, config, make_corpus
from test_retrieval_build import settings as arguments

from src_core.errors import IndexServerError, UserError
from src_retrieval.build import build_index
from src_retrieval.sparse import elastic_build
from src_retrieval.sparse.elastic_options import ElasticOptions
from src_retrieval.sparse.elastic_product import ELASTICSEARCH
from src_retrieval.sparse.elastic_server import ElasticServer

ROWS = 40


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeElastic]:
    for name in (ELASTICSEARCH.key, ELASTICSEARCH.password):
        monkeypatch.delenv(name, raising=False)
    with fake_elastic() as server:
        yield server


def test_a_corpus_is_indexed_and_searched_as_the_reference_does(tmp_path: Path, fake: FakeElastic) -> None:
    texts = make_corpus(tmp_path / "corpus.jsonl", ROWS)
    assert built(tmp_path, fake).sparse_settings["index"] == "wiki"
    index = fake.indices["wiki"]
    english = {"type": "text", "analyzer": "english"}
    assert index["mappings"]["properties"] == {"title": english, "txt": english}
    assert index["mappings"]["_meta"]["rows_done"] == ROWS
    assert index["settings"]["index"]["refresh_interval"] is None
    expected = {
        f"d{at}": dict(zip(("title", "txt"), texts[at].split("\n"), strict=True)) for at in range(ROWS)
    }
    assert fake.documents() == expected
    engine = served(tmp_path, fake)
    before = len(fake.requests)
    found = engine.search(["row 17 talks of word3", "no such thing", "word5 word6"], [3, 2, 1])
    assert found[0][0].row == 17
    assert found[0][0].retrieval == 5.0
    assert (found[1], len(found[2])) == ([], 1)
    (asked,) = [request for request in fake.requests[before:] if "_msearch" in request.path]
    lines = [json.loads(line) for line in asked.body.splitlines()]
    assert lines[0::2] == [{"search_type": "dfs_query_then_fetch"}] * 3
    assert {line["size"] for line in lines[1::2]} == {3}  # that of the largest query of the batch
    assert lines[1]["query"]["multi_match"] == {
        "query": "row 17 talks of word3",
        "type": "best_fields",
        "fields": ["title", "txt"],
        "tie_breaker": 0.5,
    }


def test_passages_of_dpr_are_documents_with_title_and_text(tmp_path: Path, fake: FakeElastic) -> None:
    rows = ['1\t"He said ""no"", then\tleft."\tNo', "2\tPlain text\tA title"]
    (tmp_path / "corpus.tsv").write_text("\n".join(["id\ttext\ttitle", *rows]) + "\n")
    built_config = config(tmp_path, corpus=tmp_path / "corpus.tsv", **options(fake))
    build_index(built_config, steps=QUIET)
    assert fake.documents() == {
        "1": {"title": "No", "txt": 'He said "no", then\tleft.'},
        "2": {"title": "A title", "txt": "Plain text"},
    }


def test_a_second_build_sends_nothing(tmp_path: Path, fake: FakeElastic) -> None:
    make_corpus(tmp_path / "corpus.jsonl", ROWS)
    built(tmp_path, fake)
    sent = len(fake.sent("_bulk"))
    built(tmp_path, fake)
    assert len(fake.sent("_bulk")) == sent == -(-ROWS // 7)


def test_a_request_is_bounded_in_bytes(tmp_path: Path, fake: FakeElastic) -> None:
    make_corpus(tmp_path / "corpus.jsonl", ROWS)
    built(tmp_path, fake, bulk_bytes=100)
    assert max(len(request.body) for request in fake.sent("_bulk")) < 400
    assert len(fake.documents()) == ROWS


def test_an_interrupted_build_goes_on(
    tmp_path: Path, fake: FakeElastic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elastic_build, "SAVE_SECONDS", 0.0)
    make_corpus(tmp_path / "corpus.jsonl", ROWS)

    def after_four(request: Request) -> Reply | None:
        late = "_bulk" in request.path and len(fake.sent("_bulk")) > 4
        return refusal(400, "illegal_argument_exception", "stop\x1b[31m here") if late else None

    fake.fault = after_four
    with pytest.raises(UserError, match=r"Elasticsearch at .*: stop.* here"):
        built(tmp_path, fake, bulk_requests=1)
    assert fake.indices["wiki"]["mappings"]["_meta"]["rows_done"] == 28 == len(fake.documents())
    with pytest.raises(UserError, match="there is an unfinished index"):
        served(tmp_path, fake)
    fake.fault = lambda request: None
    sent = len(fake.sent("_bulk"))
    built(tmp_path, fake, bulk_requests=1)
    assert len(fake.sent("_bulk")) - sent == 2
    assert len(fake.documents()) == ROWS


def test_a_killed_build_goes_on_and_no_document_is_written_twice(tmp_path: Path, fake: FakeElastic) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 300)
    fake.bulk_seconds = 0.05
    command = [sys.executable, "-m", "src_retrieval.build", *arguments(tmp_path, **options(fake))]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    until(lambda: len(fake.sent("_bulk")) > 8)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < len(fake.documents()) < 300
    first = dict(fake.documents())
    for document in first.values():
        document["seen"] = True
    fake.bulk_seconds = 0.0
    built(tmp_path, fake)
    assert len(fake.documents()) == 300
    assert sum("seen" in document for document in fake.documents().values()) == len(first)
    assert len(served(tmp_path, fake).search(["talks"], [300])[0]) == 300


def test_an_index_that_lost_documents_is_refused_and_completed(tmp_path: Path, fake: FakeElastic) -> None:
    make_corpus(tmp_path / "corpus.jsonl", ROWS)
    built(tmp_path, fake)
    for name in ("d3", "d39"):
        del fake.documents()[name]
    with pytest.raises(UserError, match=r"holds 38 documents, .* has 40 passages; complete it with bash"):
        served(tmp_path, fake)
    built(tmp_path, fake)
    assert len(fake.documents()) == ROWS
    served(tmp_path, fake)
    fake.documents()["foreign"] = {"title": "", "txt": "talks"}
    with pytest.raises(UserError, match=r"holds 41 documents, .*sparse_options.replace=true"):
        served(tmp_path, fake)
    del fake.documents()["d0"]
    with pytest.raises(IndexServerError, match="documents that are not of"):
        served(tmp_path, fake).search(["talks"], [ROWS])


def test_documents_that_never_arrive_are_counted(tmp_path: Path, fake: FakeElastic) -> None:
    make_corpus(tmp_path / "corpus.jsonl", ROWS)
    fake.fault = lambda request: Reply(200, {"count": ROWS - 1}) if "_count" in request.path else None
    for _ in range(2):
        with pytest.raises(UserError, match="holds 39 documents"):
            built(tmp_path, fake)
    assert len(fake.sent("_bulk")) == 2 * -(-ROWS // 7)  # the second build trusts nothing of the first


BLOCK = "index [wiki] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has "
BLOCK += "read-only-allow-delete block];"


def item_errors(request: Request, status: int, kind: str, reason: str) -> Reply:
    names = [json.loads(line)["create"]["_id"] for line in request.body.splitlines()[::2]]
    error = {"type": kind, "reason": reason}
    return Reply(
        200, {"items": [{"create": {"_id": name, "status": status, "error": error}} for name in names]}
    )


def test_a_full_disk_is_one_sentence_and_the_build_goes_on_later(tmp_path: Path, fake: FakeElastic) -> None:
    make_corpus(tmp_path / "corpus.jsonl", ROWS)

    def full(request: Request) -> Reply | None:
        if "_bulk" not in request.path:
            return None
        return item_errors(request, 429, "cluster_block_exception", BLOCK)

    fake.fault = full
    with pytest.raises(UserError, match="its disk is fuller than the flood-stage watermark; free space"):
        built(tmp_path, fake, bulk_requests=1)
    assert len(fake.sent("_bulk")) == 1
    fake.fault = lambda request: None
    assert built(tmp_path, fake).rows == ROWS


@pytest.mark.parametrize("status", [200, 408])
def test_a_disk_above_its_low_watermark_is_one_sentence(
    tmp_path: Path, fake: FakeElastic, status: int
) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 3)
    unplaced = Reply(status, {"timed_out": True, "status": "red"})
    fake.fault = lambda request: unplaced if "_cluster" in request.path else None
    with pytest.raises(UserError, match=r"finds no disk for the index wiki.*low watermark; free space there"):
        built(tmp_path, fake)
    assert fake.sent("_bulk") == []


def test_a_busy_server_is_asked_again_for_what_it_refused(tmp_path: Path, fake: FakeElastic) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 7)
    refused: list[str] = []

    def busy(request: Request) -> Reply | None:
        if "_bulk" not in request.path or refused:
            return None
        refused.append("d1")
        kept = "\n".join(request.body.splitlines()[:2] + request.body.splitlines()[4:]) + "\n"
        reply = fake._bulk("wiki", request._replace(body=kept))
        error = {"type": "es_rejected_execution_exception", "reason": "queue capacity"}
        reply.body["items"].insert(1, {"create": {"_id": "d1", "status": 429, "error": error}})
        return reply

    fake.fault = busy
    built(tmp_path, fake)
    assert set(fake.documents()) == {f"d{at}" for at in range(7)}
    assert [len(request.body.splitlines()) // 2 for request in fake.sent("_bulk")] == [7, 1]


def test_an_error_ends_the_waits_of_the_other_requests(tmp_path: Path, fake: FakeElastic) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 28)

    def one_is_wrong(request: Request) -> Reply | None:
        if "_bulk" not in request.path:
            return None
        status = 400 if '"d0"' in request.body else 429
        return item_errors(request, status, "parsing", "no")

    fake.fault = one_is_wrong
    with pytest.raises(UserError, match="the passage 'd0'"):
        built(tmp_path, fake, **{"retry.first_wait": 3600, "retry.longest_wait": 3600})


def test_a_document_that_is_refused_is_named(tmp_path: Path, fake: FakeElastic) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 3)

    def refuse(request: Request) -> Reply | None:
        return item_errors(request, 400, "parsing", "too\nlong") if "_bulk" in request.path else None

    fake.fault = refuse
    with pytest.raises(UserError, match=r"index wiki: the passage 'd0': too long$"):
        built(tmp_path, fake)
    assert len(fake.sent("_bulk")) == 1


def always(reply: Reply) -> Any:
    return lambda request: reply


PROBLEMS: dict[str, tuple[dict[str, Any], str]] = {
    "older server": (
        {"version": "7.17.9"},
        r"client \d of Elasticsearch does not speak|version 7\.17\.9; 8 or newer is needed",
    ),
    "newer client": ({"version": "5.0.0"}, r"client \d of Elasticsearch does not speak to the server at"),
    "another product": ({"product": ""}, "is not Elasticsearch, or a proxy"),
    "no name": (
        {"fault": always(refusal(401, "security_exception", "missing authentication credentials"))},
        r"does not let us in \(missing auth.*\); set ELASTICSEARCH_PASSWORD .* or ELASTICSEARCH_API_KEY",
    ),
    "no right": (
        {"fault": always(refusal(403, "security_exception", "action [x] is unauthorized"))},
        "does not let us in",
    ),
    "a page": ({"fault": always(Reply(502, b"<html>bad gateway</html>"))}, "502|bad gateway|deserialize"),
    "other JSON": (
        {"fault": always(Reply(200, {"version": "x"}))},
        "another form than that of Elasticsearch",
    ),
    "a list": ({"fault": always(Reply(200, []))}, "another form than that of Elasticsearch"),
}


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_what_is_wrong_with_a_server_is_one_sentence(tmp_path: Path, fake: FakeElastic, name: str) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 3)
    changes, said = PROBLEMS[name]
    for key, value in changes.items():
        setattr(fake, key, value)
    with pytest.raises(UserError, match=said) as raised:
        built(tmp_path, fake, **{"retry.attempts": 2})
    assert "\n" not in str(raised.value)


def test_a_server_that_is_not_there(tmp_path: Path, fake: FakeElastic) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 3)
    with pytest.raises(UserError, match=r"no answer from .*127.0.0.1:1 \(Connection refused\); start it"):
        built(tmp_path, fake, **{"host": "http://127.0.0.1:1", "retry.attempts": 2})
    secret = {"host": "http://elastic:pw@127.0.0.1:9200"}
    with pytest.raises(UserError, match="remove them and set ELASTICSEARCH_PASSWORD"):
        built(tmp_path, fake, **secret)
    for index in ("wiki*", "_all", "a,b", "Wiki", "..", "wiki/_doc", ""):
        with pytest.raises(UserError, match=r"is no name of an Elasticsearch index"):
            built(tmp_path, fake, index=f"'{index}'")
    assert fake.requests == []


def test_without_the_client_one_sentence_says_what_to_install(
    tmp_path: Path, fake: FakeElastic, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 3)
    monkeypatch.setitem(sys.modules, "elasticsearch", None)
    with pytest.raises(
        UserError, match=r"not installed; install it: bash scripts/setup.sh requirements-elasticsearch.txt"
    ):
        built(tmp_path, fake)


def test_the_password_of_the_environment_is_sent(
    tmp_path: Path, fake: FakeElastic, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 3)
    monkeypatch.setenv("ELASTICSEARCH_PASSWORD", "p*ss+w0rd")
    built(tmp_path, fake)
    basic = "Basic " + base64.b64encode(b"elastic:p*ss+w0rd").decode()
    assert {request.headers.get("authorization") for request in fake.requests} == {basic}
    monkeypatch.setenv("ELASTICSEARCH_API_KEY", "a2V5")
    served(tmp_path, fake)
    assert fake.requests[-1].headers["authorization"] == "ApiKey a2V5"


def test_the_address_is_that_of_the_settings_or_of_the_environment(
    fake: FakeElastic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ES_HOST", raising=False)
    assert ElasticServer(ElasticOptions()).host == "http://127.0.0.1:9200"
    monkeypatch.setenv("ES_HOST", fake.url + "/")
    assert ElasticServer(ElasticOptions()).version() == "9.1.0"
    assert ElasticServer(ElasticOptions(host="http://search.example:80/es")).host.endswith(":80/es")


def test_an_index_of_another_corpus_is_replaced_only_when_asked(tmp_path: Path, fake: FakeElastic) -> None:
    make_corpus(tmp_path / "corpus.jsonl", ROWS)
    built(tmp_path, fake)
    make_corpus(tmp_path / "corpus.jsonl", 5)
    with pytest.raises(UserError, match=r"was not made from .*\(40 documents\); choose another"):
        build_index(config(tmp_path, overwrite=True, **options(fake)), steps=QUIET)
    assert len(fake.documents()) == ROWS
    build_index(config(tmp_path, overwrite=True, **options(fake, replace=True)), steps=QUIET)
    assert len(fake.documents()) == 5
    uuid = fake.indices["wiki"]["settings"]["index"]["uuid"]
    built(tmp_path, fake, replace=True)  # that of the same corpus stays
    assert fake.indices["wiki"]["settings"]["index"]["uuid"] == uuid


@pytest.mark.parametrize(
    "change",
    [
        {"mappings": {"properties": {"title": {"type": "text", "analyzer": "english"}}}},
        {"mappings": {"properties": {name: {"type": "text"} for name in ("title", "txt")}}},
        {"settings": {"similarity": {"default": {"type": "BM25", "b": 0}}}},
        {"settings": {"analysis": {"analyzer": {"english": {"type": "standard"}}}}},
    ],
    ids=["no txt", "standard analyzer", "own similarity", "own analyzer"],
)
def test_an_index_with_another_mapping_is_refused(
    tmp_path: Path, fake: FakeElastic, change: dict[str, Any]
) -> None:
    make_corpus(tmp_path / "corpus.jsonl", 5)
    built(tmp_path, fake)
    index = fake.indices["wiki"]
    index["mappings"] |= change.get("mappings", {})
    index["settings"]["index"] |= change.get("settings", {})
    for use in (served, built):
        with pytest.raises(UserError, match=r"is not one of the fields title and txt with the analyzer"):
            use(tmp_path, fake)
    built(tmp_path, fake, replace=True)
    assert served(tmp_path, fake).search(["row 3"], [1])[0][0].row == 3
