//! Who calls whom, in as few bytes as that takes.

use crate::population::Called;

/// Who calls whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    pub caller: u32,
    /// A subscriber, or nobody: then the number is that of a destination.
    pub person: u32,
    pub destination: u32,
}

/// No subscriber has this index.
const NOBODY: u32 = u32::MAX;

impl Pair {
    pub fn new(caller: u32, called: Called) -> Pair {
        match called {
            Called::Subscriber(person) => Pair { caller, person, destination: 0 },
            Called::Destination(destination) => Pair { caller, person: NOBODY, destination },
        }
    }

    pub fn called(self) -> Called {
        match self.person {
            NOBODY => Called::Destination(self.destination),
            person => Called::Subscriber(person),
        }
    }

    /// The subscribers of the pair that can be in no other call: the second may be nobody, who is in none.
    pub fn parties(self, members: u32) -> [u32; 2] {
        [self.caller, if self.person < members { self.person } else { self.caller }]
    }
}
