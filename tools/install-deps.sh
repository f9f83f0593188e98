#!/usr/bin/env bash
# Installs the Debian packages that Wick needs and that are not there yet. Says what it installs; else says nothing.
#   tools/install-deps.sh          what building, testing and benchmarking need
#   tools/install-deps.sh --bench  also what the scripts around the benchmarks need
#   tools/install-deps.sh --ci     also what the checks of .ci/run need
set -euo pipefail

# ocl-icd-opencl-dev: libdnnl-dev's CMake package looks for OpenCL and does not depend on it.
build=(g++ cmake ninja-build ccache pkg-config
       libdnnl-dev ocl-icd-opencl-dev libhwy-dev nlohmann-json3-dev libcli11-dev libfmt-dev
       libpcre2-dev libutf8proc-dev libxxhash-dev
       libgtest-dev libgmock-dev libbenchmark-dev)
scripts=(python3 python3-venv)
checks=(clang clang-tidy clang-format libomp-dev libclang-rt-dev python3 shellcheck)

case "${1-}" in
  "") wanted=("${build[@]}") ;;
  --bench) wanted=("${build[@]}" "${scripts[@]}") ;;
  --ci) wanted=("${build[@]}" "${checks[@]}") ;;
  *) echo "usage: $0 [--bench | --ci]" >&2; exit 2 ;;
esac

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "This is not a Debian system: install the equivalents of these packages yourself: ${wanted[*]}" >&2
  exit 0
fi

missing=()
for package in "${wanted[@]}"; do
  # Shellcheck: the ${...} below is dpkg-query's, not the shell's.
  # shellcheck disable=SC2016
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "These packages are missing, and there is no sudo to install them with. As root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "Installing Debian packages${as_root:+ (with sudo)}: ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null
