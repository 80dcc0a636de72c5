"""Reads metrics as Prometheus does, and prints them sorted by name.

    metrics_prometheus.py URL

Prints a line for each sample but those of histograms' buckets: NAME LABELS VALUE, the labels as a JSON
object.
"""

import json
import sys
from urllib.request import Request, urlopen

from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.parser import text_string_to_metric_families

(url,) = sys.argv[1:]
with urlopen(Request(url, headers={"Accept": CONTENT_TYPE_LATEST}), timeout=60) as answer:
    content_type = answer.headers.get_content_type()
    if content_type != "application/openmetrics-text":
        sys.exit(f"not the content type of OpenMetrics: {content_type}")
    text = answer.read().decode()

samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
for sample in sorted(samples, key=lambda sample: sample.name):
    if not sample.name.endswith("_bucket"):
        print(sample.name, json.dumps(sample.labels, sort_keys=True), sample.value)
