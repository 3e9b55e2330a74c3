# Sourced by the other scripts: `setup_env test` or `setup_env dev` makes the virtual
# environment .venv, brings it up to date, and sets PY to its interpreter.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"
PY="$VENV/bin/python"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PYTHONUNBUFFERED=1
cd "$ROOT" || exit 1

say() { printf '[helion] %s\n' "$*" >&2; }

base_python() {
    local python="${HELION_PYTHON:-python3}"
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
        say "Python 3.10 or newer is needed; HELION_PYTHON names the one to use"
        return 1
    fi
    "$python" -c 'import sys; print(sys.executable)'
}

has_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; }

# Is there a torch that can use the GPU, and a Triton, both new enough?
has_gpu_torch() {
    "$1" - >/dev/null 2>&1 <<'PY'
import sys, torch, triton
version = lambda text: tuple(int(part) for part in text.split("+")[0].split(".")[:2])
ready = torch.version.cuda is not None and torch.cuda.is_available()
fresh = version(torch.__version__) >= (2, 11) and version(triton.__version__) >= (3, 6)
sys.exit(not (ready and fresh))
PY
}

# "shared": the GPU build that is here already; "newest": a GPU, but nothing to share;
# "pinned": no GPU, so the versions that CI tests, in their CPU build.
install_mode() { # python, yes or no: is there a GPU
    if [ "$2" = no ]; then echo pinned
    elif has_gpu_torch "$1"; then echo shared
    else echo newest
    fi
}

packages_of() { # extra -> the modules that the "shared" mode may have to add
    case "$1" in
        test) echo "coverage numpy pytest xdist:pytest-xdist rich" ;;
        dev) echo "coverage numpy pytest xdist:pytest-xdist rich ruff pyright" ;;
    esac
}

make_shared_env() { # python, extra: see the packages of `python`, add only what lacks
    [ -x "$PY" ] || "$1" -m venv --system-site-packages --without-pip "$VENV" || return 1
    # A venv made from a venv does not inherit its packages; a .pth line gives them.
    "$1" - "$ROOT" "$("$PY" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" <<'PY'
import pathlib, sys, sysconfig
root, target = sys.argv[1:]
paths = [root, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
lines = "".join(f"{path}\n" for path in dict.fromkeys(paths))
pathlib.Path(target, "helion_dev.pth").write_text(lines)
PY
    local entry missing=()
    for entry in $(packages_of "$2"); do
        "$PY" -c "import ${entry%%:*}" 2>/dev/null || missing+=("${entry##*:}")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    say "adding ${missing[*]}"
    "$1" -m pip --python "$PY" install -qq "${missing[@]}" ||
        say "could not add ${missing[*]}; going on without"
}

make_own_env() { # python, extra, pip arguments...
    local python="$1" extra="$2" pip started=$SECONDS
    shift 2
    [ -x "$PY" ] || "$python" -m venv "$VENV" || return 1
    "$PY" -m pip install -qq "$@" -e ".[$extra]" &
    pip=$!
    while sleep 1; kill -0 "$pip" 2>/dev/null; do
        (((SECONDS - started) % 15)) || say "still installing, $((SECONDS - started)) s"
    done
    wait "$pip"
}

setup_env() { # extra
    local extra="$1" python gpu=no mode wanted stamp
    python="$(base_python)" || exit 1
    has_gpu && gpu=yes
    wanted="$(printf '%s\n' "$python" "$gpu" "$ROOT" |
        cat - pyproject.toml constraints.txt scripts/_setup.sh | sha256sum | cut -d' ' -f1)"
    for stamp in "$VENV/.ready-$extra" "$VENV/.ready-dev"; do
        [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && return 0
    done
    mode="$(install_mode "$python" "$gpu")"
    # Another interpreter or another mode needs another environment, not a patched one.
    [ "$(cat "$VENV/.made-of" 2>/dev/null)" = "$python $mode" ] || rm -rf "$VENV"
    say "installing into .venv ($mode versions; the first time takes a minute or two)"
    case "$mode" in
        shared) make_shared_env "$python" "$extra" ;;
        newest) make_own_env "$python" "$extra" ;;
        pinned) make_own_env "$python" "$extra" -c constraints.txt ;;
    esac || { say "the installation failed; its messages stand above"; exit 1; }
    echo "$python $mode" >"$VENV/.made-of"
    echo "$wanted" >"$VENV/.ready-$extra"
    say "the environment is ready"
}
