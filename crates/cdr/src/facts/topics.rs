//! Records from topics.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use anyhow::bail;
use cdr_model::{Fact, MessageFormat};
use serde_json::{Map, Value};

use super::columns::{Column, Kind, Layout, Row, read, together};
use super::order::{Order, WAITING_MAX};
use super::{Each, LeftOut, Window};
use crate::kafka::{Cluster, TopicRange};
use crate::processing::message;
use crate::telemetry::Count;

/// What topics hold for readers of committed records.
pub struct Topics {
    cluster: Cluster,
    ranges: Vec<TopicRange>,
    format: MessageFormat,
    layout: Layout,
    pub window: Window,
    count: Count,
}

impl Topics {
    /// Reads the topics once, for the times of their records; `None` after a shutdown.
    ///
    /// # Errors
    /// Brokers that refuse it, and topics without a record that can be read.
    pub fn open(
        mut cluster: Cluster,
        topics: &[String],
        format: MessageFormat,
        layout: Layout,
        count: Count,
    ) -> anyhow::Result<Option<Topics>> {
        let mut ranges = Vec::new();
        for topic in topics {
            ranges.extend(cluster.committed_range(topic)?);
        }
        let offsets = |range: &TopicRange| range.to.iter().sum::<i64>() - range.from.iter().sum::<i64>();
        // They are read twice: first for their times, then in order.
        count.total.store(2 * ranges.iter().map(offsets).sum::<i64>() as u64, Ordering::Relaxed);
        let (mut window, mut left_out) = (None, LeftOut::default());
        let mut reading =
            Reading { cluster: &mut cluster, ranges: &ranges, format, layout: &layout, count: &count };
        let whole = reading.each(&mut left_out, &mut |fact| {
            window = Some(super::widened(window, fact.time()));
        })?;
        if !whole {
            return Ok(None);
        }
        let Some(window) = window else {
            let problems = match ranges.len() {
                0 => "there are no such topics".to_owned(),
                _ if left_out.is_empty() => "they are empty".to_owned(),
                _ => left_out.described.join("; "),
            };
            bail!("topics {} hold no record that can be read: {problems}", topics.join(" and "));
        };
        Ok(Some(Topics { cluster, ranges, format, layout, window, count }))
    }

    /// Hands over all records, in the order of time; `None` after a shutdown.
    pub fn each(&mut self, each: &mut Each<'_>) -> anyhow::Result<Option<LeftOut>> {
        let (mut order, mut left_out) = (Order::new(WAITING_MAX), LeftOut::default());
        let Topics { cluster, ranges, format, layout, count, .. } = self;
        let mut reading = Reading { cluster, ranges, format: *format, layout, count };
        let whole = reading.each(&mut left_out, &mut |fact| order.take(fact, each))?;
        left_out.late = order.end(each);
        Ok(whole.then_some(left_out))
    }
}

struct Reading<'a> {
    cluster: &'a mut Cluster,
    ranges: &'a [TopicRange],
    format: MessageFormat,
    layout: &'a Layout,
    count: &'a Count,
}

impl Reading<'_> {
    /// Partition by partition in their own order, none far ahead of the others; `false` after a shutdown.
    fn each(&mut self, left_out: &mut LeftOut, each: &mut dyn FnMut(Fact)) -> anyhow::Result<bool> {
        let Reading { cluster, ranges, format, layout, count } = self;
        let whole = cluster.read(ranges, |range, record| {
            count.done.fetch_add(1, Ordering::Relaxed);
            match fact(*format, record.value, layout) {
                Ok(fact) => each(fact),
                Err(problem) => left_out.describe(|| {
                    let (topic, partition, offset) =
                        (&ranges[range].topic, record.partition, record.offset);
                    format!("{topic}, partition {partition}, offset {offset}: {problem}")
                }),
            }
        })?;
        Ok(whole)
    }
}

fn fact(format: MessageFormat, value: &[u8], layout: &Layout) -> Result<Fact, String> {
    let fields = message::fields(format, value).map_err(|problem| problem.to_string())?;
    let message = Message { fields: &fields, layout };
    let kind = Kind::by(|column| message.text(column).is_some())?;
    read(kind, &message, layout.time_format.as_deref()).map_err(|problem| problem.to_string())
}

struct Message<'a> {
    fields: &'a Map<String, Value>,
    layout: &'a Layout,
}

impl Row for Message<'_> {
    fn text(&self, column: Column) -> Option<Cow<'_, str>> {
        together(self.layout.columns.of(column), |name| match self.fields.get(name)? {
            Value::String(text) => Some(text.trim().into()),
            Value::Null => None,
            other => Some(other.to_string().into()),
        })
    }
}
