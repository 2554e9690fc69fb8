"""The server is killed while clients post, and nothing that it said is untrue."""

import random
import time

import pytest

from tests.faults.clients import BROKEN, ROWS, Load, in_turn
from tests.faults.processes import CYCLES, PATIENCE_S, a_server, until
from tests.store.test_survival import assert_whole, requests_stored


@pytest.mark.timeout(2 * PATIENCE_S * (CYCLES + 1))
def test_kill_9_loses_no_captured_answer_and_a_retry_writes_nothing_twice(package, address):
    chance = random.Random(0)
    answered, left = {}, {}

    def send_again(server):
        """Send what got no answer again, as a client should."""
        for answer in in_turn(server.port, list(left.values())):
            assert answer.is_captured
            answered[answer.asked.request_id] = answer
        left.clear()

    for cycle in range(CYCLES):
        with a_server(package, datastore_uri=address) as server:
            send_again(server)
            with Load(server.port, 8, name=f"cycle{cycle}") as load:
                until(lambda load=load: len(load.answers) > 50)
                time.sleep(chance.uniform(0, 0.3))
                server.process.kill()
                server.process.wait()
        assert load.statuses() == {200, BROKEN}
        assert len(load.captured()) == len(load.of(200))
        answered |= {answer.asked.request_id: answer for answer in load.of(200)}
        left |= {answer.asked.request_id: answer.asked for answer in load.of(BROKEN)}
        assert_whole(address)
        assert answered.keys() <= requests_stored(address).keys()
    with a_server(package, datastore_uri=address) as server:
        send_again(server)
        again = in_turn(server.port, [answer.asked for answer in list(answered.values())[:50]])
    assert requests_stored(address) == dict.fromkeys(answered, ROWS)
    for answer in again:
        before = answered[answer.asked.request_id].predictions
        assert [row["uuid"] for row in answer.predictions] == [row["uuid"] for row in before]
