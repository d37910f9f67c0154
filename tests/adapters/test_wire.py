"""What replicas write down for each other is read as it was meant."""

import json

import pytest

from proxy.adapters.wire import Entry, Reply, read_news, replica_of, write_news
from proxy.policy.feedback import Quota
from proxy.policy.limits import Lane
from proxy.turn import News


def test_an_entry_is_read_as_it_was_written() -> None:
    entry = Entry("ab12:7", "s", 1790000000.25, ("ab12:3", 1.5, 2.5, [{}, None, 0.0, 0.0]))
    assert Entry.read(entry.payload()) == entry
    assert entry.replica == replica_of("ab12:3") == "ab12"


def test_its_id_kind_and_time_stand_first_where_the_script_reads_them() -> None:
    assert Entry("a:1", "w", 12.5, ("standard",)).payload() == '["a:1","w",12.5,"standard"]'


def test_news_are_read_as_they_were_written() -> None:
    lane = Lane("standard", "key")
    news = News(((lane, Quota(100, 42, 30.0, 60.0)),), lane, 1.5, 60.0)
    assert read_news(json.loads(json.dumps(write_news(news))), "key") == news
    assert read_news(json.loads(json.dumps(write_news(News()))), "key") == News()


def test_an_answer_is_read_with_no_entries_too() -> None:
    reply = Reply.read(b'["busy","12.500000","10.000000",4,"a:1",2,"0",3,1,{}]')
    assert (reply.status, reply.at, reply.now, reply.lane, reply.entries) == ("busy", 12.5, 10.0, 1, ())
    assert Reply.read(b'["ok","inf","1.0",1,"",0,"0",1,-1,["x"]]').entries == ("x",)


@pytest.mark.parametrize("content", [b"OK", b"[]", b'["ok"]', b"\xff"])
def test_what_is_no_answer_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which one is json's matter
        Reply.read(content)
