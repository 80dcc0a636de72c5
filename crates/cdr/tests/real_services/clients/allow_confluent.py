"""Allows a principal operations on a topic, a transactional id (transactional_id), a group or the
cluster (broker, kafka-cluster), and thereby no other operation, and nobody else any.

    allow_confluent.py BROKERS KIND NAME PRINCIPAL OPERATION[,OPERATION...]

Returns when all brokers follow the rule: each applies changes in the order in which they were made,
so it is enough that each knows a topic which was made behind it, NAME-allowed.
"""

import sys

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

brokers, kind, name, principal, operations = sys.argv[1:]
admin = AdminClient({"bootstrap.servers": brokers})
rules = [
    AclBinding(
        ResourceType[kind.upper()],
        name,
        ResourcePatternType.LITERAL,
        principal,
        "*",
        AclOperation[operation.upper()],
        AclPermissionType.ALLOW,
    )
    for operation in operations.split(",")
]
for made in admin.create_acls(rules).values():
    made.result()
marker = f"{name}-allowed"
for made in admin.create_topics([NewTopic(marker, 1, 1)]).values():
    made.result()
for broker in brokers.split(","):
    # A client that is new queries the only broker that it knows.
    while marker not in AdminClient({"bootstrap.servers": broker}).list_topics(timeout=30).topics:
        pass
