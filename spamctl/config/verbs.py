"""List the verbs with their options, and the variables that belong to no option."""

from typing import Final

from spamctl.config.admin import (
    CardsOptions,
    DemoOptions,
    ForgetOptions,
    HelpOptions,
    RollbackOptions,
    TraceOptions,
    UiOptions,
)
from spamctl.config.deploy import DeployOptions
from spamctl.config.label import LabelOptions
from spamctl.config.monitor import MonitorOptions
from spamctl.config.options import Options
from spamctl.config.score import ScoreOptions
from spamctl.config.serve import ServeOptions
from spamctl.config.traffic import TrafficOptions
from spamctl.config.train import RecalibrateOptions, TrainOptions

VERBS: Final[dict[str, type[Options]]] = {
    options.verb: options
    for options in (
        *(TrainOptions, ServeOptions, TrafficOptions, LabelOptions, MonitorOptions, RecalibrateOptions, ScoreOptions),
        *(
            DeployOptions,
            RollbackOptions,
            ForgetOptions,
            TraceOptions,
            DemoOptions,
            CardsOptions,
            UiOptions,
            HelpOptions,
        ),
    )
}

OTHER_VARIABLES: Final = {
    "MLFLOW_TRACKING_URI": "MLflow tracking store: a database or a server; default sqlite:///mlflow.db.",
    "SPAMCTL_CACHE_DIR": "Cache folder for weights and data.",
    "SPAMCTL_SERVE_TOKEN": "Token that clients of the server must send, unless --token-file is given.",
    "SPAMCTL_SMS_SPAM_URL": "URL of the full SMS Spam Collection; empty uses the bundled copy.",
}


def known_variables() -> list[str]:
    """Name every SPAMCTL_* variable that means something."""
    return [*OTHER_VARIABLES, *(option.variable for options in VERBS.values() for option in options.declared())]
