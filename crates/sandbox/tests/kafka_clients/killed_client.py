"""A load on a broker that is killed again and again, and producers that are killed themselves.

Usage: killed_client.py FUNCTION ADDRESS [COUNT]. Writes what it does to standard output, line by line.
Fails with a traceback when something is not as it should be.
"""

import collections
import sys

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from client import equal, main, until
from confluent_client import consumer, create, listed_offset, producer, read_all

PARTITIONS = 3
RECORDS_PER_TRANSACTION = 30
PLAIN_RECORDS_EACH = 20
# A broker that is away comes back soon.
PATIENT = {
    "reconnect.backoff.ms": 10,
    "reconnect.backoff.max.ms": 50,
    "retry.backoff.ms": 20,
    # That it is away is no news.
    "log_level": 2,
    # When librdkafka 2.16.0 fetches its metadata again, it gives up the broker but keeps it as a group's
    # coordinator, and send_offsets_to_transaction waits for it for ever: confluentinc/librdkafka#5511. It is
    # not this broker's doing: a single broker of Kafka 4.1.1, killed and started again under this load, was
    # waited for in the same way after the second kill, and with this setting the load came to its end.
    "metadata.recovery.strategy": "none",
}
ATTEMPT_SECONDS = 10
NOT_COMMITTED = (
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._WAIT_COORD,
    KafkaError._ASSIGNMENT_LOST,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.REBALANCE_IN_PROGRESS,
)


def finished(action, *arguments):
    """Calls until it has come to an end: whether it went well, or the transaction has to be aborted."""

    def attempt():
        try:
            action(*arguments, ATTEMPT_SECONDS)
            return "done"
        except KafkaException as raised:
            error = raised.args[0]
            if error.txn_requires_abort():
                return "abort"
            # So librdkafka wants it: the call is to be made again.
            if error.retriable():
                return None
            raise

    return until(attempt, action)


def values_of(number):
    return [f"{number} {index}" for index in range(RECORDS_PER_TRANSACTION)]


def transact(writer, metadata, number, commit):
    """One transaction: whether it ended as was wanted."""
    writer.begin_transaction()
    print("begun", number)
    for index, value in enumerate(values_of(number)):
        writer.produce("load", value, partition=index % PARTITIONS)
    progress = [TopicPartition("load", 0, number)]
    if finished(writer.send_offsets_to_transaction, progress, metadata) == "done":
        writer.flush(ATTEMPT_SECONDS)
        print("sent", number)
        if commit and finished(writer.commit_transaction) == "done":
            print("committed", number)
            return True
    equal(finished(writer.abort_transaction), "done")
    print("aborted", number)
    return not commit


def load():
    """Transactions and records without one, and what is to be found of them at the end."""
    numbers = range(1, int(sys.argv[3]) + 1)
    create(load=PARTITIONS, plain=1)
    plain, acknowledged = producer(acks="all", **{"enable.idempotence": True, **PATIENT}), []
    writer, reader = producer("loader", **PATIENT), consumer("loader", **PATIENT)
    metadata = reader.consumer_group_metadata()

    def delivered(error, message):
        assert error is None, error
        acknowledged.append(message.value().decode())

    for number in numbers:
        for index in range(PLAIN_RECORDS_EACH):
            plain.produce("plain", f"{number} {index}" + "." * 1_000, on_delivery=delivered)
        plain.poll(0)
        # Every fifth is aborted; the others are made until they are committed.
        until(lambda: transact(writer, metadata, number, commit=number % 5 != 0), number)
    equal(plain.flush(ATTEMPT_SECONDS), 0)

    equal(len(acknowledged), len(numbers) * PLAIN_RECORDS_EACH)
    equal(read_all("plain", "read_committed"), acknowledged)
    committed = [number for number in numbers if number % 5 != 0]
    expected = [value for number in committed for value in values_of(number)]
    equal(sorted(read_all("load", "read_committed", PARTITIONS)), sorted(expected))
    (progress,) = reader.committed([TopicPartition("load", 0)], ATTEMPT_SECONDS)
    equal(progress.offset, committed[-1])
    reader.close()
    for partition in range(PARTITIONS):
        assert nothing_is_open(TopicPartition("load", partition))


def reads_in_a_group():
    """Two members read what a third client writes, and commit after each record."""
    count = int(sys.argv[3])
    create(shared=4)
    writer, settings = producer(**PATIENT), {"heartbeat.interval.ms": 100, "session.timeout.ms": 6_000}
    members = [consumer("sharers", **settings, **PATIENT) for _ in range(2)]
    for member in members:
        # What is taken from a member without a word was committed already.
        member.subscribe(["shared"], on_lost=lambda *_: None)
    read = collections.Counter()

    def look():
        if written[0] < min(count, len(read) + 20):
            writer.produce("shared", str(written[0]), partition=written[0] % 4)
            written[0] += 1
        writer.poll(0)
        for member in members:
            message = member.poll(0.01)
            if message is None or message.error():
                continue
            read[message.value().decode()] += 1
            print("read", len(read), "records")
            committed(member, message)
        return len(read) == count

    written = [0]
    until(look, f"{count} records")
    equal(writer.flush(ATTEMPT_SECONDS), 0)
    equal(sorted(read, key=int), [str(index) for index in range(count)])
    # Only what was read and not committed when the broker went may be read again.
    assert max(read.values()) <= 6, read
    for member in members:
        member.close()


def committed(member, message):
    try:
        member.commit(message, asynchronous=False)
    except KafkaException as raised:
        # The broker is away, or does not know the member any more: it reads this again.
        assert raised.args[0].code() in NOT_COMMITTED, raised


def nothing_is_open(place):
    """Whether the last stable offset is the end."""
    ends = [
        listed_offset(place, OffsetSpec.latest(), isolation)
        for isolation in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
    ]
    return ends[0] == ends[1]


def hold(timeout_ms):
    """Leaves a transaction open until it is killed."""
    create(held=1)
    first = producer()
    first.produce("held", "before")
    first.flush()
    writer = producer("holder", **{"transaction.timeout.ms": timeout_ms})
    writer.begin_transaction()
    writer.produce("held", "open")
    writer.flush()
    assert not nothing_is_open(TopicPartition("held", 0))
    print("open")
    input()


def holds():
    hold(60_000)


def holds_briefly():
    hold(3_000)


def finds_it_aborted():
    place = TopicPartition("held", 0)
    until(lambda: nothing_is_open(place), "the end of the transaction")
    equal(read_all("held", "read_committed"), ["before"])
    equal(read_all("held", "read_uncommitted"), ["before", "open"])


def takes_over():
    writer = producer("holder")
    finds_it_aborted()
    writer.begin_transaction()
    writer.produce("held", "after")
    writer.commit_transaction()
    equal(read_all("held", "read_committed"), ["before", "after"])


main(load, reads_in_a_group, holds, holds_briefly, finds_it_aborted, takes_over)
