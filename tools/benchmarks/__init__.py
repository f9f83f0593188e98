"""Parts of tools/bench.py and tools/bench_peers.py."""
