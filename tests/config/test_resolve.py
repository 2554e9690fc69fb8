"""A flag beats a variable, a variable a file, a file the default; and every fault is named at once."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.config.options import Given
from spamctl.config.sources import resolve, validate
from spamctl.config.verbs import VERBS
from spamctl.errors import OptionsError
from tests.each import each

TRAIN = VERBS["train"]
EVERY = [(options, option) for options in VERBS.values() for option in options.declared()]
SPECIAL = {
    "prompt": ["{message}", "{message} Spam?", "none", "Read {message}"],
    "messages": ["200", "210", "220", "230"],
    "delay": ["1d", "2d", "3d", "4d"],
    "older_than": ["1d", "2d", "3d", "4d"],
    "since": ["1d", "2d", "3d", "4d"],
    "watch": ["15m", "1h", "1d", "30s"],
    "webhook": [f"https://example.org/{number}" for number in range(4)],
    "source": ["truth", "review", "predictions", "truth"],
    "model_version": ["latest", "3", "challenger", "12"],
    "shadow": ["challenger", "3", "latest", "12"],
    "feedback_max_age": ["1d", "2d", "3d", "4d"],
    "feedback_sources": ["review", "file,user", "simulated", "user,file"],
    "encoding": ["cp1252", "utf-16", "auto", "gb18030"],
    "hold_out_kinds": ["1", "2", "3", "4"],
    "depth": ["full", "1", "7", "12"],
    "target_uri": [f"http://127.0.0.1:{port}/x" for port in range(8081, 8085)],
    "threads": ["1", "0"],
    "spamd": [f"127.0.0.1:{port}" for port in range(1783, 1787)],
    "to": ["3", "previous", "12", "1"],
    "min_replicas": ["1", "2", "3", "4"],
    "memory_mib": ["512", "1024", "2048", "4096"],
    "step_memory_mib": ["512", "1024", "2048", "4096"],
    "datastore": [f"s3://bucket/{number}" for number in range(4)],
    **{f"{verb}_schedule": [f"{hour} 3 * * 0" for hour in range(4)] for verb in ("train", "label", "monitor", "score")},
}
# An option that only another gives a meaning is refused without it.
BESIDE = {
    **{("label", name): {"source": "truth"} for name in ("noise", "coverage", "delay", "overwrite")},
    **{("label", name): {"source": "review"} for name in ("suspects", "second_opinion")},
    ("label", "labels"): {"source": "file"},
    **{
        ("train", name): {"feedback": "spam.db"}
        for name in ("feedback_sources", "feedback_max_age", "feedback_weight", "recent_share")
    },
    ("traffic", "drift_type"): {"hold_out_kinds": "1"},
    **{(verb, "good"): {"spam": "Junk"} for verb in ("train", "traffic", "recalibrate")},
    **{(verb, "spam"): {"good": "INBOX"} for verb in ("train", "traffic", "recalibrate")},
    **{("score", name): {"output": "verdicts.csv"} for name in ("with_text", "resume")},
    ("label", "export_simulated"): {"export": "out.csv"},
    **{("score", name): {"output": "parts/"} for name in ("workers", "part_size")},
    **{("deploy", f"{verb}_schedule"): {"datastore": "s3://bucket/x"} for verb in ("train", "label", "monitor")},
    ("deploy", "score_schedule"): {"datastore": "s3://bucket/x", "score": "score.yaml"},
}


def values(option):
    """Give four texts that an option takes, the default not first among them."""
    if option.name in SPECIAL:
        texts = SPECIAL[option.name]
    elif option.choices:
        texts = list(option.choices)
    elif option.kind is bool:
        texts = [str(not option.default).lower(), str(option.default).lower()]
    elif option.kind is str:
        texts = ["one", "two", "three", "four"]
    else:
        texts = ["0.1", "0.2", "0.3", "0.4"] if option.kind is float else ["8", "9", "10", "11"]
    return list(itertools.islice(itertools.cycle(texts), 4))


@pytest.fixture
def settle(tmp_path):
    """Settle options from what four places say; the file may be given as a mapping or as text."""

    def settle(options=TRAIN, *, flags=None, environ=None, dotenv="", yaml=None):
        (tmp_path / ".env").write_text(dotenv)
        config = tmp_path / "fast.yaml"
        if yaml is not None:
            config.write_text(yaml)
        every = dict.fromkeys((option.name for option in options.declared()), None) | (flags or {})
        return resolve(
            options, every, config=config if yaml is not None else None, environ=environ or {}, folder=tmp_path
        )

    return settle


@pytest.fixture
def faults(settle):
    """Return the faults of what four places say."""

    def faults(**places):
        with pytest.raises(OptionsError) as refusal:
            settle(**places)
        return refusal.value.faults

    return faults


@each(("options", "option"), EVERY)
def test_each_place_beats_those_after_it(settle, options, option):
    typed, set_in_shell, set_in_dotenv, kept = values(option)
    places = {
        "flags": {option.name: typed},
        "environ": {option.variable: set_in_shell},
        "dotenv": f"{option.variable}={set_in_dotenv}\n",
        "yaml": f"{option.name}: {kept}\n",
    }
    for text in (typed, set_in_shell, set_in_dotenv, kept):
        flags = BESIDE.get((options.verb, option.name), {}) | places.get("flags", {})
        chosen = getattr(settle(options, **places | {"flags": flags}).options, option.name)
        assert type(chosen) is option.kind
        assert (str(chosen).lower() if option.kind is bool else str(chosen)) == text
        places.pop(next(iter(places)))
    assert getattr(settle(options).options, option.name) == option.default


@given(st.data())
def test_any_value_in_range_survives_its_spelling(data):
    option = data.draw(st.sampled_from([option for option in TRAIN.declared() if option.kind is float]))
    value = data.draw(st.floats(min_value=1e-9, max_value=0.999))
    beside = BESIDE.get(("train", option.name), {})
    given = {option.name: repr(value)} | beside
    chosen = validate(TRAIN, [{name: Given(text, f"--{name}") for name, text in given.items()}])
    assert getattr(chosen, option.name) == value


def test_all_faults_are_named_at_once_each_where_it_was_made(faults):
    assert faults(
        flags={"epochs": "0", "depth": "-1", "model_name": "../../etc"},
        environ={"SPAMCTL_TRAIN_LEARNING_RATE": "fast", "SPAMCTL_TRAIN_EPOCH": "3"},
        dotenv="SPAMCTL_TRAIN_PATIENCE=-1\nSPAMCTL_TRIAN_SEED=1\n",
        yaml="batch_size: many\nbalanced: undersample\ntune: lst-block\nseed: 1.5\n",
    ) == [
        "SPAMCTL_TRAIN_EPOCH: there is no such variable; did you mean SPAMCTL_TRAIN_EPOCHS?",
        "SPAMCTL_TRIAN_SEED in .env: there is no such variable; did you mean SPAMCTL_TRAIN_SEED?",
        "balanced in fast.yaml: there is no such option; did you mean balance?",
        "--depth: must be auto, full or a whole number of at least 1, got -1",
        (
            "tune in fast.yaml: must be one of auto, head, last-block, lora, full, "
            "got 'lst-block'; did you mean last-block?"
        ),
        "--epochs: must be at least 1, got 0",
        "SPAMCTL_TRAIN_LEARNING_RATE: must be a number, got 'fast'",
        "batch_size in fast.yaml: must be a whole number, got 'many'",
        "SPAMCTL_TRAIN_PATIENCE in .env: must be at least 1, got -1",
        "seed in fast.yaml: must be a whole number, got 1.5",
        "--model-name: must be 1 to 100 letters, digits and . _ - and not begin with a dot, got '../../etc'",
    ]


@each(
    ("name", "text", "fault"),
    [
        ("epochs", "0", "must be at least 1, got 0"),
        ("epochs", "101", "must be at most 100, got 101"),
        ("epochs", "9" * 40, f"must be at most 100, got {'9' * 40}"),
        ("epochs", "true", "must be a whole number, got 'true'"),
        ("epochs", "", "is empty; give a value or leave it out"),
        ("dataset", "", "is empty; give a value or leave it out"),
        ("learning_rate", "0", "must be more than 0, got 0"),
        ("learning_rate", "nan", "must be a finite number, got nan"),
        ("learning_rate", "inf", "must be a finite number, got inf"),
        ("learning_rate", "1e999", "must be a finite number, got 1e999"),
        ("max_false_positive_rate", "1", "must be less than 1, got 1"),
        ("gate", "points", "must be one of point, lower-bound, got 'points'; did you mean point?"),
        ("engine", "gpu", "must be one of auto, int8, int8-weights, float32, got 'gpu'"),
        ("depth", "0", "must be auto, full or a whole number of at least 1, got 0"),
        ("depth", "half", "must be auto, full or a whole number of at least 1, got 'half'"),
        ("epochs", "\x1b[31m3", r"must be a whole number, got '\x1b[31m3'"),
        ("epochs", "x" * 999, f"must be a whole number, got '{'x' * 59}…'"),
    ],
)
def test_a_fault_says_what_is_wrong_and_what_was_given(faults, name, text, fault):
    flag = f"--{name.replace('_', '-')}"
    assert faults(flags={name: text}) == [f"{flag}: {fault}"]


@each("name", ["..", ".hidden", "a/b", "a\\b", "a b", "", "x" * 101, "naïve", "a\n"])
def test_a_model_name_is_no_path(faults, name):
    (fault,) = faults(flags={"model_name": name})
    assert fault.startswith("--model-name: ")


@each("name", ["spam", "Spam-2.b_c", "9", "x" * 100])
def test_a_plain_model_name_is_taken(settle, name):
    assert settle(flags={"model_name": name}).options.model_name == name


def test_threads_are_bounded_by_the_cores(faults, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    assert faults(environ={"SPAMCTL_TRAIN_THREADS": "3"}) == [
        "SPAMCTL_TRAIN_THREADS: must be at most 2, the cores free to use here, got 3"
    ]


def test_a_value_that_is_overruled_is_not_judged(settle):
    assert settle(flags={"epochs": "4"}, yaml="epochs: many\n").options.epochs == 4


def test_other_variables_of_dotenv_reach_the_child_but_never_beat_the_shell(settle):
    dotenv = "MLFLOW_TRACKING_URI=http://a\nexport AWS_PROFILE='me too'\n"
    settled = settle(dotenv=dotenv, environ={"MLFLOW_TRACKING_URI": "http://b"})
    assert settled.variables == {"MLFLOW_TRACKING_URI": "http://b", "AWS_PROFILE": "me too"}


def test_variables_of_other_verbs_and_of_the_program_are_known(settle):
    settle(environ={"SPAMCTL_UI_PORT": "1", "SPAMCTL_CACHE_DIR": "/tmp", "SPAM": "1"})


def test_a_variable_like_none_we_know_is_refused_with_a_place_to_look(faults):
    assert faults(environ={"SPAMCTL_ZZZZ": "1"}) == [
        "SPAMCTL_ZZZZ: there is no such variable; spamctl VERB --help-all lists the variables of a verb"
    ]
