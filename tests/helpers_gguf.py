"""Tiny models for the conversion tests: a hub model of each architecture with its GGUF base file (a byte
tokenizer, so that llama.cpp runs it), and llama.cpp's log-probabilities.

The base files are written with the gguf package alone: nothing of the code under test.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

Shapes = dict[str, tuple[int, ...]]
ARCHITECTURES = ("llama", "qwen2", "qwen3")
HIDDEN, WIDE, LAYERS, HEADS, KV_HEADS, HEAD_DIM = 64, 96, 2, 4, 2, 16
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = ("Ġ t", "h e")
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
TEXT_TOKEN = 65
PROMPT = [40, 71, 12, 99, 5, 180, 33, 41, 8, 64, 77, 200]


def byte_tokens() -> list[str]:
    """GPT-2's printable names of the 256 bytes, two merged words, and the special tokens."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    names = {byte: chr(byte) for byte in plain}
    others = [byte for byte in range(256) if byte not in names]
    names |= {byte: chr(256 + number) for number, byte in enumerate(others)}
    return [names[byte] for byte in range(256)] + [pair.replace(" ", "") for pair in MERGES] + [*SPECIAL]


VOCAB = 256 + len(MERGES) + len(SPECIAL)


def hub_model(architecture: str, *, tied: bool = True, seed: int = 0) -> Any:
    """A random float32 model whose rotary embedding and norms matter to its logits."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        architecture,
        vocab_size=VOCAB,
        hidden_size=HIDDEN,
        intermediate_size=WIDE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        head_dim=HEAD_DIM,
        max_position_embeddings=128,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=tied,
        eos_token_id=VOCAB - 1,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for parameter in model.parameters():
        around = 1.0 if parameter.ndim == 1 else 0.0
        torch.nn.init.normal_(parameter, mean=around, std=0.15)
    model.tie_weights()
    return model


def shapes(architecture: str, *, output: bool = False, hidden: int = HIDDEN, layers: int = LAYERS) -> Shapes:
    """The tensors of a GGUF file of that architecture."""
    found: Shapes = {"token_embd.weight": (VOCAB, hidden), "output_norm.weight": (hidden,)}
    if output:
        found["output.weight"] = (VOCAB, hidden)
    queries, keys = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    for block in range(layers):
        parts: Shapes = {
            "attn_q.weight": (queries, hidden),
            "attn_k.weight": (keys, hidden),
            "attn_v.weight": (keys, hidden),
            "attn_output.weight": (hidden, queries),
            "ffn_gate.weight": (WIDE, hidden),
            "ffn_up.weight": (WIDE, hidden),
            "ffn_down.weight": (hidden, WIDE),
            "attn_norm.weight": (hidden,),
            "ffn_norm.weight": (hidden,),
        }
        if architecture == "qwen2":
            parts |= {"attn_q.bias": (queries,), "attn_k.bias": (keys,), "attn_v.bias": (keys,)}
        if architecture == "qwen3":
            parts |= {"attn_q_norm.weight": (HEAD_DIM,), "attn_k_norm.weight": (HEAD_DIM,)}
        found |= {f"blk.{block}.{name}": shape for name, shape in parts.items()}
    return found


def write_base(
    path: Path,
    architecture: str,
    *,
    output: bool = False,
    layers: int = LAYERS,
    seed: int = 5,
    extra: Shapes | None = None,
) -> Path:
    """A GGUF model file with random weights: the template, and the base that adapters are for."""
    import gguf

    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("model")
    writer.add_name(f"tiny {architecture}")
    writer.add_block_count(layers)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(WIDE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    if architecture != "qwen2":
        writer.add_key_length(HEAD_DIM)
        writer.add_value_length(HEAD_DIM)
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(byte_tokens())
    writer.add_token_types([1] * (VOCAB - len(SPECIAL)) + [3] * len(SPECIAL))
    writer.add_token_merges(list(MERGES))
    writer.add_eos_token_id(VOCAB - 1)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    for name, shape in (shapes(architecture, output=output, layers=layers) | (extra or {})).items():
        writer.add_tensor(name, rng.normal(float(len(shape) == 1), 0.15, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def lora_model(model: Any, **settings: Any) -> Any:
    """`model` with a random LoRA adapter on all matrices, as peft trains it."""
    import torch
    from peft import LoraConfig, get_peft_model

    chosen = {"target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings}
    torch.manual_seed(1)  # peft draws A, the lines below draw B
    adapted = get_peft_model(model, LoraConfig(**chosen))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return adapted.eval()


def hub_name(name: str) -> str:
    """`blk.0.attn_q.weight` -> `model.layers.0.self_attn.q_proj.weight`."""
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    parts = {"attn_output": "self_attn.o_proj", "attn_norm": "input_layernorm"}
    parts |= {f"attn_{x}": f"self_attn.{x}_proj" for x in "qkv"}
    parts |= {f"attn_{x}_norm": f"self_attn.{x}_norm" for x in "qk"}
    parts |= {f"ffn_{x}": f"mlp.{x}_proj" for x in ("gate", "up", "down")}
    parts["ffn_norm"] = "post_attention_layernorm"
    match = re.fullmatch(r"blk\.(\d+)\.(\w+)(\.\w+)", name)
    if match is None:
        stem, _, kind = name.rpartition(".")
        return f"{names[stem]}.{kind}"
    return f"model.layers.{match[1]}.{parts[match[2]]}{match[3]}"


def write_stored(
    folder: Path,
    architecture: str,
    *,
    drop: str = "",
    add: str = "",
    vocab: int = VOCAB,
    config: dict[str, Any] | None = None,
    shards: int = 1,
) -> Path:
    """A hub folder with random weights in bfloat16, written without torch; faulty where asked to be."""
    rng = np.random.default_rng(7)
    folder.mkdir(parents=True)
    sizes = {hub_name(name): shape for name, shape in shapes(architecture).items()}
    sizes["model.embed_tokens.weight"] = (vocab, HIDDEN)
    tensors = {name: rng.normal(0, 0.15, shape).astype(np.float32) for name, shape in sizes.items()}
    tensors.pop(drop, None)
    if add:
        tensors[add] = np.zeros((2, 2), np.float32)
    facts = {
        "model_type": architecture,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "rope_parameters": {"rope_theta": 10000.0},
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(facts | (config or {})), encoding="utf-8")
    if shards == 1:
        write_safetensors(folder / "model.safetensors", tensors)
        return folder
    names = sorted(tensors)
    files = {
        name: f"model-{number % shards + 1:05}-of-{shards:05}.safetensors"
        for number, name in enumerate(names)
    }
    for file in set(files.values()):
        write_safetensors(folder / file, {name: tensors[name] for name in names if files[name] == file})
    index = json.dumps({"weight_map": files})
    (folder / "model.safetensors.index.json").write_text(index, encoding="utf-8")
    return folder


def write_lora(
    folder: Path,
    architecture: str,
    *,
    rank: int = 4,
    hidden: int = HIDDEN,
    layers: int = LAYERS,
    drop: str = "",
    add: str = "",
    config: dict[str, Any] | None = None,
) -> Path:
    """An adapter as peft saves it, with random weights, written without torch; faulty where asked to be."""
    rng = np.random.default_rng(9)
    folder.mkdir(parents=True)
    tensors: dict[str, Any] = {}
    for name, shape in shapes(architecture, hidden=hidden, layers=layers).items():
        if len(shape) == 2 and name.startswith("blk."):
            module = "base_model.model." + hub_name(name).removesuffix(".weight")
            tensors[f"{module}.lora_A.weight"] = rng.normal(0, 0.1, (rank, shape[1])).astype(np.float32)
            tensors[f"{module}.lora_B.weight"] = rng.normal(0, 0.1, (shape[0], rank)).astype(np.float32)
    tensors.pop(drop, None)
    if add:
        tensors[add] = np.zeros((2, 2), np.float32)
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    facts = {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "bias": "none", "init_lora_weights": True}
    (folder / "adapter_config.json").write_text(json.dumps(facts | (config or {})), encoding="utf-8")
    return folder


def write_safetensors(path: Path, tensors: dict[str, Any]) -> None:
    """Arrays as a safetensors file in bfloat16."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, values in tensors.items():
        data = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
        place = [len(body), len(body) + len(data)]
        header[name] = {"dtype": "BF16", "shape": list(values.shape), "data_offsets": place}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def log_softmax(logits: Any) -> Any:
    """Log-probabilities of one row of logits."""
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def hub_logits(model: Any, ids: list[int]) -> Any:
    """The logits of every position, float32 [tokens, words]."""
    import torch

    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float().numpy()


def load_gguf(path: Path) -> Any:
    """The file as transformers reads it, in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = str(path.parent)
    return AutoModelForCausalLM.from_pretrained(folder, gguf_file=path.name, dtype=torch.float32).eval()


def llama_log_probs(
    model: Path, prompt: list[int] | str, *, lora: Path | None = None, words: int = VOCAB
) -> dict[int, float]:
    """llama.cpp's log-probabilities of the next token after `prompt`, for the likeliest `words`."""
    from src_models.llama_server import ServerSettings, make_params, start

    settings = ServerSettings(model=model, alias="m", port=0, threads=1, parallel=1, ctx=256, lora=lora)
    server = start(make_params(settings))
    # The log-probabilities are those before sampling, but come only with a token that is text by itself.
    bias = {str(TEXT_TOKEN): 100}
    body = {"prompt": prompt, "max_tokens": 1, "logprobs": words, "temperature": 0.0, "logit_bias": bias}
    found = server.handle_completions(body)
    del server
    top = found["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    return {int(row["id"]): float(row["logprob"]) for row in top}
