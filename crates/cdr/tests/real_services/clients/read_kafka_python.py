"""Prints each committed record of a topic, up to its end, as a line `PARTITION KEY VALUE`.

    read_kafka_python.py BROKERS TOPIC
"""

import sys

from kafka import KafkaConsumer, TopicPartition

brokers, topic = sys.argv[1:]
consumer = KafkaConsumer(
    bootstrap_servers=brokers.split(","),
    isolation_level="read_committed",
    enable_auto_commit=False,
)
partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
consumer.assign(partitions)
consumer.seek_to_beginning(*partitions)
ends = consumer.end_offsets(partitions)
while any(consumer.position(partition) < ends[partition] for partition in partitions):
    for records in consumer.poll(timeout_ms=1000).values():
        for record in records:
            print(record.partition, record.key.decode(), record.value.decode())
consumer.close()
