"""Whether index, corpus, encoder and config belong together: the checks before serving. Each raises
`UserError` with the command that helps.
"""

from __future__ import annotations

from pathlib import Path

from src_core.errors import UserError
from src_retrieval.corpus import Corpus, cached_info, open_corpus
from src_retrieval.encoders.base import Encoder
from src_retrieval.encoders.spec import EncoderIdentity
from src_retrieval.layout import HYBRID, IndexLayout, Manifest, rebuild_hint
from src_retrieval.sparse.base import SparseBackend


def halves(wanted: str | None, manifest: Manifest, layout: IndexLayout) -> tuple[str | None, str | None]:
    """The kinds of vector and word index to serve: as built, or one half of a hybrid."""
    served = wanted or manifest.type
    if served == manifest.type:
        return manifest.dense, manifest.sparse
    if manifest.type == HYBRID and served == manifest.dense:
        return served, None
    if manifest.type == HYBRID and served == manifest.sparse:
        return None, served
    raise UserError(
        f"the index in {layout.root} was built as {manifest.type}, the config says {served}; rebuild it "
        f"with {rebuild_hint(layout)} type={served}"
    )


def corpus_of(corpus_path: str, layout: IndexLayout, manifest: Manifest) -> Corpus:
    """The corpus, which has to be the one of the index. A folder with the marks of its files is never
    written to.
    """
    path = Path(corpus_path)
    if not manifest.files or not path.is_file() or cached_info(path, layout.root) is not None:
        corpus = open_corpus(path, layout.root)
        if corpus.info.sha256 == manifest.corpus_sha256 and len(corpus) == manifest.rows:
            return corpus
    raise UserError(
        f"the index in {layout.root} was built from another version of {corpus_path}; rebuild it with "
        f"{rebuild_hint(layout)} corpus={corpus_path}"
    )


def require_encoder(encoder: Encoder, manifest: Manifest, layout: IndexLayout) -> EncoderIdentity:
    """The encoder that the index was built by. Raises `UserError` where the one given is another: vectors of
    two encoders are not comparable, and a search would return noise without any error.
    """
    built, given = manifest.encoder, encoder.identity
    if built is None:
        raise UserError(
            f"the manifest of {layout.root} has no encoder; rebuild it with {rebuild_hint(layout)}"
        )
    if (built.sha256, built.family, built.dim) == (given.sha256, given.family, given.dim):
        return built
    theirs = f"{built.name} ({built.family}, {built.precision}, {built.dim}d, {built.sha256[:8]})"
    ours = f"{given.name} ({given.family}, {given.precision}, {given.dim}d, {given.sha256[:8]})"
    raise UserError(
        f"the index in {layout.root} was built by {theirs}, the config says {ours}; rebuild it with "
        f"{rebuild_hint(layout)} encoder={given.name}, or set retrieval_method to the encoder it was built by"
    )


def require_tokenizer(backend: SparseBackend, manifest: Manifest, layout: IndexLayout) -> None:
    """Raises `UserError` where queries would be divided into other words than the passages were."""
    given, built = backend.version(manifest.sparse_settings), manifest.tokenizer
    if built != given and (built or not backend.reads_unversioned(layout)):
        raise UserError(
            f"the words of the index in {layout.root} were made by another tokenizer "
            f"({built or 'of an older version'}; here: {given}); rebuild it with {rebuild_hint(layout)}"
        )
