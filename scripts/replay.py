"""Emit the Triton code of all examples under several Configs, or diff two such sets."""

from __future__ import annotations

import argparse
import difflib
import random
import sys
from pathlib import Path

RANDOM_CONFIGS = 3


def emit_all(tree: Path, out: Path) -> int:
    """Write the code that the compiler in ``tree`` emits for its own examples."""
    # The tree's packages come before the installed ones, which are the work tree's.
    sys.path.insert(0, str(tree))
    from examples._catalog import CASES
    from scripts.quickstart import to_fake_cuda

    out.mkdir(parents=True, exist_ok=True)
    failures = 0
    for case in CASES:
        try:
            bound = case.kernel.bind(to_fake_cuda(case.make_args("cpu", True)))
            spec = bound.config_spec
            configs = {"default": spec.default_config()}
            for seed in range(RANDOM_CONFIGS):
                configs[f"random{seed}"] = spec.random_config(random.Random(seed))
        except Exception as err:
            failures += 1
            (out / f"{case.name}.error").write_text(f"{type(err).__name__}: {err}\n")
            continue
        for label, config in configs.items():
            try:
                text = f"# {config!r}\n{bound.to_triton_code(config)}"
            except Exception as err:
                failures += 1
                text = f"# {config!r}\n# {type(err).__name__}: {err}\n"
            text = text.replace(str(tree), ".")
            (out / f"{case.name}.{label}.py").write_text(text)
    return failures


def diff_all(base: Path, work: Path) -> int:
    """Print how two sets differ and return the number of files that do."""
    names = sorted({p.name for folder in (base, work) for p in folder.iterdir()})
    differing = 0
    for name in names:
        before, after = read_lines(base / name), read_lines(work / name)
        if before == after:
            continue
        differing += 1
        old, new = f"base/{name}", f"work/{name}"
        sys.stdout.writelines(difflib.unified_diff(before, after, old, new))
    print(f"{differing} of {len(names)} generated files differ")
    return differing


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file, none if it is not there."""
    return path.read_text().splitlines(keepends=True) if path.exists() else []


def main() -> int:
    """Run the ``emit`` or the ``diff`` command."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    emit = commands.add_parser("emit")
    emit.add_argument("--tree", type=Path, required=True)
    emit.add_argument("--out", type=Path, required=True)
    diff = commands.add_parser("diff")
    diff.add_argument("base", type=Path)
    diff.add_argument("work", type=Path)
    args = parser.parse_args()
    if args.command == "emit":
        failures = emit_all(args.tree, args.out)
        if failures:
            print(f"{failures} could not be emitted; their errors are in {args.out}")
        return 0
    return int(diff_all(args.base, args.work) > 0)


if __name__ == "__main__":
    sys.exit(main())
