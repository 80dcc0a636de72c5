"""Sums the usage in a topic as the stream processors in use today do.

    usage_confluent.py BROKERS TOPIC

Prints a JSON object: "MSISDN DATE TYPE": [RECORDS, BYTES OR SECONDS].
"""

import json
import sys
from collections import defaultdict
from datetime import datetime

from confluent_kafka import Consumer, KafkaError

brokers, topic = sys.argv[1:]
consumer = Consumer(
    {
        "bootstrap.servers": brokers,
        "group.id": f"usage-of-{topic}",
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
    }
)
consumer.subscribe([topic])
partitions = len(consumer.list_topics(topic).topics[topic].partitions)

usage = defaultdict(lambda: [0, 0])
at_end = set()
while len(at_end) < partitions:
    message = consumer.poll(1)
    if message is None:
        continue
    if message.error() is not None:
        if message.error().code() != KafkaError._PARTITION_EOF:
            sys.exit(str(message.error()))
        at_end.add(message.partition())
        continue
    record = json.loads(message.value())
    if "data_type" in record:
        time, kind = record["event_datetime"], record["data_type"]
        amount = int(record["up_bytes"]) + int(record["down_bytes"])
    else:
        time, kind = record["start_time"], record["call_type"]
        amount = int(record["call_duration_sec"])
    if message.key().decode() != record["msisdn"]:
        sys.exit(f"the key {message.key()} is not the msisdn of {record}")
    total = usage[f"{record['msisdn']} {datetime.fromisoformat(time).date()} {kind}"]
    total[0] += 1
    total[1] += amount
consumer.close()
json.dump(usage, sys.stdout)
