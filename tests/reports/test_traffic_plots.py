"""The picture of a traffic run names the kind of message that a server is surely least right about."""

from spamctl.reports.traffic import traffic_plots
from tests.reports.test_plots import title
from tests.reports.test_traffic import PARTS, group, score, scores, sent


def test_the_title_names_the_group_whose_interval_ends_lowest():
    (picture,) = traffic_plots(sent()).values()
    assert title(picture) == "Lowest accuracy: synthetic, vocabulary, 93.75 % of 80 messages"


def test_a_group_of_two_messages_makes_no_headline():
    few = group("synthetic, leet", 2, 1, scores(score(0.0, 0.0, 0.99), None))
    (picture,) = traffic_plots(sent(groups=[*PARTS, few])).values()
    assert "vocabulary" in title(picture)


def test_one_kind_of_message_is_compared_with_nothing():
    assert traffic_plots(sent(groups=list(PARTS[:1]))) == traffic_plots(sent(groups=[])) == {}
