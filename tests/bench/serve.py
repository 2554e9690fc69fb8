"""Measure spamctl's server beside its engine alone, the seed's way, and MLflow serving a pipeline of Transformers.

    python tests/bench/serve.py [--folder demo] [--threads 2] [--quick]

The folder holds a registered model in its mlflow.db; where there is none, one is trained first. Servers and the load
client are programs of their own, one server after the other. It prints tables and asserts nothing, and takes about
eight minutes. `--quick` only shows that everything runs: its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

from load_client import OK, Load, Plan
from measuring import circumstances, say, table
from servers import PROGRAMS, Server, Start, running

HERE, ROOT = Path(__file__).resolve().parent, Path(__file__).resolve().parents[2]
PACKAGES = ("onnxruntime", "uvicorn", "starlette", "sqlalchemy", "mlflow", "torch", "transformers")
QUIET = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "TOKENIZERS_PARALLELISM": "false"}
OFFLINE = {"HF_HUB_OFFLINE": "1"}
PATIENCE_S = 300
MANY = 32
ENGINE, OURS, SEED, PIPELINE = "the engine alone", "spamctl serve", "the seed's way", "a pipeline in MLflow"
SPEED = ("", "clients", "messages/s", "p50 ms", "p95 ms", "p99 ms", "of the engine", "x the seed", "timed", "not 200")
COST = ("", "first answer s", "peak MiB", "answered", "said captured", "in the store")
LEGEND = f"""{ENGINE}: called in a process of its own, one message at a time and {MANY}, in turns with {OURS}:
the lines of both are means of the same rounds.
{OURS}: capture required, its cache of verdicts off.
{SEED}: GPT-2 124M, random weights, float32 in PyTorch, each message padded to 1024 tokens, one at a time; MLflow's
scoring server, no capture.
{PIPELINE}: Transformers' text-classification around all blocks of the bundled language model in float32, with
its own padding; MLflow's scoring server, no capture.
first answer: from the command on, in a folder that knows nothing of the registry.
peak: the largest resident memory of each process of a server, summed."""


@dataclass(frozen=True, slots=True)
class Effort:
    """Say for how many seconds the engine and each server are measured, by one client and by many.

    The engine and our server are measured in turns, in `rounds`: a machine that is shared is not equally fast for long.
    """

    rounds: int = 5
    alone: float = 4.0
    ours: tuple[float, float] = (5.0, 12.0)
    others: tuple[float, float] = (30.0, 60.0)
    warm_up: float = 1.0


QUICK = Effort(1, 1.0, (2.0, 3.0), (3.0, 6.0), 0.0)


@dataclass(frozen=True, slots=True)
class Bench:
    """Hold where the model is, what is sent, and how much is done."""

    folder: Path
    scratch: Path
    threads: int
    effort: Effort

    @property
    def texts(self) -> Path:
        """Return the file of the messages."""
        return self.scratch / "texts.json"

    @property
    def registry(self) -> Mapping[str, str]:
        """Name the store of the registered model."""
        return {"MLFLOW_TRACKING_URI": f"sqlite:///{self.folder.resolve()}/mlflow.db"}


@dataclass(frozen=True, slots=True)
class Speed:
    """Hold one line of figures: how many messages a second, and how long one call lasted, by percentile."""

    rate: float
    times: Mapping[int, float]
    timed: int
    not_ok: int = 0

    @classmethod
    def of(cls, load: Load) -> Speed:
        """Take it from what a load client found."""
        not_ok = sum(count for status, count in load.statuses.items() if status != OK) + load.broken
        return cls(load.rate, load.times, load.timed, not_ok)


@dataclass(frozen=True, slots=True)
class Served:
    """Hold what was measured of one server."""

    loads: tuple[Load, Load]  # by one client, by many
    start_s: float
    peak_mib: float
    stored: int | None = None
    trained_s: float | None = None  # its first answer where it was trained
    again_s: float | None = None
    calm_mib: float | None = None  # at most, up to its first answer

    @property
    def starts(self) -> int:
        """Count the starts, each of which ended with an answer."""
        return 1 + (self.trained_s is not None) + (self.again_s is not None)

    @property
    def answered(self) -> int:
        """Count the messages that were answered, the first one after each start and warm-up included."""
        return self.starts + sum(load.statuses.get(OK, 0) for load in self.loads)


def main() -> None:
    """Run everything in order."""
    options = parsed()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a file is watched as a terminal is
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops what was started, as Ctrl-C does
    os.environ |= QUIET | {"OMP_NUM_THREADS": str(options.threads)}
    print(circumstances(options.threads, PACKAGES))
    if options.quick:
        print("quick: these numbers only show that everything runs")
    with tempfile.TemporaryDirectory(prefix="spamctl-bench-") as scratch:
        bench = Bench(options.folder, Path(scratch), options.threads, QUICK if options.quick else Effort())
        train_if_none(bench)
        print(f"\n{described(bench)}\n")
        show(*measured(bench))


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "demo", help="where a model is registered")
    parser.add_argument("--threads", type=int, default=2, help="processor threads of every engine that is timed")
    parser.add_argument("--quick", action="store_true", help="run everything for a moment")
    return parser.parse_args()


def train_if_none(bench: Bench) -> None:
    """See to it that there is a model."""
    if not (bench.folder / "mlflow.db").exists():
        say(f"no model in {bench.folder}: training one")
        bench.folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([PROGRAMS / "spamctl", "train"], cwd=bench.folder, check=True, stdout=sys.stderr)


def described(bench: Bench) -> str:
    """Write the messages down, and say what they are."""
    from spamctl.data.corpus import CorpusRequest, read_corpus
    from spamctl.data.split import split

    corpus = read_corpus(CorpusRequest())
    texts = [message.text for message in split(corpus.messages).test]
    bench.texts.write_text(json.dumps(texts), encoding="utf-8")
    return f"{len(texts)} test messages, again and again, each client in an order of its own;\n{corpus.origin}"


def measured(bench: Bench) -> tuple[dict[int, Speed], dict[str, Served]]:
    """Return the speed of the engine by messages at a time, and what was found of each server."""
    package = champion(bench)
    engine, ours = serve_ours(bench, package)
    return engine, {OURS: ours} | dict(serve_others(bench))


def champion(bench: Bench) -> Path:
    """Return a copy of the package that is served."""
    from spamctl.registry.registration import CHAMPION
    from spamctl.registry.versions import fetch

    os.environ |= bench.registry
    return Path(fetch("spam", CHAMPION, bench.scratch / "models").folder)


def alone(bench: Bench, package: Path) -> dict[int, Speed]:
    """Time the engine without a server."""
    say(ENGINE)
    found = json.loads(program("engine_alone.py", bench.texts, package, str(bench.threads), str(bench.effort.alone)))
    return {one["together"]: Speed(one["rate"], by_number(one["times"]), one["timed"]) for one in found}


def serve_ours(bench: Bench, package: Path) -> tuple[dict[int, Speed], Served]:
    """Measure the engine and spamctl's server in turns, the server in a folder of its own."""
    say(OURS)
    folder = bench.scratch / "ours"
    folder.mkdir()
    words = ["serve", "--port", "{port}", "--datastore-uri", f"sqlite:///{folder}/spam.db", "--cached-rows", "0"]
    words += ["--threads", str(bench.threads), "--capture", "required"]
    engine, loads = list[dict[int, Speed]](), list[tuple[Load, Load]]()
    start = Start([str(PROGRAMS / "spamctl"), *words], folder, bench.registry)
    with running(start) as server:
        first_s = server.start_s
    with running(replace(start, folder=bench.folder)) as server:
        trained_s, calm_mib = server.start_s, server.peak_mib()
    with running(start) as server:
        for number in range(bench.effort.rounds):
            say(f"round {number + 1} of {bench.effort.rounds}")
            engine.append(alone(bench, package))
            loads.append(under_load(bench, server, bench.effort.ours))
        peak_mib = server.peak_mib()
    with closing(sqlite3.connect(folder / "spam.db")) as store:
        (stored,) = store.execute("SELECT COUNT(*) FROM data").fetchone()
    for place, size in enumerate((1, MANY)):
        shares = sorted(load[place].rate / before[size].rate for load, before in zip(loads, engine, strict=True))
        print(f"{size:>2} at a time: from {shares[0]:.2f} to {shares[-1]:.2f} of the engine in {len(shares)} rounds")
    by_one, by_many = zip(*loads, strict=True)
    served = Served(
        (mean_load(by_one), mean_load(by_many)), first_s, peak_mib, stored, trained_s, server.start_s, calm_mib
    )
    return {size: mean_speed([one[size] for one in engine]) for size in (1, MANY)}, served


def mean_speed(speeds: Sequence[Speed]) -> Speed:
    """Return the mean of some rounds, and how much was timed in all."""
    times = {which: fmean(one.times[which] for one in speeds) for which in speeds[0].times}
    return Speed(fmean(one.rate for one in speeds), times, sum(one.timed for one in speeds))


def mean_load(loads: Sequence[Load]) -> Load:
    """Return the mean of some rounds, and what was counted in all."""
    return Load(
        rate=fmean(one.rate for one in loads),
        times={which: fmean(one.times[which] for one in loads) for which in loads[0].times},
        timed=sum(one.timed for one in loads),
        statuses=dict(sum((Counter(one.statuses) for one in loads), Counter())),
        captured=sum(one.captured for one in loads),
        broken=sum(one.broken for one in loads),
        cpu_ms=fmean(one.cpu_ms for one in loads),
    )


def serve_others(bench: Bench) -> Iterator[tuple[str, Served]]:
    """Yield what was found of MLflow's server with each of the models that we are compared with; say what failed."""
    say("saving the seed's way and the pipeline")
    program("other_ways.py", bench.scratch)
    words = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "-p", "{port}", "-m"]
    patient = {"MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": "600"} | OFFLINE
    for name, model in ((SEED, "seed"), (PIPELINE, "pipeline")):
        say(name)
        folder = bench.scratch / model
        start = Start([*words, str(folder)], folder, patient, plain=name == PIPELINE, stops_s=2.0)
        try:
            with running(start) as server:
                loads = under_load(bench, server, bench.effort.others, patience_s=0)  # it may have minutes to go
                yield name, Served(loads, server.start_s, server.peak_mib())
        except (SystemExit, subprocess.TimeoutExpired) as error:
            print(f"{name}: {error}")


def under_load(
    bench: Bench, server: Server, seconds: tuple[float, float], *, patience_s: float = 15.0
) -> tuple[Load, Load]:
    """Measure a server that is up, by one client and by many."""
    loads = []
    for clients, lasts in zip((1, MANY), seconds, strict=True):
        say(f"{clients} clients for {lasts:.0f} s" if clients > 1 else f"1 client for {lasts:.0f} s")
        warm_up = bench.effort.warm_up if patience_s else 0.0
        plan = Plan(server.port, server.plain, clients, lasts, warm_up, patience_s)
        found = json.loads(program("load_client.py", bench.texts, told=json.dumps(asdict(plan))))
        loads.append(Load(**found | {name: by_number(found[name]) for name in ("times", "statuses")}))
    return loads[0], loads[1]


def program(name: str, *words: Path | str, told: str = "") -> str:
    """Run a program that lies beside this one, and return what it prints; what it complains of is shown if it fails."""
    done = subprocess.run(
        [sys.executable, HERE / name, *words],
        input=told, capture_output=True, text=True, check=False, timeout=PATIENCE_S, env=os.environ | OFFLINE,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-4000:]}")
    return done.stdout


def by_number(told: Mapping[str, float]) -> dict[int, float]:
    """Turn the keys of JSON back into numbers."""
    return {int(key): value for key, value in told.items()}


def show(engine: Mapping[int, Speed], servers: Mapping[str, Served]) -> None:
    """Print both tables, and the goals."""
    speeds = {(ENGINE, size): speed for size, speed in engine.items()}
    for name, served in servers.items():
        speeds |= {(name, size): Speed.of(load) for size, load in zip((1, MANY), served.loads, strict=True)}
    print("", table(SPEED, [speed_line(speeds, *key) for key in speeds]), sep="\n")
    print("", table(COST, [cost_line(name, served) for name, served in servers.items()]), LEGEND, sep="\n\n")
    print("", *goals(speeds, servers), sep="\n")


def speed_line(speeds: Mapping[tuple[str, int], Speed], name: str, size: int) -> list[str]:
    """Write one line of the first table."""
    speed, engine, seed = speeds[name, size], speeds[ENGINE, size], speeds.get((SEED, size))
    times = [f"{speed.times[which]:,.1f}" if which in speed.times else "–" for which in (50, 95, 99)]
    ratios = [f"{speed.rate / engine.rate:.2f}", f"{speed.rate / seed.rate:,.0f}" if seed and seed.rate else "–"]
    clients = f"{size}" if name != ENGINE else f"{size} at a time"
    return [name, clients, f"{speed.rate:,.2f}", *times, *ratios, f"{speed.timed:,}", f"{speed.not_ok:,}"]


def cost_line(name: str, served: Served) -> list[str]:
    """Write one line of the second table."""
    captured = sum(load.captured for load in served.loads) + served.starts
    stored = ["–", "–"] if served.stored is None else [f"{captured:,}", f"{served.stored:,}"]
    figures = [f"{served.start_s:.1f}", f"{served.peak_mib:,.0f}", f"{served.answered:,}"]
    return [name, *figures, *stored]


def goals(speeds: Mapping[tuple[str, int], Speed], servers: Mapping[str, Served]) -> Iterator[str]:
    """Say what was aimed at beside what was found, and what the client itself costs."""
    for clients, share, times, calls, room_ms in ((1, 0.85, 200, 2, 20), (MANY, 0.80, 500, 2 * MANY, 50)):
        found, engine, seed = speeds[OURS, clients], speeds[ENGINE, clients], speeds[SEED, clients]
        goal_ms = 1000 * calls / engine.rate + room_ms
        faster = f"{found.rate / seed.rate:,.0f}x" if seed.rate else "–"
        yield (
            f"{clients:>2} {'clients' if clients > 1 else 'client'}: {found.rate / engine.rate:.2f} of the engine, "
            f"goal {share:.2f}; {faster} {SEED}, goal {times}x; "
            f"p99 {found.times.get(99, 0):.1f} ms, goal {goal_ms:.1f} ms"
        )
    ours = servers[OURS]
    yield (
        f"First answer: {ours.trained_s:.1f} s where it was trained, goal 5.0 s; {ours.start_s:.1f} s in a new folder, "
        f"and {ours.again_s:.1f} s when started there again"
    )
    yield f"Memory: {ours.calm_mib:,.0f} MiB up to the first answer, {ours.peak_mib:,.0f} MiB in all"
    cost = max(load.cpu_ms for load in ours.loads)
    yield f"The load client itself took {cost:.2f} ms of processor time an answer."


if __name__ == "__main__":
    main()
