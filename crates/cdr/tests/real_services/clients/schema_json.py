"""Counts the messages that a JSON Schema takes, and those that it refuses once something is wrong with them.

    schema_json.py SCHEMA MESSAGES STREAM
"""

import json
import sys

import jsonschema_rs

with open(sys.argv[1]) as file:
    validator = jsonschema_rs.validator_for(json.load(file))
right = without = number = 0
with open(sys.argv[2]) as lines:
    for line in lines:
        message = json.loads(line)
        right += validator.is_valid(message)
        without += not validator.is_valid({key: value for key, value in message.items() if key != "tower_id"})
        number += not validator.is_valid({**message, "msisdn": int(message["msisdn"])})
print(f"{right} right, {without} without a field refused, {number} with a number refused")
