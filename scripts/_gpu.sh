# Sourced after _setup.sh: `gpu_env` sets PY to an interpreter for work on the GPU. One
# that already has what is needed is used as it is, so that no network is needed.

gpu_env() {
    local python
    python="$(base_python)" || exit 1
    if has_gpu_torch "$python" && "$python" -c 'import pytest, rich' 2>/dev/null; then
        PY="$python"
        export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
    else
        setup_env test
    fi
}
