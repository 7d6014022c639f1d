"""The suite on consumers and their groups."""

from __future__ import annotations

import re
import selectors
import threading

import pytest

import eventlog
from eventlog import TopicPartition
from tests.conformance.kit import PATIENCE_SECONDS, Base, needs, poll_all, settle, values


class Consuming(Base):
    """Consumers of one member."""

    def test_a_group_goes_on_where_it_committed(self, log):
        """The second consumer begins behind the first."""
        log.topic("orders", value=int).append_many(list(range(10)))
        with log.consumer("orders", group="g", max_poll_records=4) as consumer:
            assert values(consumer.poll(PATIENCE_SECONDS)) == [0, 1, 2, 3]
            consumer.commit()
        with log.consumer("orders", group="g") as consumer:
            assert consumer.committed(("orders", 0)) == 4
            assert values(poll_all(consumer, 6)) == [4, 5, 6, 7, 8, 9]

    def test_a_committed_offset_survives_reopening(self, log, reopen):
        """The group's position is in the log."""
        log.topic("orders", value=int).append_many([0, 1, 2])
        with log.consumer("orders", group="g") as consumer:
            consumer.commit({("orders", 0): 2})
        log.close()
        with reopen() as again, again.consumer("orders", group="g") as consumer:
            assert values(poll_all(consumer, 1)) == [2]

    def test_without_a_group_every_consumer_begins_at_the_start(self, log):
        """Nothing is kept for it."""
        log.topic("orders", value=int).append_many([0, 1])
        for _ in range(2):
            with log.consumer("orders") as consumer:
                assert values(poll_all(consumer, 2)) == [0, 1]

    def test_latest_sees_only_what_comes_after(self, log):
        """The start is taken when the consumer is made."""
        topic = log.topic("orders", value=int)
        topic.append(0)
        with log.consumer("orders", start="latest") as consumer:
            topic.append(1)
            assert values(poll_all(consumer, 1)) == [1]

    def test_a_record_in_hand_comes_again(self, log):
        """Leaving the loop says that the last record was not finished."""
        log.topic("orders", value=int).append_many([0, 1, 2])
        with log.consumer("orders", group="g") as consumer:
            for record in consumer:
                if record.value == 1:
                    break
        with log.consumer("orders", group="g") as consumer:
            assert values(poll_all(consumer, 2)) == [1, 2]

    def test_seeking_moves_and_position_tells(self, log):
        """To an offset, a time, and both ends."""
        topic = log.topic("orders", value=int)
        for number in range(5):
            topic.append(number, timestamp_ms=1000 * number)
        tp = TopicPartition("orders", 0)
        with log.consumer("orders") as consumer:
            consumer.seek(tp, 3)
            assert (consumer.position(tp), consumer.lag()) == (3, {tp: 2})
            assert values(poll_all(consumer, 2)) == [3, 4]
            consumer.seek_to_beginning(tp)
            assert consumer.position(tp) == 0
            consumer.seek_to_end()
            assert consumer.position(tp) == 5
            consumer.seek_to_time(1500)
            assert consumer.position(tp) == 2

    def test_a_paused_partition_waits(self, log):
        """The others go on, and it goes on when resumed."""
        topic = log.topic("orders", partitions=2, value=int)
        topic.append(0, partition=0)
        topic.append(1, partition=1)
        with log.consumer("orders") as consumer:
            consumer.pause(("orders", 0))
            assert consumer.paused() == [("orders", 0)]
            assert values(poll_all(consumer, 1)) == [1]
            assert consumer.poll() == []
            consumer.resume()
            assert values(poll_all(consumer, 1)) == [0]

    def test_wakeup_ends_the_next_wait(self, log):
        """A loop ends, and the consumer is still of use."""
        topic = log.topic("orders", value=int)
        with log.consumer("orders") as consumer:
            consumer.wakeup()
            assert list(consumer) == []
            topic.append(1)
            assert values(poll_all(consumer, 1)) == [1]

    def test_an_offset_that_is_gone_may_be_passed_by(self, log):
        """At the first record that is there; without the option the error names the partition."""
        topic = log.topic("orders", partitions=2, value=int)
        for partition in (0, 1):
            topic.append_many(range(4), partition=partition)
        with log.consumer("orders", group="g") as consumer:
            consumer.commit({("orders", 0): 1, ("orders", 1): 1})
        topic.delete_records({1: 3})
        with log.consumer("orders", group="g") as consumer, pytest.raises(eventlog.OffsetOutOfRange) as caught:
            [consumer.poll() for _ in range(4)]
        assert (caught.value.topic, caught.value.partition, caught.value.offset) == ("orders", 1, 1)
        with log.consumer("orders", group="g", on_out_of_range="earliest") as consumer:
            assert sorted(values(poll_all(consumer, 4))) == [1, 2, 3, 3]


class Sharing(Base):
    """Groups of several members."""

    def test_two_members_share(self, log):
        """Each partition has one owner, and each record goes to one of them."""
        topic = log.topic("orders", partitions=4, value=int)
        for number in range(40):
            topic.append(number, partition=number % 4)
        with log.consumer("orders", group="g") as one, log.consumer("orders", group="g") as other:
            assert sorted(values(settle(one, other))) == list(range(40))
            assert sorted(one.assignment() + other.assignment()) == [("orders", number) for number in range(4)]
            assert len(one.assignment()) == len(other.assignment()) == 2

    def test_a_partition_that_moves_goes_on_where_it_was(self, log):
        """What its owner had finished does not come again; the other is told of what it gets."""
        topic = log.topic("orders", partitions=2, value=int)
        for number in range(20):
            topic.append(number, partition=number % 2)
        told = []
        with log.consumer("orders", group="g", max_poll_records=7, on_revoked=told.extend) as one:
            first = one.poll(PATIENCE_SECONDS)
            with log.consumer("orders", group="g", on_assigned=told.extend) as other:
                rest = settle(one, other)
                assert told == other.assignment() * 2
        assert sorted(values(first + rest)) == list(range(20))

    def test_who_leaves_is_replaced(self, log):
        """The other gets its partitions, at what it had finished."""
        topic = log.topic("orders", partitions=2, value=int)
        one = log.consumer("orders", group="g")
        with log.consumer("orders", group="g") as other:
            settle(one, other)
            topic.append_many([0, 1], partition=one.assignment()[0].partition)
            assert values(poll_all(one, 2)) == [0, 1]
            one.commit()
            one.close()
            topic.append(2, partition=0)
            topic.append(2, partition=1)
            assert values(settle(other)) == [2, 2]
            assert len(other.assignment()) == 2

    def test_a_member_commits_only_what_it_owns(self, log):
        """The other's offset is not touched."""
        log.topic("orders", partitions=2, value=int).append_many([0, 1], partition=0)
        with log.consumer("orders", group="g") as one, log.consumer("orders", group="g") as other:
            settle(one, other)
            [mine], [others] = one.assignment(), other.assignment()
            with pytest.raises(eventlog.MemberFenced):
                one.commit({others: 2})
            one.commit({mine: 2})
            assert one.committed(mine) == 2

    def test_a_pattern_takes_what_appears(self, log):
        """From the first record, wherever the group began."""
        log.topic("orders-1", value=int).append(1)
        with log.consumer(re.compile("orders-.*"), group="g", start="latest") as consumer:
            assert settle(consumer) == []
            log.topic("orders-2", value=int).append(2)
            log.topic("payments", value=int).append(3)
            assert values(poll_all(consumer, 1)) == [2]
            assert settle(consumer) == []

    def test_partitions_that_are_added_are_shared(self, log):
        """And read from their first record."""
        topic = log.topic("orders", partitions=2, value=int)
        with log.consumer("orders", group="g") as one, log.consumer("orders", group="g") as other:
            settle(one, other)
            topic.create_partitions(4)
            topic.append(7, partition=3)
            assert values(settle(one, other)) == [7]
            assert len(one.assignment()) == len(other.assignment()) == 2

    def test_a_static_member_keeps_its_place(self, log):
        """It closes and comes back, and nothing moves."""
        log.topic("orders", partitions=4)
        with log.consumer("orders", group="g") as other:
            one = log.consumer("orders", group="g", instance_id="left")
            settle(one, other)
            had = sorted(one.assignment())
            one.close()
            settle(other)
            assert len(other.assignment()) == 2
            with log.consumer("orders", group="g", instance_id="left") as one:
                with pytest.raises(eventlog.InstanceInUse):
                    log.consumer("orders", group="g", instance_id="left")
                settle(one, other)
                assert sorted(one.assignment()) == had


class Caring(Base):
    """Looking after the log and its groups."""

    def test_a_group_is_listed_described_and_reset(self, log):
        """Without members."""
        log.topic("orders", value=int).append_many([1, 2, 3])
        with log.consumer("orders", group="billing") as consumer:
            poll_all(consumer, 3)
            consumer.commit()
        assert log.groups.list() == ["billing"]
        assert log.groups.reset_offsets("billing", to="earliest") == {("orders", 0): 0}
        assert log.groups.describe("billing").lag == 3
        log.groups.delete("billing")
        assert log.groups.list() == []

    @needs("forced_resets")
    def test_a_live_member_can_be_fenced(self, log):
        """It goes on where the group stands then."""
        log.topic("orders", value=int).append_many([1, 2])
        with log.consumer("orders", group="billing") as consumer:
            poll_all(consumer, 2)
            consumer.commit()
            with pytest.raises(eventlog.GroupNotEmpty):
                log.groups.reset_offsets("billing", to="earliest")
            log.groups.reset_offsets("billing", to="earliest", force=True)
            assert values(poll_all(consumer, 2)) == [1, 2]

    @needs("assignor_functions")
    def test_a_group_may_have_an_assignor_of_its_own(self, log):
        """A function of a module."""
        log.topic("orders", partitions=2)
        with log.consumer("orders", group="g", assignor=everything_to_the_first) as consumer:
            settle(consumer)
            assert len(consumer.assignment()) == 2

    @needs("fileno")
    def test_a_descriptor_wakes_an_event_loop(self, log):
        """It is readable once there is something to poll."""
        topic = log.topic("orders", value=int)
        with log.consumer("orders") as consumer, selectors.DefaultSelector() as selector:
            selector.register(consumer.fileno(), selectors.EVENT_READ)
            topic.append(1)
            records = consumer.poll()
            while not records:
                selector.select(consumer.max_wait())
                records = consumer.poll()
        assert values(records) == [1]

    @needs("retention")
    def test_a_topic_keeps_what_it_is_told_to_keep(self, log):
        """What is older goes when the log is cleaned."""
        topic = log.topic("views", retention=3600)
        topic.append(b"old", timestamp_ms=0)
        topic.append(b"new")
        log.clean()
        assert values(topic.read()) == [b"new"]
        topic.alter(retention=None)
        assert topic.retention is None

    @needs("compression")
    def test_a_topic_is_compressed_as_it_is_told(self, log):
        """What comes out is what went in, whatever was asked when it was stored."""
        topic = log.topic("views", compression="zstd", value=str)
        expected = [f"/products/{number % 7}" for number in range(200)]
        topic.append_many(expected)
        assert topic.compression == "zstd"
        assert values(topic.read()) == expected

    @needs("compaction")
    def test_a_compacted_topic_keeps_the_newest_record_of_each_key(self, log):
        """At its offset; a consumer passes by what is gone."""
        topic = log.topic("users", compaction="key")
        topic.append_many([b"1", b"2", b"3"], keys=[b"a", b"b", b"a"])
        log.clean()
        assert [(record.offset, record.value) for record in topic.read()] == [(1, b"2"), (2, b"3")]
        with log.consumer("users", start=0) as consumer:
            assert [record.offset for record in consumer.poll()] == [1, 2]

    @needs("queues")
    def test_the_jobs_of_a_queue_are_done_one_by_one(self, log):
        """Each is another worker's if it is released; accepted in a transaction, it is done with that."""
        topic = log.topic("jobs", value=int)
        topic.append_many([1, 2])
        with log.queue(topic, group="g") as one, log.queue(topic, group="g") as other:
            first, second = one.poll()[0], other.poll()[0]
            with log.transaction() as tx:
                tx.accept(second)
            first.release()
            one.commit()
            assert [(job.value, job.delivery_count) for job in other.poll(timeout=PATIENCE_SECONDS)] == [(1, 2)]

    @needs("schedules")
    def test_a_scheduled_record_is_sent_once_at_its_time(self, log):
        """One that is cancelled is not; a consumer that waits gets it."""
        topic = log.topic("mails", value=str)
        with log.consumer(topic) as consumer:
            cancelled = topic.schedule("never", delay=0.2)
            with log.transaction() as tx:
                tx.schedule(topic, "hello", delay=0.1)
            assert log.schedules.cancel(cancelled)
            assert values(consumer.poll(timeout=PATIENCE_SECONDS)) == ["hello"]
            assert list(log.schedules.list()) == []

    @needs("requests")
    def test_a_request_is_answered(self, log):
        """By what the function of a responder returns; nobody there is an error."""
        topic = log.topic("numbers", value=int)
        with pytest.raises(eventlog.NoResponders):
            log.request(topic, 1)
        with log.responder(topic, function=lambda _, record: record.value + 1, group="g") as responder:
            thread = threading.Thread(target=responder.run)
            thread.start()
            assert log.request(topic, 1, timeout=PATIENCE_SECONDS).value == 2
            assert values(log.gather(topic, 2, timeout=PATIENCE_SECONDS)) == [3]
            responder.stop()
            thread.join(PATIENCE_SECONDS)

    @needs("files")
    def test_the_log_is_checked_and_copied(self, log, tmp_path):
        """The copy is a log with the same records."""
        log.topic("orders").append(b"tea")
        log.sync()
        assert log.verify().is_sound
        assert log.stats().record_count == 1
        assert log.compact(tmp_path / "copy") > 0
        with eventlog.open(tmp_path / "copy") as copy:
            assert values(copy.topic("orders").read()) == [b"tea"]


def everything_to_the_first(members, partitions):
    """An assignor that gives one member everything."""
    return {members[0].member_id: partitions}
