"""An encoding that nobody knows is refused by every verb that reads a file, before anything is read."""

import pytest

from spamctl.config.label import LabelOptions
from spamctl.config.options import Given
from spamctl.config.sources import validate
from spamctl.config.traffic import TrafficOptions
from spamctl.config.train import TrainOptions
from spamctl.errors import OptionsError


def chosen(options, encoding):
    return validate(options, [{"encoding": Given(encoding, "--encoding")}]).encoding


@pytest.mark.parametrize("options", [TrainOptions, TrafficOptions, LabelOptions])
def test_encodings_of_text_are_taken_and_no_others(options):
    for name in ("auto", "utf-8", "UTF-16", "latin-1", "cp1252", "gb18030"):
        assert chosen(options, name) == name
    for name in ("none", "hex", "zlib", "rot13", "utf-8\0", "../utf-8", "ü" * 300):
        with pytest.raises(OptionsError, match="--encoding: must be auto or an encoding such as utf-8, cp1252 or gb1"):
            chosen(options, name)
