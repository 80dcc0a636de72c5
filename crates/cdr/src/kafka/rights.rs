//! What a login must be allowed at the brokers, and how that is granted.

use std::fmt;

/// A right that a login lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    operation: &'static str,
    resource: Resource,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Resource {
    /// One of these, where the brokers do not report which.
    Topics(Vec<String>),
    TransactionalId(String),
    Group(String),
    Cluster,
}

impl Right {
    pub(super) fn on_topic(operation: &'static str, topic: &str) -> Right {
        Right::on_topics(operation, vec![topic.to_owned()])
    }

    pub(super) fn on_topics(operation: &'static str, topics: Vec<String>) -> Right {
        Right { operation, resource: Resource::Topics(topics) }
    }

    pub(super) fn on_transactional_id(operation: &'static str, id: &str) -> Right {
        Right { operation, resource: Resource::TransactionalId(id.to_owned()) }
    }

    pub(super) fn on_group(operation: &'static str, group: &str) -> Right {
        Right { operation, resource: Resource::Group(group.to_owned()) }
    }

    pub(super) fn on_cluster(operation: &'static str) -> Right {
        Right { operation, resource: Resource::Cluster }
    }

    /// The command that grants it, up to the user's name, which may be a secret.
    pub(super) fn grant(&self) -> String {
        let resource = match &self.resource {
            Resource::Topics(topics) => {
                let each: Vec<String> = topics.iter().map(|topic| format!("--topic {topic}")).collect();
                each.join(" ")
            }
            Resource::TransactionalId(id) => format!("--transactional-id {id}"),
            Resource::Group(group) => format!("--group {group}"),
            Resource::Cluster => "--cluster".to_owned(),
        };
        let operation = self.operation.to_lowercase();
        format!("rpk acl create --allow-principal User:NAME --operation {operation} {resource}")
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = self.operation;
        match &self.resource {
            Resource::Topics(topics) if topics.len() == 1 => {
                write!(f, "{operation} on topic {}", topics[0])
            }
            Resource::Topics(topics) => {
                write!(f, "{operation} on one of the topics {}", topics.join(", "))
            }
            Resource::Group(group) => write!(f, "{operation} on group {group}"),
            Resource::TransactionalId(id) => write!(f, "{operation} on transactional id {id}"),
            Resource::Cluster => write!(f, "{operation} on the cluster"),
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
