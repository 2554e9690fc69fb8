"""Several datasets are one corpus, and each message knows where it is from."""

import pytest

from spamctl.data import corpus as datasets
from spamctl.data import split as families
from spamctl.data.bundled_sets import EVERYDAY
from spamctl.data.cleaning import leakage
from spamctl.data.corpus import DEFAULT, OWN, CorpusRequest, dataset_names, read_datasets, training_weights
from spamctl.data.split import split
from spamctl.errors import DataError
from spamctl.schema.message import NOT_SPAM, SPAM, Message, Traits
from spamctl.schema.train import Leakage


@pytest.fixture(scope="module")
def both():
    return read_datasets(CorpusRequest(DEFAULT))


def own_file(folder, rows=40):
    path = folder / "mine, and more.csv"
    lines = [
        f"{'spam' if n % 2 else 'ham'},message {'abcdefghij'[n % 10]}{'klmnopqrst'[n // 10]} of mine"
        for n in range(rows)
    ]
    path.write_text("\n".join(["label,text", *lines]), encoding="utf-8")
    return path


def test_a_path_with_a_comma_is_one_dataset(tmp_path):
    path = own_file(tmp_path)
    assert dataset_names(str(path)) == (str(path),)
    assert dataset_names("sms-spam, everyday") == ("sms-spam", "everyday")


@pytest.mark.parametrize(
    ("dataset", "said"), [("sms-spam,", "a name is missing"), ("everyday,everyday", "named twice")]
)
def test_a_list_that_cannot_be_meant_is_refused(dataset, said):
    with pytest.raises(DataError, match=said):
        dataset_names(dataset)


def test_both_bundled_datasets_are_read_and_told_apart(both):
    found = {message.traits.dataset for message in both.messages}
    assert found == {"sms-spam", EVERYDAY}
    assert "everyday, written for spamctl" in both.origin
    assert both.sha256 != read_datasets(CorpusRequest("everyday")).sha256


def test_a_file_of_ones_own_joins_and_counts(tmp_path):
    corpus = read_datasets(CorpusRequest("everyday," + str(own_file(tmp_path).rename(tmp_path / "mine.csv"))))
    own = [message for message in corpus.messages if message.traits.dataset == OWN]
    weights = dict(zip(corpus.messages, training_weights(corpus.messages), strict=True))
    assert len(own) == 40
    assert {weights[message] for message in own} == {datasets.MOST_WEIGHT}
    assert {weights[message] for message in corpus.messages if message.traits.border} == {datasets.BORDER_WEIGHT}


def test_where_all_rows_are_alike_none_has_a_weight():
    assert training_weights([Message("a", SPAM), Message("b", NOT_SPAM)]) == ()


def test_what_describes_a_file_is_said_of_the_files_alone(tmp_path):
    path = tmp_path / "mail.csv"
    path.write_text(
        "kind,body\n" + "\n".join(f"{'junk' if n % 2 else 'ham'},{'xyz'[n % 3]}{chr(97 + n)} text" for n in range(24))
    )
    request = CorpusRequest(f"sms-spam,{path}", text_column="body", label_column="kind", spam_label="junk")
    assert sum(message.traits.dataset == OWN for message in read_datasets(request).messages) == 24
    with pytest.raises(DataError, match="describe a file"):
        read_datasets(CorpusRequest("sms-spam", text_column="body"))


@pytest.mark.parametrize("dataset", ["everyday", "sms-spam,everyday", "sms-spam"])
def test_what_describes_a_file_is_refused_where_no_file_is_named(dataset):
    with pytest.raises(DataError, match=rf"describe a file, and --dataset is {dataset}: leave them out"):
        read_datasets(CorpusRequest(dataset, text_column="sms"), may_ask=False)


def test_the_split_leaks_nothing_and_keeps_border_rows_to_train(both):
    parts = split(both.messages)
    assert leakage(parts) == Leakage(exact=0, masked=0)
    assert not any(message.traits.border for message in (*parts.validation, *parts.test))
    alone = split([message for message in both.messages if message.traits.dataset == "sms-spam"])
    sms = [message for message in parts.test if message.traits.dataset == "sms-spam"]
    assert len(set(sms) & set(alone.test)) > 0.95 * len(alone.test)


def test_a_threshold_rests_on_enough_good_natural_messages(both):
    assert sum(not message.is_spam for message in split(both.messages).validation) >= 1_200


@pytest.mark.parametrize("folds", [1, 2])
def test_families_that_are_held_out_leave_nothing_behind(both, folds):
    kept, unseen = families.hold_out_families(both.messages, folds)
    assert unseen
    assert not {message.traits.family for message in kept} & {message.traits.family for message in unseen}
    assert {message.label for message in unseen} == {SPAM, NOT_SPAM}
    assert not any(message.traits.border for message in unseen)
    assert families.hold_out_families(both.messages, 0) == (both.messages, ())


def test_groups_are_families_or_the_message_alone():
    known = Message("a", SPAM, Traits(family="bank"))
    assert families.family_groups([known, Message("b", SPAM)]) == ["bank", "b"]
