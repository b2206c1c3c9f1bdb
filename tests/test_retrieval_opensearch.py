"""OpenSearch is asked as it wants to be: plain JSON, its own name and password. What it shares with
Elasticsearch is tested in test_retrieval_elastic_contract.py.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers_elastic import FakeElastic, Reply, Request, fake_elastic, options, refusal
from test_retrieval_build import QUIET, config, engine_config, make_corpus

from src_core.errors import UserError
from src_retrieval.build import build_index
from src_retrieval.engine import SearchEngine, open_engine
from src_retrieval.layout import Manifest
from src_retrieval.sparse.elastic_server import ElasticServer
from src_retrieval.sparse.opensearch import OpenSearchOptions

ROWS = 20


def strange(request: Request) -> Reply | None:
    """OpenSearch knows no media type of Elastic's."""
    if "vnd.elasticsearch" in request.headers.get("accept", "") + request.headers.get("content-type", ""):
        return refusal(406, "media_type_header_exception", "Invalid media-type value on headers")
    return None


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeElastic]:
    for name in ("OPENSEARCH_PASSWORD", "ELASTICSEARCH_PASSWORD", "ELASTICSEARCH_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    make_corpus(tmp_path / "corpus.jsonl", ROWS)
    with fake_elastic() as server:
        server.version, server.product, server.fault = "2.19.6", "", strange
        yield server


def built(folder: Path, fake: FakeElastic, **changes: object) -> Manifest:
    return build_index(config(folder, **{**options(fake, **changes), "type": "opensearch"}), steps=QUIET)


def served(folder: Path, fake: FakeElastic, **changes: object) -> SearchEngine:
    given = {**options(fake, **changes), "type": "opensearch"}
    return open_engine(engine_config(folder, **given)).engine


def test_a_server_is_filled_and_searched_by_plain_json(tmp_path: Path, fake: FakeElastic) -> None:
    assert built(tmp_path, fake).sparse == "opensearch"
    assert len(fake.documents()) == ROWS
    engine = served(tmp_path, fake)
    assert engine.sparse is not None
    assert engine.sparse.identity["server"] == "2.19.6"
    assert engine.search(["row 17 talks of word3"], [3])[0][0].row == 17
    sent = {(one.headers["accept"], one.headers.get("content-type", "")) for one in fake.requests}
    assert {accept for accept, _ in sent} == {"application/json"}
    assert {kind for _, kind in sent} == {"", "application/json", "application/x-ndjson"}
    assert not any("authorization" in one.headers for one in fake.requests)
    count = len(fake.sent("_bulk"))
    built(tmp_path, fake)
    assert len(fake.sent("_bulk")) == count


def test_the_client_of_elasticsearch_is_told_from_it(tmp_path: Path, fake: FakeElastic) -> None:
    for said in ("client 8 of Elasticsearch does not speak", "is not Elasticsearch"):
        with pytest.raises(UserError, match=rf"{said}.* type=opensearch where it is OpenSearch"):
            build_index(config(tmp_path, **options(fake, **{"retry.attempts": 1})), steps=QUIET)
        fake.fault, fake.version = lambda request: None, "9.1.0"


def test_its_password_is_sent_and_no_key_of_elasticsearch(
    tmp_path: Path, fake: FakeElastic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELASTICSEARCH_API_KEY", "a2V5")
    monkeypatch.setenv("OPENSEARCH_PASSWORD", "s3cret")
    built(tmp_path, fake)
    login = "Basic " + base64.b64encode(b"admin:s3cret").decode()
    assert {one.headers.get("authorization") for one in fake.requests} == {login}
    fake.fault = lambda request: refusal(401, "security_exception", "no")
    with pytest.raises(
        UserError, match=r"does not let us in \(no\); set OPENSEARCH_PASSWORD \(of sparse_options.user\), of"
    ) as raised:
        served(tmp_path, fake)
    assert "s3cret" not in str(raised.value)


def test_what_is_wrong_is_one_sentence(
    tmp_path: Path, fake: FakeElastic, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        UserError,
        match=r"^no answer from OpenSearch at \S+:1 \(Connection refused\); start .* OPENSEARCH_URL",
    ):
        built(tmp_path, fake, host="http://127.0.0.1:1", **{"retry.attempts": 2})
    with pytest.raises(UserError, match="remove them and set OPENSEARCH_PASSWORD"):
        built(tmp_path, fake, host="http://admin:s3cret@127.0.0.1:1")
    with pytest.raises(UserError, match="there is an unfinished index"):
        served(tmp_path, fake)
    for reply, said in (
        (Reply(200, []), "another form than that of OpenSearch"),
        (Reply(502, b"<html>bad gateway</html>"), "502|bad gateway|deserialize"),
        (Reply(200, {"version": {"number": "no"}}), "1 or newer is needed"),
    ):
        fake.fault = lambda request, reply=reply: reply
        with pytest.raises(UserError, match=said) as raised:
            built(tmp_path, fake, **{"retry.attempts": 2})
        assert "\n" not in str(raised.value)
    monkeypatch.setitem(sys.modules, "elasticsearch", None)
    with pytest.raises(
        UserError, match=r"client of OpenSearch is not installed; .*requirements-elasticsearch"
    ):
        built(tmp_path, fake)


def test_a_disk_above_its_low_watermark_is_one_sentence(tmp_path: Path, fake: FakeElastic) -> None:
    unplaced = Reply(408, {"timed_out": True, "status": "red"})
    fake.fault = lambda request: unplaced if "_cluster" in request.path else None
    with pytest.raises(UserError, match=r"finds no disk for the index wiki.*low watermark; free space there"):
        built(tmp_path, fake)
    (asked,) = fake.sent("_cluster")
    assert asked.path == "/_cluster/health/wiki?wait_for_status=yellow&timeout=30s"


def test_the_address_is_that_of_the_settings_or_of_the_environment(
    fake: FakeElastic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ES_HOST", "http://127.0.0.1:1")
    monkeypatch.setenv("OPENSEARCH_URL", fake.url + "/")
    assert ElasticServer(OpenSearchOptions()).version() == "2.19.6"
    assert ElasticServer(OpenSearchOptions(host="http://search.example/os")).host.endswith("example/os")
