"""On a cluster of Spark, the registered model gives a table the verdicts of `spamctl score`, and stores nothing."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from importlib import resources, util
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests import tiny_models
from tests.conftest import OUR_VARIABLES
from tests.mlflow_loaded import load_mlflow
from tests.registered import register
from tests.scale.spark import spark_package

pytestmark = pytest.mark.scale
ROWS = 100_000
FEW = 2_000
CLUSTER = "local-cluster[2,1,1024]"  # executors with a core and a GiB each, in processes of their own


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Return a folder with a champion and a parquet file of messages, of which one is empty and one missing."""
    load_mlflow()
    folder = tmp_path_factory.mktemp("table")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        register(0.5, "champion")
    drawn = tiny_models.messages(300)
    texts = [f"{drawn[place % 300].text} {'and ' * (place % 23)}{place}" for place in range(ROWS - 2)]
    table = pa.table({"text": [*texts, "", None], "place": range(1, ROWS + 1)})
    parquet.write_table(table, folder / "messages.parquet", row_group_size=ROWS // 4)
    return folder


@pytest.fixture(scope="module")
def place(table):
    """Return the folder with the table; what Spark needs must be installed."""
    if not util.find_spec("pyspark"):
        pytest.skip("needs pyspark: uv sync --group scale")
    if not shutil.which("java"):
        pytest.skip("needs Java 17: apt install openjdk-17-jre-headless")
    with spark_package():
        yield table


def run(place, program, **variables):
    """Run Python in the folder, as a user with Spark does."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(OUR_VARIABLES)}
    spark = {
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db",
    }
    words = f"--master {CLUSTER} --conf spark.ui.enabled=false --conf spark.sql.shuffle.partitions=2 pyspark-shell"
    program = program if isinstance(program, list) else ["-c", program]
    done = subprocess.run(
        [sys.executable, *program],
        cwd=place,
        env=ours | spark | {"PYSPARK_SUBMIT_ARGS": words, "HOME": str(place), "USER": "ada"} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    return done


def topic(engine="Spark"):
    """Return the lines that the topic `scoring` has for Spark, or for another engine."""
    text = resources.files("spamctl.cli").joinpath("texts", "scoring.txt").read_text(encoding="utf-8")
    (block,) = re.findall(rf"On {engine} .*?\n\n(.*?)\n\n", text, re.DOTALL)
    return textwrap.dedent(block)


@pytest.fixture(scope="module")
def answers(place):
    """Return the rows that the lines of the topic make of the table."""
    done = run(place, topic())
    assert done.returncode == 0, done.stderr
    return answers_in(place)


def answers_in(place):
    """Return the rows of the folder `verdicts`, each with its text."""
    return [{"text": row["text"]} | row["a"] for row in parquet.read_table(place / "verdicts").to_pylist()]


def test_the_topic_has_six_lines_for_it():
    assert len(topic().splitlines()) == 6


def test_the_lines_of_the_topic_give_the_verdicts_of_score_to_the_last_bit(place, answers):
    assert_verdicts_of_score(place, answers)


def assert_verdicts_of_score(place, answers):
    """Hold that each answer is what `spamctl score` says of its text, and that none is missing or there twice."""
    done = run(place, ["-m", "spamctl", "score", "messages.parquet", "--output", "one.parquet", "--with-text"])
    assert done.stderr.splitlines()[-1].endswith(f"1 with no text (messages.parquet {ROWS}); mend them")
    scored = {row["text"]: row for row in parquet.read_table(place / "one.parquet").to_pylist() if not row["fault"]}
    assert len(answers) == len(scored) == ROWS - 1
    for answer in answers:
        for name in ("classification", "probability", "in_reach", "truncated", "model_version"):
            assert answer[name] == scored[answer["text"]][name], (name, answer)
    assert len({answer["uuid"] for answer in answers}) == ROWS - 1


def test_nothing_is_captured_on_a_cluster_unless_a_store_is_named(place, answers):
    assert not any(answer["captured"] for answer in answers)
    assert not list(Path(place).rglob("spam.db"))


PROBE = """
import mlflow, os, sys, threading
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
spam = mlflow.pyfunc.spark_udf(spark, "models:/spam@champion")
rows = spark.read.parquet("messages.parquet").where(f"place <= {sys.argv[1]}").repartition(8)
rows.select(spam("text").alias("a")).select("a.*").write.mode("overwrite").parquet("b")

def look(tables):
    from spamctl.serving import mlflow_model, pyfunc
    for table in tables:
        engines = list(pyfunc._engines.values())
        streams = [engine.most_streams for engine in engines]
        yield table.assign(pid=os.getpid(), engines=len(engines), streams=[streams] * len(table),
                           inside=mlflow_model.in_spark())[["pid", "engines", "streams", "inside"]]

# The workers of a table's columns: those of an RDD are others, which have never seen the model.
shown = spark.range(8).repartition(8).mapInPandas(look, "pid long, engines int, streams array<int>, inside boolean")
print("FOUND", [(one.pid, one.engines, list(one.streams), one.inside) for one in shown.collect()])
from spamctl.serving import mlflow_model
print("DRIVER", mlflow_model.in_spark())
spark.stop()
"""


def test_a_worker_keeps_one_engine_with_the_threads_of_a_task(place):
    done = run(place, ["-c", PROBE, str(FEW)], SPAMCTL_SERVE_DATASTORE_URI=f"sqlite:///{place}/asked.db")
    assert done.returncode == 0, done.stderr
    found = eval(re.search(r"FOUND (.*)", done.stdout)[1])
    assert {(engines, tuple(streams), inside) for _, engines, streams, inside in found} == {(1, (1,), True)}
    assert len({pid for pid, *_ in found}) <= 2
    assert "DRIVER False" in done.stdout
    assert all(row["captured"] for row in parquet.read_table(place / "b").to_pylist())
    assert (place / "asked.db").is_file()
