#!/usr/bin/env bash
# The GPU's share of the benchmarks, on a machine that can download nothing.
#
#   benchmarks/gpu.sh [--wheels DIR] [--out DIR] [--seconds N] [--device gpu|cpu]
#
# The machine has Python 3.12 and, working with its GPU, JAX >= 0.11 and NumPyro >= 0.21; `make gpu-wheels` packs
# what else is needed. Each scenario gets its share of the seconds (480 unless told) and goes on where it
# stopped when this is run again. Copy the cells/ of each directory under OUT beside those of the CPU, and
# `nestor bench table` makes one table of them. `--device cpu` tries all this out where there is no GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wheels=wheels out=nestor-out/gpu seconds=480 device=gpu python=${PYTHON:-python3}
while (($#)); do
    case $1 in
    --wheels) wheels=$2 ;;
    --out) out=$2 ;;
    --seconds) seconds=$2 ;;
    --device) device=$2 ;;
    *)
        echo "unknown option $1; see the head of ${BASH_SOURCE[0]}" >&2
        exit 2
        ;;
    esac
    (($# >= 2)) || { echo "$1 needs a value" >&2 && exit 2; }
    shift 2
done

begin=$SECONDS
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
compgen -G "$wheels/nestor-*.whl" >/dev/null || {
    echo "there are no wheels in $wheels: make them by 'make gpu-wheels' on a machine with a package index" >&2
    exit 2
}
"$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl
export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}
mkdir -p "$out"

nestor() { "$python" -m nestor "$@"; }
left() { echo $((seconds - (SECONDS - begin))); }
# The suites take two minutes; what is left then is shared by the scenarios that have not run yet.
suites=$((seconds / 4))
scenarios=(simulated-3-level chains simulated-nodes)
failed=0
for i in "${!scenarios[@]}"; do
    share=$(((seconds - suites - (SECONDS - begin)) / (${#scenarios[@]} - i)))
    ((share > 0)) || { echo "no time is left for ${scenarios[i]}" && continue; }
    echo "== ${scenarios[i]}, $share s"
    nestor bench "${scenarios[i]}" --quick --device "$device" --budget "$share" --out "$out/${scenarios[i]}" || failed=1
done
if "$python" -c 'import pytest, pytest_benchmark' 2>/dev/null && (($(left) > 20)); then
    echo "== pytest benchmarks"
    timeout --kill-after=5 "$(left)" "$python" -m pytest benchmarks -q -p no:cacheprovider --device "$device" \
        -k "density or short_sampling or vectorized or precision or transfer" \
        --benchmark-json="$out/suites-$device.json" || { echo "the suites failed, or time ran out" && failed=1; }
fi
echo "records in $out after $((SECONDS - begin)) s"
exit $failed
