"""Give MLflow the pyfunc when it runs this file as a model's code."""

from mlflow.models import set_model

from spamctl.serving.pyfunc import SpamModel

set_model(SpamModel())
