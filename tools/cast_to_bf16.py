#!/usr/bin/env python3
"""Rewrites a safetensors file of F32 tensors as BF16, rounding to nearest even. Needs nothing but Python 3.9 or later."""

import argparse
import array
import json
import struct
import sys
from pathlib import Path


def to_bf16(f32: bytes) -> bytes:
    words = array.array("I", f32)
    out = array.array("H", bytes(len(words) * 2))
    for index, word in enumerate(words):
        if word & 0x7FFFFFFF > 0x7F800000:  # NaN: rounding could turn it into infinity
            out[index] = word >> 16 | 0x40
        else:
            out[index] = (word + 0x7FFF + (word >> 16 & 1)) >> 16
    return out.tobytes()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    args = parser.parse_args()
    if sys.byteorder != "little":
        parser.error("safetensors is little-endian, and this machine is not")

    content = args.source.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    data = bytearray()
    new_header = {"__metadata__": {"format": "pt"}}
    for name, entry in sorted(tensors.items()):
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        if entry["dtype"] != "F32":
            parser.error(f"{args.source}: tensor {name} is {entry['dtype']}, not F32")
        cast = to_bf16(content[begin:end])
        new_header[name] = {"dtype": "BF16", "shape": entry["shape"], "data_offsets": [len(data), len(data) + len(cast)]}
        data += cast
    text = json.dumps(new_header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    args.target.write_bytes(struct.pack("<Q", len(text)) + text + data)
    print(f"{args.target}: {len(tensors)} tensors, {args.target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
