"""List the verbs with their options, and the variables that are no option of any verb."""

from typing import Final

from spamctl.config.options import Options
from spamctl.config.train import TrainOptions
from spamctl.config.viewers import CardsOptions, UiOptions

VERBS: Final[dict[str, type[Options]]] = {options.verb: options for options in (TrainOptions, CardsOptions, UiOptions)}

OTHER_VARIABLES: Final = {
    "SPAMCTL_CACHE_DIR": "Folder for weights and data that are worth keeping between runs.",
}


def known_variables() -> list[str]:
    """Name every SPAMCTL_* variable that means something."""
    return [*OTHER_VARIABLES, *(option.variable for options in VERBS.values() for option in options.declared())]
