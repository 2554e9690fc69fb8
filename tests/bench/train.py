"""Measure training beside the usual way to fine-tune GPT-2, and the packaged engine beside other engines.

    python tests/bench/train.py [--part seed|engine|all] [--threads 2] [--device cpu|cuda] [--depth 9] [--quick]

It prints tables and asserts nothing. `--quick` only shows that everything runs: its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import os
import sys

PACKAGES = ("torch", "transformers", "openvino", "nncf", "onnxruntime")


def main() -> None:
    """Run the parts that are asked for, one after the other, in this one process."""
    options = parsed()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a file is watched as a terminal is
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # read once, when numpy and torch load
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    from measuring import circumstances

    print(circumstances(options.threads, PACKAGES))
    if options.quick:
        print("quick: these numbers only show that everything runs")
    if options.part in ("seed", "all"):
        import usual_way

        usual_way.show(options.threads, device=options.device, quick=options.quick)
    if options.part in ("engine", "all"):
        import engine_kinds

        engine_kinds.show(options.threads, depth=options.depth, quick=options.quick)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", choices=("seed", "engine", "all"), default="all", help="what to measure")
    parser.add_argument("--threads", type=int, default=2, help="processor threads of everything that is timed")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where both ways fine-tune GPT-2")
    parser.add_argument("--depth", type=int, default=9, help="blocks of smollm2-135m that the engines run")
    parser.add_argument("--quick", action="store_true", help="run everything on next to nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
