#!/usr/bin/env bash
# Runs the tests of ops and of kernels on the first GPU under compute-sanitizer, in as many processes at a time as there
# are processors.
#   tools/sanitize_gpu.sh BUILD_DIR [TOOL...]      tools: memcheck racecheck initcheck (all of them)
# GTEST_FILTER chooses among the cases. What each process printed stays in BUILD_DIR/sanitizer-logs/.
set -euo pipefail
cd "$(dirname "$0")/.."

build=$1
shift
[ $# -gt 0 ] || set -- memcheck racecheck initcheck
command -v compute-sanitizer >/dev/null ||
  { echo "compute-sanitizer is not on the PATH; it comes with the CUDA toolkit" >&2; exit 1; }

logs=$build/sanitizer-logs
rm -rf "$logs"
mkdir -p "$logs"
# A process a processor: threads that spin for others would take most of the time.
export WICK_TEST_DEVICE=cuda OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
GTEST_TOTAL_SHARDS=$(nproc)
export GTEST_TOTAL_SHARDS

# shellcheck disable=SC2317 # called by the shells of xargs
check() {
  local tool=$1 program=$2 shard=$3 logs=$4
  local log=$logs/$tool.${program##*/}.$shard
  if GTEST_SHARD_INDEX=$shard compute-sanitizer --tool "$tool" --error-exitcode 1 "$program" >"$log" 2>&1 &&
    grep -qE '^=+ (ERROR SUMMARY: 0 errors|RACECHECK SUMMARY: 0 hazards)' "$log"; then
    echo "no report" >>"$log"
  fi
}
export -f check
for tool; do
  for program in "$build"/bin/{ops,cuda}_tests; do
    for ((shard = 0; shard < GTEST_TOTAL_SHARDS; ++shard)); do
      echo "$tool $program $shard $logs"
    done
  done
done | xargs -P "$GTEST_TOTAL_SHARDS" -L 1 bash -c 'check "$@"' check

# `count PATTERN FILE...`: lines that match.
count() { cat "${@:2}" | grep -c -- "$1" || true; }
status=0
for tool; do
  files=("$logs/$tool".*)
  passed=$(count '^\[       OK \]' "${files[@]}")
  failed=$(count '^\[  FAILED  \].* ms)$' "${files[@]}")
  clean=$(count '^no report$' "${files[@]}")
  echo "$tool: $passed cases passed, $failed failed; no report in $clean of ${#files[@]} processes"
  if [ "$passed" -eq 0 ] || [ "$failed" -gt 0 ] || [ "$clean" -lt ${#files[@]} ]; then status=1; fi
done
[ $status -eq 0 ] || echo "what was found is in $logs" >&2
exit $status
