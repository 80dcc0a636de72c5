"""Every request that the broker advertises, in every version, as kafka-python knows them.

Usage: versions_client.py FUNCTION ADDRESS. Fails with a traceback when something is not as it should be.
"""

import importlib
import pkgutil

import kafka.protocol
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.protocol.api_message import ApiMessage
from kafka.structs import OffsetAndMetadata

from client import ADDRESS, equal, main

# It offers clients these so that they compress (KAFKA-18659), and none sends them.
TOLD_ONLY = [("ProduceRequest", version) for version in (0, 1, 2)]


def request_classes():
    """The class of each request, by the request's key."""
    for module in pkgutil.walk_packages(kafka.protocol.__path__, "kafka.protocol."):
        if not module.name.startswith(("kafka.protocol.generate", "kafka.protocol.old")):
            importlib.import_module(module.name)
    left, classes = list(ApiMessage.__subclasses__()), {}
    while left:
        kind = left.pop()
        left.extend(kind.__subclasses__())
        # Those of one version are made from those of all.
        if kind.is_request() and kind._class_version is None:
            classes[kind.API_KEY] = kind
    return classes


class Client:
    def __init__(self):
        self.admin = KafkaAdminClient(bootstrap_servers=ADDRESS)
        self.classes = request_classes()

    def served(self):
        """Pairs of a request's class and a version."""
        for key, (lowest, highest) in self.admin.api_versions().items():
            kind = self.classes[key.value]
            for version in range(lowest, highest + 1):
                if (kind.name, version) not in TOLD_ONLY:
                    yield kind, version

    def request(self, request):
        async def send():
            return await self.admin._manager.send(request)

        return self.admin._manager.run(send)


def every_request():
    client, requested = Client(), 0
    for kind, version in client.served():
        # It has no answer otherwise.
        fields = {"acks": -1} if kind.name == "ProduceRequest" else {}
        response = client.request(kind(version=version, **fields))
        equal((response.API_KEY, response.API_VERSION), (kind.API_KEY, version))
        requested += 1
    assert requested > 100, requested


def part(kind, inner, version, /, **fields):
    return getattr(kind, inner)(version=version, **fields)


def filled(kind, version, topic_id):
    """A question about the topic or the group, how to find the answer to it, and what that is."""
    if kind.name == "MetadataRequest":
        topic = part(kind, "MetadataRequestTopic", version, name="requested")
        return {"topics": [topic]}, lambda found: len(found.topics[0].partitions), 1
    if kind.name == "ListOffsetsRequest":
        partition = part(
            kind.ListOffsetsTopic, "ListOffsetsPartition", version, partition_index=0, timestamp=-1
        )
        topic = part(kind, "ListOffsetsTopic", version, name="requested", partitions=[partition])
        return (
            {"replica_id": -1, "topics": [topic]},
            lambda found: found.topics[0].partitions[0].offset,
            3,
        )
    if kind.name == "FetchRequest":
        wanted = {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1_000}
        partition = part(kind.FetchTopic, "FetchPartition", version, **wanted)
        topic = part(
            kind, "FetchTopic", version, topic="requested", topic_id=topic_id, partitions=[partition]
        )
        fields = {"max_wait_ms": 1_000, "min_bytes": 1, "max_bytes": 1_000, "topics": [topic]}
        return fields, lambda found: found.responses[0].partitions[0].high_watermark, 3
    if kind.name == "OffsetFetchRequest" and version < 8:
        topic = part(kind, "OffsetFetchRequestTopic", version, name="requested", partition_indexes=[0])
        fields = {"group_id": "group", "topics": [topic]}
        return fields, lambda found: found.topics[0].partitions[0].committed_offset, 2
    if kind.name == "OffsetFetchRequest":
        inner = kind.OffsetFetchRequestGroup
        topic = part(inner, "OffsetFetchRequestTopics", version, name="requested", partition_indexes=[0])
        group = part(kind, "OffsetFetchRequestGroup", version, group_id="group", topics=[topic])
        return (
            {"groups": [group]},
            lambda found: found.groups[0].topics[0].partitions[0].committed_offset,
            2,
        )
    if kind.name == "OffsetCommitRequest":
        wanted = {"partition_index": 0, "committed_offset": 2, "committed_metadata": ""}
        partition = part(
            kind.OffsetCommitRequestTopic, "OffsetCommitRequestPartition", version, **wanted
        )
        topic = part(kind, "OffsetCommitRequestTopic", version, name="requested", partitions=[partition])
        fields = {"group_id": "group", "topics": [topic]}
        return fields, lambda found: found.topics[0].partitions[0].error_code, 0
    if kind.name == "FindCoordinatorRequest":
        fields = {"key": "group"} if version < 4 else {"coordinator_keys": ["group"]}
        return fields, lambda found: (found if version < 4 else found.coordinators[0]).node_id, 1
    if kind.name == "DescribeGroupsRequest":
        return {"groups": ["group"]}, lambda found: found.groups[0].group_state, "Empty"
    if kind.name == "ListGroupsRequest":
        return {}, lambda found: [group.group_id for group in found.groups], ["group"]
    return None


def the_same():
    """The answers are the same, however they are put."""
    client = Client()
    client.admin.create_topics({"requested": {"num_partitions": 1, "replication_factor": 1}})
    with KafkaProducer(bootstrap_servers=ADDRESS) as writer:
        for value in (b"a", b"b", b"c"):
            writer.send("requested", value)
    with KafkaConsumer(bootstrap_servers=ADDRESS, group_id="group") as reader:
        reader.commit({TopicPartition("requested", 0): OffsetAndMetadata(2, "", -1)})
    topic_id = client.admin.describe_topics(["requested"])[0]["topic_id"]
    requested = set()
    for kind, version in client.served():
        question = filled(kind, version, topic_id)
        if question is not None:
            fields, answer, expected = question
            found = answer(client.request(kind(version=version, **fields)))
            equal((kind.name, version, found), (kind.name, version, expected))
            requested.add(kind.name)
    equal(len(requested), 8)


main(every_request, the_same)
