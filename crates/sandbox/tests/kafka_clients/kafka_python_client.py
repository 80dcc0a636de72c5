"""What kafka-python is to find when it talks to the broker.

Usage: kafka_python_client.py FUNCTION ADDRESS. Fails with a traceback when something is not
as it should be.
"""

import collections

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka import errors
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.structs import OffsetAndMetadata

from client import ADDRESS, equal, expect, main, until

POLL_MS = 100
TIMEOUT_SECONDS = 30


def producer(**settings):
    return KafkaProducer(bootstrap_servers=ADDRESS, **settings)


def consumer(group=None, **settings):
    settings = {"auto_offset_reset": "earliest", "enable_auto_commit": False, **settings}
    return KafkaConsumer(bootstrap_servers=ADDRESS, group_id=group, **settings)


def admin():
    return KafkaAdminClient(bootstrap_servers=ADDRESS)


def create(name, partitions):
    with admin() as client:
        client.create_topics({name: {"num_partitions": partitions, "replication_factor": 1}})


def read(reader, count):
    """The next `count` records."""
    records = []

    def more():
        for batch in reader.poll(timeout_ms=POLL_MS).values():
            records.extend(batch)
        return len(records) >= count

    until(more, f"{count} records")
    equal(len(records), count)
    return records


def produces_and_consumes():
    create("plain", 1)
    for codec in (None, "gzip"):
        with producer(compression_type=codec, acks="all") as writer:
            sent = [
                writer.send("plain", f"{codec} {index}".encode(), key=b"k", headers=[("h", b"v")])
                for index in range(500)
            ]
            writer.flush(TIMEOUT_SECONDS)
            equal(len({future.get(TIMEOUT_SECONDS).offset for future in sent}), 500)
    with consumer() as reader:
        place = TopicPartition("plain", 0)
        reader.assign([place])
        records = read(reader, 1_000)
        equal([record.offset for record in records], list(range(1_000)))
        equal(records[-1].value, b"gzip 499")
        equal((records[0].key, records[0].headers), (b"k", [("h", b"v")]))
        equal(
            (reader.beginning_offsets([place]), reader.end_offsets([place])),
            ({place: 0}, {place: 1_000}),
        )
    # It makes a topic by naming it.
    with producer() as writer:
        equal(writer.send("made", b"x").get(TIMEOUT_SECONDS).offset, 0)


def transactions():
    create("money", 1)
    with producer(transactional_id="bank") as writer:
        writer.init_transactions()
        for value, commit in ((b"a", True), (b"b", False), (b"c", True)):
            writer.begin_transaction()
            writer.send("money", value)
            writer.flush(TIMEOUT_SECONDS)
            if commit:
                writer.commit_transaction()
            else:
                writer.abort_transaction()
    for isolation, expected in (
        ("read_committed", [b"a", b"c"]),
        ("read_uncommitted", [b"a", b"b", b"c"]),
    ):
        with consumer(isolation_level=isolation) as reader:
            reader.assign([TopicPartition("money", 0)])
            equal([record.value for record in read(reader, len(expected))], expected)


def consumes_in_a_group():
    create("shared", 4)
    written = 0

    def write(count):
        nonlocal written
        with producer() as writer:
            for index in range(written, written + count):
                writer.send("shared", str(index).encode(), partition=index % 4)
        written += count

    def member():
        return consumer(
            "sharers", heartbeat_interval_ms=100, session_timeout_ms=6_000, max_poll_interval_ms=6_000
        )

    values = []

    def settled(members, each):
        def look():
            for reader in members:
                batches = reader.poll(timeout_ms=20).values()
                values.extend(record.value.decode() for batch in batches for record in batch)
                if batches:
                    reader.commit()
            return all(len(reader.assignment()) == each for reader in members) and len(values) >= written

        until(look, f"{each} partitions for each, and {written} records")

    first, second = member(), member()
    write(40)
    first.subscribe(["shared"])
    settled([first], 4)
    second.subscribe(["shared"])
    settled([first, second], 2)
    write(40)
    settled([first, second], 2)
    second.close()
    settled([first], 4)
    write(40)
    settled([first], 4)
    place = TopicPartition("shared", 0)
    equal(first.committed(place), 30)
    first.commit({place: OffsetAndMetadata(7, "a note", -1)})
    equal(first.committed(place, metadata=True).metadata, "a note")
    first.close()
    counted = collections.Counter(values)
    equal((len(counted), set(counted.values())), (120, {1}))


def offsets_for_times():
    create("times", 1)
    with producer() as writer:
        for index in range(10):
            writer.send("times", b"x", timestamp_ms=1_000_000 + 1_000 * index)
    place = TopicPartition("times", 0)
    with consumer() as reader:
        for time, offset in ((0, 0), (1_000_001, 1), (1_009_000, 9)):
            found = reader.offsets_for_times({place: time})[place]
            equal((found.offset, found.timestamp), (offset, 1_000_000 + 1_000 * offset))
        equal(reader.offsets_for_times({place: 1_009_001}), {place: None})


def admin_of_all():
    with admin() as client:
        new = {"num_partitions": 2, "replication_factor": 1, "configs": {"retention.ms": "7000"}}
        client.create_topics({"new": new})
        expect(errors.TopicAlreadyExistsError, client.create_topics, {"new": new})
        client.create_partitions({"new": 3})
        expect(errors.InvalidPartitionsError, client.create_partitions, {"new": 1})
        equal([len(topic["partitions"]) for topic in client.describe_topics(["new"])], [3])
        equal(client.list_topics(), ["new"])

        def settings(keys):
            found = client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, "new", keys)])
            return {name: entry["value"] for name, entry in found["topic"]["new"].items()}

        for named, expected in (
            (None, {"retention.ms": "7000"}),
            ([], {"retention.ms": "7000"}),
            (["segment.ms"], {}),
        ):
            equal(settings(named), expected)
        client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "new", {"segment.ms": "9000"})])
        equal(settings(None), {"retention.ms": "7000", "segment.ms": "9000"})
        client.reset_configs([ConfigResource(ConfigResourceType.TOPIC, "new", {})])
        equal(settings(None), {})

        with producer() as writer:
            for index in range(5):
                writer.send("new", b"x", partition=0)
        place = TopicPartition("new", 0)
        client.delete_records({place: 2})
        with consumer("readers") as reader:
            reader.assign([place])
            equal([record.offset for record in read(reader, 3)], [2, 3, 4])
            reader.commit()
        listed = [(group["group_id"], group["group_state"]) for group in client.list_groups()]
        equal(listed, [("readers", "Empty")])
        equal(client.describe_groups(["readers"])["readers"]["group_state"], "Empty")
        equal(client.list_group_offsets({"readers": None})["readers"][place].offset, 5)
        latest, earliest = OffsetSpec.LATEST, OffsetSpec.EARLIEST
        ends = [
            client.list_partition_offsets({place: spec})[place].offset for spec in (earliest, latest)
        ]
        equal(ends, [2, 5])
        client.reset_group_offsets("readers", {place: earliest})
        equal(client.list_group_offsets({"readers": None})["readers"][place].offset, 2)
        client.alter_group_offsets("readers", {TopicPartition("new", 1): OffsetAndMetadata(0, "", -1)})
        client.delete_group_offsets("readers", [place])
        equal(list(client.list_group_offsets({"readers": None})["readers"]), [TopicPartition("new", 1)])
        (folder,) = client.describe_log_dirs(["new"])[0]["log_dirs"]
        equal([topic["name"] for topic in folder["topics"]], ["new"])
        assert any(partition["partition_size"] > 0 for partition in folder["topics"][0]["partitions"])

        client.delete_groups(["readers"])
        equal(client.list_groups(), [])
        node, *others = client.describe_cluster()["brokers"]
        equal((f"{node['host']}:{node['port']}", others), (ADDRESS, []))
        client.delete_topics(["new"])
        equal(client.list_topics(), [])


main(produces_and_consumes, transactions, consumes_in_a_group, offsets_for_times, admin_of_all)
