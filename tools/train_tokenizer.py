#!/usr/bin/env python3
"""Trains a byte-level BPE tokenizer and writes tokenizer.json and tokenizer_config.json as Hugging Face reads them.

Needs nothing but Python 3.9 or later. The method is that of Sennrich, Haddow and Birch (2016), on bytes: split the text
into words, then join the most frequent pair of neighbouring pieces again and again; of equally frequent pairs, the
alphabetically first. Ids: the special tokens, the 256 bytes, then one for each merge.
"""

import argparse
import collections
import heapq
import json
import re
from pathlib import Path

# Qwen2's pre-tokenizer: contractions, words with the space before them, single digits, punctuation, line ends.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Python's re has no Unicode properties; the differences concern rare number signs only, and training only.
PYTHON_SPLIT = re.compile(SPLIT.replace(r"[^\s\p{L}\p{N}]", r"(?:[^\s\w]|_)").replace(r"[^\r\n\p{L}\p{N}]", r"(?:[^\r\n\w]|_)")
                          .replace(r"\p{L}", r"[^\W\d_]").replace(r"\p{N}", r"\d"))

BOS, EOS, PAD = "<|startoftext|>", "<|endoftext|>", "<|pad|>"
SPECIAL_TOKENS = [EOS, BOS, PAD]


def byte_alphabet():
    """GPT-2's printable stand-in for each byte: itself where printable, else the next free one from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (byte for byte in range(256) if byte not in printable)
    return {**{byte: chr(byte) for byte in printable}, **{byte: chr(256 + i) for i, byte in enumerate(others)}}


def read_texts(path: Path):
    """The texts of a .jsonl file with {"text"} or {"prompt", "completion"}, or a whole .txt file as one."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".jsonl":
        yield content
        return
    for line in content.splitlines():
        row = json.loads(line)
        yield row["text"] if "text" in row else row["prompt"] + row["completion"]


def count_words(paths, alphabet):
    counts = collections.Counter()
    for path in paths:
        for text in read_texts(path):
            counts.update(PYTHON_SPLIT.findall(text))
    return {tuple(alphabet[byte] for byte in word.encode()): count for word, count in sorted(counts.items())}


def join(pieces, pair):
    out = []
    for piece in pieces:
        if out and (out[-1], piece) == pair and not joined_last:
            out[-1] += piece
            joined_last = True
        else:
            out.append(piece)
            joined_last = False
    return out


def train(words, merges_wanted):
    """The merges, most frequent first. Only words that hold the merged pair are counted anew."""
    pieces = [list(word) for word in words]
    weights = list(words.values())
    counts = collections.Counter()
    where = collections.defaultdict(set)
    for index, word in enumerate(pieces):
        for pair in zip(word, word[1:]):
            counts[pair] += weights[index]
            where[pair].add(index)
    queue = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(queue)
    merges = []
    while queue and len(merges) < merges_wanted:
        count, pair = heapq.heappop(queue)
        if counts[pair] != -count:
            continue  # outdated: a newer entry is in the queue
        if -count < 2:
            break
        merges.append(pair)
        touched = set()
        for index in where.pop(pair):
            old = pieces[index]
            new = pieces[index] = join(old, pair)
            for gone in zip(old, old[1:]):
                counts[gone] -= weights[index]
                touched.add(gone)
            for come in zip(new, new[1:]):
                counts[come] += weights[index]
                where[come].add(index)
                touched.add(come)
        for changed in touched:
            if counts[changed] > 0:
                heapq.heappush(queue, (-counts[changed], changed))
    return merges


def tokenizer_json(merges, alphabet):
    pieces = SPECIAL_TOKENS + [alphabet[byte] for byte in sorted(alphabet)] + ["".join(pair) for pair in merges]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    begin = {"SpecialToken": {"id": BOS, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": vocabulary[token], "content": token, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True} for token in SPECIAL_TOKENS
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, first],
            "pair": [begin, first, second],
            "special_tokens": {BOS: {"id": BOS, "ids": [vocabulary[BOS]], "tokens": [BOS]}},
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": vocabulary, "merges": [list(pair) for pair in merges],
        },
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", type=Path, nargs="+", help=".jsonl or .txt files")
    parser.add_argument("--vocab-size", type=int, default=1024)
    parser.add_argument("--max-length", type=int, default=512, help="the model's longest sequence")
    parser.add_argument("--out", type=Path, required=True, help="the directory to write into")
    args = parser.parse_args()

    alphabet = byte_alphabet()
    merges_wanted = args.vocab_size - len(SPECIAL_TOKENS) - len(alphabet)
    if merges_wanted < 0:
        parser.error(f"--vocab-size must be at least {len(SPECIAL_TOKENS) + len(alphabet)}")
    merges = train(count_words(args.texts, alphabet), merges_wanted)
    if len(merges) < merges_wanted:
        parser.error(f"the texts give {len(merges)} merges only; --vocab-size {args.vocab_size} needs {merges_wanted}")

    args.out.mkdir(parents=True, exist_ok=True)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS, "eos_token": EOS, "pad_token": PAD,
        "clean_up_tokenization_spaces": False, "model_max_length": args.max_length,
    }
    for name, content in (("tokenizer.json", tokenizer_json(merges, alphabet)), ("tokenizer_config.json", config)):
        text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
        (args.out / name).write_text(text, encoding="utf-8")
    print(f"{args.out}/tokenizer.json: {args.vocab_size} tokens, {len(merges)} merges")


if __name__ == "__main__":
    main()
