#!/usr/bin/env bash
# Installs what moat needs and the machine lacks.
#   setup.sh system          LLVM 22, a C compiler, a Rust toolchain: on Debian by apt-get
#   setup.sh polybench       the same, and clang-22 with Polly, the peer of the PolyBench programs
#   setup.sh python FOLDER REQUIREMENTS   a virtual environment, for the tests and benches that compare with NumPy
set -euo pipefail

say() { printf '%s\n' "$*" >&2; }

# Prints what is missing, as the names of Debian's packages.
missing_packages() {
  command -v llvm-config-22 >/dev/null || echo llvm-22-dev
  [ -e /usr/lib/llvm-22/lib/libPolly.a ] || [ -n "$(find /usr -name 'libPolly*' -path '*22*' -print -quit 2>/dev/null)" ] || echo libpolly-22-dev
  [ -e /usr/include/zstd.h ] || echo libzstd-dev
  [ -e /usr/include/zlib.h ] || echo zlib1g-dev
  command -v cc >/dev/null || echo gcc libc6-dev
  { command -v cc >/dev/null && echo 'int main(void){return 0;}' | cc -x c - -lgomp -o /dev/null 2>/dev/null; } || echo libgomp1 gcc
  python3 -c 'import venv, ensurepip' 2>/dev/null || echo python3-venv
  if [ "$1" = polybench ]; then command -v clang-22 >/dev/null || echo clang-22; fi
}

case "${1:-}" in
  system | polybench)
    if ! command -v cargo >/dev/null; then
      say "moat: no Rust toolchain found: install rustup (https://rustup.rs), then run this command again"
      exit 2
    fi
    mapfile -t packages < <(missing_packages "$1" | tr ' ' '\n' | sort -u)
    [ "${#packages[@]}" -eq 0 ] && exit 0
    if ! command -v apt-get >/dev/null; then
      say "moat: missing: ${packages[*]} (Debian's names): install them with this system's package manager"
      exit 2
    fi
    run=()
    if [ "$(id -u)" -ne 0 ]; then
      command -v sudo >/dev/null || { say "moat: missing: ${packages[*]}: run 'apt-get install ${packages[*]}' as root"; exit 2; }
      run=(sudo)
    fi
    say "moat: installing ${packages[*]}"
    "${run[@]}" apt-get update -qq
    if ! "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null; then
      say "moat: apt-get could not install ${packages[*]}: LLVM 22 needs Debian 12 or later with its security updates enabled"
      exit 2
    fi
    ;;
  python)
    folder=${2:?the folder of the environment}
    requirements=${3:?the requirements file}
    say "moat: making a Python environment from $requirements"
    python3 -m venv "$folder"
    "$folder/bin/python" -m pip install --quiet --requirement "$requirements"
    touch "$folder/ready"
    ;;
  *)
    say "usage: setup.sh system | polybench | python FOLDER REQUIREMENTS"
    exit 2
    ;;
esac
