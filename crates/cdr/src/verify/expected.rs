//! What should be in the topics.

use std::ops::Range;

use cdr_model::{Generator, Message, MessageFormat, PartIndex, Plan, Stream};

use super::committed::CommittedProgress;

/// What should be in the topics.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    pub generator: &'a Generator,
    pub plan: &'a Plan,
    pub format: MessageFormat,
    pub committed: &'a CommittedProgress,
}

impl Expected<'_> {
    /// Hands over the messages of some records of a part.
    pub fn messages(
        &self,
        stream: Stream,
        part: PartIndex,
        range: Range<u32>,
        each: impl FnMut(Message<'_>),
    ) {
        let part = self.plan.part(part);
        self.format.encode(self.generator, stream, &part, range, each);
    }
}
