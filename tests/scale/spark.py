"""Leave a local cluster of Spark nothing behind in the package that it comes from."""

import contextlib
import shutil
from importlib import util
from pathlib import Path


@contextlib.contextmanager
def spark_package():
    """Remove at the end what a local cluster's workers write into the package of Spark.

    It has not installed it: when it goes, an empty `pyspark` would stay, which others, MLflow too, take for the real
    one.
    """
    pyspark = util.find_spec("pyspark")
    try:
        yield
    finally:
        if pyspark and pyspark.origin:
            shutil.rmtree(Path(pyspark.origin).with_name("work"), ignore_errors=True)
