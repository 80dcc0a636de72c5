//! What a login must be allowed at the brokers, and how that is granted.

use std::fmt;

/// A right that a login lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    operation: &'static str,
    /// A topic, a transactional id, a group, or the cluster.
    resource: &'static str,
    /// One of these, where the brokers do not report which. The cluster has no name.
    names: Box<[String]>,
}

impl Right {
    pub(super) fn on_topic(operation: &'static str, topic: &str) -> Right {
        Right::on_topics(operation, vec![topic.to_owned()])
    }

    pub(super) fn on_topics(operation: &'static str, topics: Vec<String>) -> Right {
        Right { operation, resource: "topic", names: topics.into() }
    }

    pub(super) fn on_transactional_id(operation: &'static str, id: &str) -> Right {
        Right { operation, resource: "transactional id", names: [id.to_owned()].into() }
    }

    pub(super) fn on_group(operation: &'static str, group: &str) -> Right {
        Right { operation, resource: "group", names: [group.to_owned()].into() }
    }

    pub(super) fn on_cluster(operation: &'static str) -> Right {
        Right { operation, resource: "cluster", names: Box::default() }
    }

    /// The command that grants it, up to the user's name, which may be a secret.
    pub(super) fn grant(&self) -> String {
        let option = format!("--{}", self.resource.replace(' ', "-"));
        let options: Vec<String> = match self.names.is_empty() {
            true => vec![option],
            false => self.names.iter().map(|name| format!("{option} {name}")).collect(),
        };
        let (operation, options) = (self.operation.to_lowercase(), options.join(" "));
        format!("rpk acl create --allow-principal User:NAME --operation {operation} {options}")
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Right { operation, resource, names } = self;
        match &names[..] {
            [] => write!(f, "{operation} on the {resource}"),
            [name] => write!(f, "{operation} on {resource} {name}"),
            _ => write!(f, "{operation} on one of the {resource}s {}", names.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(right: Right, text: &str, options: &str) {
        assert_eq!(right.to_string(), text);
        assert_eq!(right.grant(), format!("rpk acl create --allow-principal User:NAME {options}"));
    }

    #[test]
    fn a_right_is_named_with_the_command_that_grants_it() {
        check(
            Right::on_topic("Write", "cdr_data"),
            "Write on topic cdr_data",
            "--operation write --topic cdr_data",
        );
        check(
            Right::on_topics("Write", vec!["a".to_owned(), "b".to_owned()]),
            "Write on one of the topics a, b",
            "--operation write --topic a --topic b",
        );
        check(
            Right::on_transactional_id("Write", "cdr-2-of-8"),
            "Write on transactional id cdr-2-of-8",
            "--operation write --transactional-id cdr-2-of-8",
        );
        check(
            Right::on_cluster("IdempotentWrite"),
            "IdempotentWrite on the cluster",
            "--operation idempotentwrite --cluster",
        );
    }
}
