"""What confluent-kafka is to find when it talks to the broker.

Usage: confluent_client.py FUNCTION ADDRESS. Fails with a traceback when something is not
as it should be.
"""

import collections
import functools

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from client import ADDRESS, equal, expect, main, until

POLL_SECONDS = 0.2
TIMEOUT_SECONDS = 30


@functools.cache
def admin():
    return AdminClient({"bootstrap.servers": ADDRESS})


def create(**topics):
    """Creates topics, given by their numbers of partitions."""
    made = admin().create_topics([NewTopic(name, count, 1) for name, count in topics.items()])
    for future in made.values():
        future.result(TIMEOUT_SECONDS)


def producer(transactional_id=None, **settings):
    config = {"bootstrap.servers": ADDRESS, "linger.ms": 1, **settings}
    if transactional_id:
        config["transactional.id"] = transactional_id
    made = Producer(config)
    if transactional_id:
        made.init_transactions(TIMEOUT_SECONDS)
    return made


def consumer(group="nobody", **settings):
    return Consumer(
        {
            "bootstrap.servers": ADDRESS,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            **settings,
        }
    )


def produce(by, topic, values, **where):
    for value in values:
        by.produce(topic, str(value), **where)
    equal(by.flush(TIMEOUT_SECONDS), 0)


def read_all(topic, isolation, partitions=1):
    """All values up to the end of the partitions, which is the end of what may be read."""
    reader = consumer(**{"isolation.level": isolation})
    reader.assign([TopicPartition(topic, index, OFFSET_BEGINNING) for index in range(partitions)])
    values, ended = [], set()

    def one():
        message = reader.poll(POLL_SECONDS)
        if message is None:
            return False
        if message.error():
            equal(message.error().code(), KafkaError._PARTITION_EOF)
            ended.add(message.partition())
        else:
            values.append(message.value().decode())
        return len(ended) == partitions

    until(one, f"the ends of {topic}")
    reader.close()
    return values


def both(topic):
    return read_all(topic, "read_committed"), read_all(topic, "read_uncommitted")


def transactions():
    create(money=1)
    writer = producer("bank")
    writer.begin_transaction()
    produce(writer, "money", ["a", "b"])
    # What is open is not for those who want what is committed.
    equal(both("money"), ([], ["a", "b"]))
    writer.commit_transaction(TIMEOUT_SECONDS)
    equal(both("money"), (["a", "b"], ["a", "b"]))
    writer.begin_transaction()
    produce(writer, "money", ["c"])
    writer.abort_transaction(TIMEOUT_SECONDS)
    equal(both("money"), (["a", "b"], ["a", "b", "c"]))
    # Neither an empty transaction nor one of which nothing was sent stands in the way.
    writer.begin_transaction()
    writer.commit_transaction(TIMEOUT_SECONDS)
    writer.begin_transaction()
    produce(writer, "money", ["d"])
    writer.commit_transaction(TIMEOUT_SECONDS)
    equal(both("money"), (["a", "b", "d"], ["a", "b", "c", "d"]))


def large_transactions():
    """Many batches, partitions and compressions; aborted and committed in turns."""
    create(large=4)
    expected = []
    for number, codec in enumerate(["none", "gzip", "snappy", "lz4", "zstd"]):
        writer = producer("large", **{"compression.type": codec, "batch.size": 16_384})
        for commit in (False, True):
            writer.begin_transaction()
            values = [f"{codec} {commit} {index} " + "x" * 100 for index in range(2_000)]
            for index, value in enumerate(values):
                writer.produce("large", value, partition=index % 4)
            if commit:
                writer.commit_transaction(TIMEOUT_SECONDS)
                expected += values
            else:
                writer.flush(TIMEOUT_SECONDS)
                writer.abort_transaction(TIMEOUT_SECONDS)
    equal(sorted(read_all("large", "read_committed", 4)), sorted(expected))
    equal(len(read_all("large", "read_uncommitted", 4)), 2 * len(expected))


def consume_transform_produce():
    create(orders=2, bills=1)
    source = producer()
    for index in range(20):
        source.produce("orders", str(index), partition=index % 2)
    source.flush(TIMEOUT_SECONDS)

    writer = producer("biller")
    reader = consumer("billers", **{"isolation.level": "read_committed"})
    reader.subscribe(["orders"])
    seen = []

    def transform(count, commit):
        """Handles some orders in one transaction."""
        writer.begin_transaction()
        for _ in range(count):
            message = until(lambda: next_record(reader), "an order")
            seen.append(message.value().decode())
            writer.produce("bills", b"bill " + message.value())
        writer.send_offsets_to_transaction(
            reader.position(reader.assignment()), reader.consumer_group_metadata(), TIMEOUT_SECONDS
        )
        if commit:
            writer.commit_transaction(TIMEOUT_SECONDS)
        else:
            writer.flush(TIMEOUT_SECONDS)
            writer.abort_transaction(TIMEOUT_SECONDS)
            for place in reader.committed(reader.assignment(), TIMEOUT_SECONDS):
                if place.offset < 0:
                    place.offset = OFFSET_BEGINNING
                reader.seek(place)

    transform(6, commit=True)
    transform(7, commit=False)
    transform(7, commit=True)
    reader.close()
    # Another one goes on where the last committed transaction ended.
    reader = consumer("billers", **{"isolation.level": "read_committed"})
    reader.subscribe(["orders"])
    transform(7, commit=True)
    committed = reader.committed([TopicPartition("orders", 0), TopicPartition("orders", 1)], 30)
    equal([place.offset for place in committed], [10, 10])
    reader.close()
    bills = read_all("bills", "read_committed")
    equal(sorted(bills), sorted(f"bill {index}" for index in range(20)))
    equal(len(read_all("bills", "read_uncommitted")), 27)


def next_record(reader):
    message = reader.poll(POLL_SECONDS)
    if message is None:
        return None
    if message.error():
        equal(message.error().code(), KafkaError._PARTITION_EOF)
        return None
    return message


def fencing():
    create(owned=1)
    first = producer("owner")
    first.begin_transaction()
    produce(first, "owned", ["of the first"])
    second = producer("owner")
    # The second one's coming has aborted what the first had open.
    second.begin_transaction()
    produce(second, "owned", ["of the second"])
    first.produce("owned", "too late")
    error = expect(KafkaException, first.commit_transaction, TIMEOUT_SECONDS).args[0]
    assert error.fatal(), error
    assert error.code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED), error
    second.commit_transaction(TIMEOUT_SECONDS)
    equal(both("owned"), (["of the second"], ["of the first", "of the second"]))


class Member:
    """A member of a group, and what it has and had."""

    def __init__(self, group, topic, **settings):
        self.assigned, self.places, self.values, self.changes = set(), set(), [], []
        # Sessions are short, so that nobody waits for a member that went without a word.
        self.reader = consumer(
            group, **{"session.timeout.ms": 6_000, "heartbeat.interval.ms": 100, **settings}
        )
        self.reader.subscribe([topic], on_assign=self.assign, on_revoke=self.revoke, on_lost=self.lose)

    def assign(self, reader, places):
        self.places |= {(place.topic, place.partition) for place in places}
        self.assigned |= {place.partition for place in places}
        self.changes.append(("+", sorted(place.partition for place in places)))

    def revoke(self, reader, places):
        self.commit()
        self.places -= {(place.topic, place.partition) for place in places}
        self.assigned -= {place.partition for place in places}
        self.changes.append(("-", sorted(place.partition for place in places)))

    def lose(self, reader, places):
        raise AssertionError(f"lost {places}")

    def poll(self):
        message = self.reader.poll(0.05)
        if message is None:
            return
        if not message.error():
            self.values.append(message.value().decode())
        elif message.error().code() != KafkaError._PARTITION_EOF:
            raise AssertionError(message.error())

    def commit(self):
        try:
            self.reader.commit(asynchronous=False)
        except KafkaException as error:
            # All that it has read is committed already.
            equal(error.args[0].code(), KafkaError._NO_OFFSET)

    def close(self):
        self.reader.close()


def share(strategy):
    """Two members share six partitions while the second comes and goes, and miss and double nothing."""
    create(shared=6)
    source = producer()
    written = 0

    def write(count):
        nonlocal written
        for index in range(written, written + count):
            source.produce("shared", str(index), partition=index % 6)
        equal(source.flush(TIMEOUT_SECONDS), 0)
        written += count

    def settled(members, counts):
        def look():
            for member in members:
                member.poll()
            read = sum(len(member.values) for member in (first, second) if member)
            return sorted(len(member.assigned) for member in members) == counts and read >= written

        until(look, f"{counts} and {written} records")

    settings = {"partition.assignment.strategy": strategy}
    second = None
    write(60)
    first = Member("sharers", "shared", **settings)
    settled([first], [6])
    second = Member("sharers", "shared", **settings)
    settled([first, second], [3, 3])
    equal(first.assigned | second.assigned, set(range(6)))
    write(60)
    settled([first, second], [3, 3])
    assert first.values and second.values
    second.close()
    settled([first], [6])
    write(60)
    settled([first], [6])
    first.close()
    # Each once: who gave a partition up had committed what it had read.
    counted = collections.Counter(first.values + second.values)
    equal(sorted(counted, key=int), [str(index) for index in range(180)])
    equal(set(counted.values()), {1})
    return first.changes


def eager_group():
    changes = share("range")
    equal(changes[:2], [("+", [0, 1, 2, 3, 4, 5]), ("-", [0, 1, 2, 3, 4, 5])])


def cooperative_group():
    changes = share("cooperative-sticky")
    # What stays with a member is never taken from it.
    kind, revoked = changes[1]
    equal((kind, len(revoked)), ("-", 3))


def static_members():
    """One that comes back in time gets what it had, and nobody else notices."""
    create(fixed=4)

    def member(instance):
        return Member("fixed", "fixed", **{"group.instance.id": instance, "session.timeout.ms": 30_000})

    members = [member("a"), member("b")]

    def settled():
        for each in members:
            each.poll()
        return [len(each.assigned) for each in members] == [2, 2]

    until(settled, "both have two")
    # One of them leads the group.
    for index in (0, 1):
        other = members[1 - index]
        had, changes = set(members[index].assigned), other.changes[:]
        # A static member does not announce that it leaves.
        members[index].close()
        members[index] = member("ab"[index])
        until(settled, "it is back")
        equal((members[index].assigned, other.changes), (had, changes))
    for each in members:
        each.close()


def commit_offsets():
    create(kept=2)
    source = producer()
    for index in range(10):
        source.produce("kept", str(index), partition=index % 2)
    source.flush(TIMEOUT_SECONDS)
    reader = consumer("keepers")
    reader.commit(
        offsets=[TopicPartition("kept", 0, 3, metadata="a note"), TopicPartition("kept", 1, 5)],
        asynchronous=False,
    )
    reader.close()


def committed_offsets_are_there():
    reader = consumer("keepers")
    places = reader.committed([TopicPartition("kept", 0), TopicPartition("kept", 1)], TIMEOUT_SECONDS)
    equal([(place.offset, place.metadata) for place in places], [(3, "a note"), (5, None)])
    reader.subscribe(["kept"])
    values = [until(lambda: next_record(reader), "a record").value() for _ in range(2)]
    equal(values, [b"6", b"8"])
    reader.close()


def offsets_for_times():
    create(times=1)
    source = producer()
    for index in range(10):
        source.produce("times", str(index), timestamp=1_000_000 + 1_000 * index)
    source.flush(TIMEOUT_SECONDS)
    reader = consumer()

    def at(timestamp):
        return reader.offsets_for_times([TopicPartition("times", 0, timestamp)], TIMEOUT_SECONDS)[
            0
        ].offset

    equal([at(time) for time in (0, 1_000_000, 1_000_001, 1_009_000)], [0, 0, 1, 9])
    # librdkafka has the end for what is later than all.
    equal(at(1_009_001), -1)
    equal(reader.get_watermark_offsets(TopicPartition("times", 0), TIMEOUT_SECONDS), (0, 10))
    reader.close()


def large_records():
    """As large as the broker takes them, and larger than the consumer would like."""
    create(large=1)
    fitting = "x" * 1_000_000
    failures = []

    def delivered(error, message):
        failures.append(error and error.code())

    writer = producer(**{"message.max.bytes": 3_000_000})
    for value in (fitting, "y" * 2_000_000, fitting):
        writer.produce("large", value, on_delivery=delivered)
        equal(writer.flush(TIMEOUT_SECONDS), 0)
    equal(failures, [None, KafkaError.MSG_SIZE_TOO_LARGE, None])
    reader = consumer(**{"max.partition.fetch.bytes": 1_000})
    reader.assign([TopicPartition("large", 0, OFFSET_BEGINNING)])
    for _ in range(2):
        equal(until(lambda: next_record(reader), "a record").value().decode(), fitting)
    reader.close()


def topics_by_pattern():
    """Topics that come later are found, too."""
    create(**{"log.a": 1, "other": 1})
    member = Member("watchers", "^log\\..*", **{"topic.metadata.refresh.interval.ms": 100})

    def has(count):
        def look():
            member.poll()
            return len(member.places) == count

        return look

    until(has(1), "the first topic")
    create(**{"log.b": 1})
    until(has(2), "the second topic")
    equal(member.places, {("log.a", 0), ("log.b", 0)})
    member.close()


def timed_out():
    """A transaction that is open for too long is aborted, and its producer is shut out."""
    create(late=1)
    writer = producer("late", **{"transaction.timeout.ms": 3_000})
    writer.begin_transaction()
    produce(writer, "late", ["too late"])
    place = TopicPartition("late", 0)

    def ends():
        # It goes on to the record of the abort.
        return listed_offset(place, OffsetSpec.latest()) == 2

    until(ends, "the abort")
    error = expect(KafkaException, writer.commit_transaction, TIMEOUT_SECONDS).args[0]
    assert error.fatal(), error
    writer = producer("late")
    writer.begin_transaction()
    produce(writer, "late", ["in time"])
    writer.commit_transaction(TIMEOUT_SECONDS)
    equal(both("late"), (["in time"], ["too late", "in time"]))


# A member without a heartbeat for this long is gone.
MISSED = {"session.timeout.ms": 3_000}


def membership():
    """Is a member until it is killed."""
    member = Member("mourners", "missed", **MISSED)
    until(lambda: member.poll() or member.assigned, "some partitions")
    print("member")
    while True:
        member.poll()


def misses_a_member():
    """The other one is killed as soon as each has its half."""
    create(missed=2)
    member = Member("mourners", "missed", **MISSED)
    until(lambda: member.poll() or len(member.assigned) == 2, "both partitions")
    print("alone")
    until(lambda: member.poll() or len(member.assigned) == 1, "one partition")
    print("together")
    until(lambda: member.poll() or len(member.assigned) == 2, "both partitions again")
    member.close()


def result(futures):
    """What came of an administrative request about one thing."""
    (future,) = futures.values()
    return future.result(TIMEOUT_SECONDS)


def listed_offset(place, spec, isolation=IsolationLevel.READ_COMMITTED):
    return result(admin().list_offsets({place: spec}, isolation_level=isolation)).offset


def error_code(futures):
    return expect(KafkaException, result, futures).args[0].code()


def partitions_of(topic):
    found = admin().list_topics(topic, timeout=TIMEOUT_SECONDS).topics[topic]
    return KafkaError.UNKNOWN_TOPIC_OR_PART if found.error else len(found.partitions)


def admin_of_topics():
    client = admin()
    new = NewTopic("new", 2, 1, config={"retention.ms": "1000000"})
    result(client.create_topics([new], validate_only=True))
    assert "new" not in client.list_topics(timeout=TIMEOUT_SECONDS).topics
    result(client.create_topics([new]))
    equal(partitions_of("new"), 2)
    equal(error_code(client.create_topics([new])), KafkaError.TOPIC_ALREADY_EXISTS)
    equal(
        error_code(client.create_topics([NewTopic("three", 1, 3)])),
        KafkaError.INVALID_REPLICATION_FACTOR,
    )
    equal(
        error_code(client.create_topics([NewTopic("odd", 1, 1, config={"no.such": "1"})])),
        KafkaError.INVALID_CONFIG,
    )
    equal(error_code(client.create_topics([NewTopic("a/b", 1, 1)])), KafkaError.TOPIC_EXCEPTION)

    result(client.create_partitions([NewPartitions("new", 5)]))
    equal(partitions_of("new"), 5)
    equal(error_code(client.create_partitions([NewPartitions("new", 5)])), KafkaError.INVALID_PARTITIONS)

    described = result(client.describe_topics(TopicCollection(["new"])))
    equal((described.name, len(described.partitions), described.is_internal), ("new", 5, False))
    cluster = client.describe_cluster().result(TIMEOUT_SECONDS)
    equal([f"{node.host}:{node.port}" for node in cluster.nodes], [ADDRESS])

    result(client.delete_topics(["new"]))
    assert "new" not in client.list_topics(timeout=TIMEOUT_SECONDS).topics
    equal(error_code(client.delete_topics(["new"])), KafkaError.UNKNOWN_TOPIC_OR_PART)


def admin_of_configs():
    create(settings=1)
    client = admin()

    def resource(*entries):
        changes = [
            ConfigEntry(name, value, incremental_operation=operation)
            for name, value, operation in entries
        ]
        return ConfigResource(ResourceType.TOPIC, "settings", incremental_configs=changes)

    def value(name):
        return result(client.describe_configs([resource()]))[name]

    assert value("retention.ms").is_default
    change = client.incremental_alter_configs
    result(change([resource(("retention.ms", "5000", AlterConfigOpType.SET))]))
    equal((value("retention.ms").value, value("retention.ms").is_default), ("5000", False))
    result(change([resource(("cleanup.policy", "compact", AlterConfigOpType.APPEND))]))
    equal(value("cleanup.policy").value, "delete,compact")
    result(change([resource(("cleanup.policy", "compact", AlterConfigOpType.SUBTRACT))]))
    equal(value("cleanup.policy").value, "delete")
    equal(
        error_code(change([resource(("retention.ms", "soon", AlterConfigOpType.SET))])),
        KafkaError.INVALID_CONFIG,
    )
    result(change([resource(("retention.ms", None, AlterConfigOpType.DELETE))]))
    assert value("retention.ms").is_default
    # The older request replaces all.
    result(
        client.alter_configs(
            [ConfigResource(ResourceType.TOPIC, "settings", set_config={"segment.ms": "7"})]
        )
    )
    equal((value("segment.ms").value, value("cleanup.policy").is_default), ("7", True))
    broker = result(client.describe_configs([ConfigResource(ResourceType.BROKER, "1")]))
    equal(broker["num.partitions"].value, "1")


def admin_of_groups():
    create(grouped=2)
    client = admin()
    member = Member("group", "grouped")

    def settled():
        member.poll()
        return len(member.assigned) == 2

    until(settled, "it has both")
    listed = client.list_consumer_groups().result(TIMEOUT_SECONDS).valid
    equal([(group.group_id, group.state) for group in listed], [("group", ConsumerGroupState.STABLE)])
    described = result(client.describe_consumer_groups(["group"]))
    found = (described.state, described.partition_assignor, len(described.members))
    equal(found, (ConsumerGroupState.STABLE, "range", 1))
    assigned = described.members[0].assignment.topic_partitions
    equal(sorted((place.topic, place.partition) for place in assigned), [("grouped", 0), ("grouped", 1)])
    equal(error_code(client.delete_consumer_groups(["group"])), KafkaError.NON_EMPTY_GROUP)
    member.reader.commit(offsets=[TopicPartition("grouped", 1, 0)], asynchronous=False)
    member.close()

    stable = client.list_consumer_groups(states={ConsumerGroupState.STABLE}).result(TIMEOUT_SECONDS)
    equal(stable.valid, [])
    described = result(client.describe_consumer_groups(["group"]))
    equal((described.state, described.members), (ConsumerGroupState.EMPTY, []))
    places = [TopicPartition("grouped", 0, 0), TopicPartition("grouped", 1, 4)]
    result(client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions("group", places)]))
    offsets = result(client.list_consumer_group_offsets([ConsumerGroupTopicPartitions("group")]))
    equal(
        sorted((place.partition, place.offset) for place in offsets.topic_partitions), [(0, 0), (1, 4)]
    )
    result(client.delete_consumer_groups(["group"]))
    equal(client.list_consumer_groups().result(TIMEOUT_SECONDS).valid, [])
    equal(error_code(client.delete_consumer_groups(["group"])), KafkaError.GROUP_ID_NOT_FOUND)


def admin_of_records():
    create(records=1)
    produce(producer(), "records", range(10))
    client = admin()
    offset = functools.partial(listed_offset, TopicPartition("records", 0))
    deleted = result(client.delete_records([TopicPartition("records", 0, 4)]))
    equal(deleted.low_watermark, 4)
    equal(read_all("records", "read_committed"), [str(index) for index in range(4, 10)])

    equal((offset(OffsetSpec.earliest()), offset(OffsetSpec.latest())), (4, 10))
    equal(
        error_code(client.delete_records([TopicPartition("records", 0, 11)])),
        KafkaError.OFFSET_OUT_OF_RANGE,
    )
    # Who wants what is gone begins with what is there.
    reader = consumer()
    reader.assign([TopicPartition("records", 0, 1)])
    equal(until(lambda: next_record(reader), "a record").offset(), 4)
    reader.close()
    result(client.delete_records([TopicPartition("records", 0, -1)]))
    equal(offset(OffsetSpec.earliest()), 10)


if __name__ == "__main__":
    main(
        transactions,
        large_transactions,
        consume_transform_produce,
        fencing,
        eager_group,
        cooperative_group,
        static_members,
        commit_offsets,
        committed_offsets_are_there,
        offsets_for_times,
        large_records,
        topics_by_pattern,
        timed_out,
        membership,
        misses_a_member,
        admin_of_topics,
        admin_of_configs,
        admin_of_groups,
        admin_of_records,
    )
