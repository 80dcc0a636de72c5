//! What a verification found, for people and for machines.

use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::telemetry::units::count;

/// Findings of each kind that are printed; the others are only counted.
const SHOWN: usize = 20;

/// The outcome of a verification.
#[derive(Debug, Serialize)]
pub struct Report {
    pub run: String,
    /// Whether the run is finished; if not, what is delivered so far was verified.
    pub finished: bool,
    /// Parts of the whole run.
    pub parts: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<RecordsReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FilesReport>,
    /// Whether nothing is missing, doubled or altered, and no record foreign.
    pub right: bool,
    pub seconds: f64,
}

/// One topic.
#[derive(Debug, Default, Serialize)]
pub struct RecordsReport {
    pub topic: String,
    /// Records that the progress counts.
    pub expected: u64,
    /// Records of the run that were read, as far as the progress counts them.
    pub found: u64,
    pub missing: u64,
    pub doubled: u64,
    pub altered: u64,
    pub foreign: u64,
    /// In another partition than their key names.
    pub misplaced: u64,
    /// Delivered since the progress was read.
    pub younger: u64,
    /// Parts that differ, and how many of them were examined: only these have their missing, doubled
    /// and altered records counted.
    pub parts_differing: u64,
    pub parts_examined: u64,
    pub findings: Vec<String>,
}

impl RecordsReport {
    pub fn is_right(&self) -> bool {
        let wrong = [self.missing, self.doubled, self.altered, self.foreign, self.misplaced];
        // Were fewer read than counted, without one that is missed, the reading itself would be wrong.
        wrong == [0; 5] && self.parts_differing == 0 && self.found >= self.expected
    }
}

/// One folder.
#[derive(Debug, Default, Serialize)]
pub struct FilesReport {
    pub target: String,
    /// Files that the progress counts.
    pub expected: u64,
    pub right: u64,
    pub missing: u64,
    pub altered: u64,
    /// Named as files of a run, but of no part of this one.
    pub foreign: u64,
    /// Left behind by uploads that were cut off, or in progress.
    pub temporary: u64,
    /// Of the run, and not counted by its progress yet.
    pub ahead: u64,
    /// Files that have nothing to do with runs.
    pub others: u64,
    pub findings: Vec<String>,
}

impl FilesReport {
    /// Files of other runs may share the folder, and temporary ones are no reader's concern.
    pub fn is_right(&self) -> bool {
        self.missing == 0 && self.altered == 0
    }
}

impl Report {
    /// As lines for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let state =
            if self.finished { "finished" } else { "not finished, verified as far as it has come" };
        writeln!(out, "Run {}, {} parts: {state}", self.run, count(self.parts))?;
        self.records.iter().try_for_each(|records| records.write(out))?;
        self.files.iter().try_for_each(|files| files.write(out))?;
        let verdict = match self.right {
            true => "All is right: nothing is missing, nothing is doubled",
            false => "NOT all is right",
        };
        writeln!(out, "{verdict} ({:.1} s)", self.seconds)
    }
}

impl RecordsReport {
    fn write(&self, out: &mut String) -> fmt::Result {
        let (found, expected) = (count(self.found), count(self.expected));
        write!(out, "  topic {}: {found} of {expected} records", self.topic)?;
        let kinds = [
            (self.missing, "missing"),
            (self.doubled, "doubled"),
            (self.altered, "altered"),
            (self.foreign, "foreign"),
            (self.misplaced, "in another partition than their key names"),
            (self.younger, "delivered since"),
        ];
        write_kinds(out, &kinds)?;
        if self.parts_differing > self.parts_examined {
            let (examined, all) = (count(self.parts_examined), count(self.parts_differing));
            writeln!(out, "    {all} parts differ; the first {examined} of them were examined")?;
        }
        write_findings(out, &self.findings)
    }
}

impl FilesReport {
    fn write(&self, out: &mut String) -> fmt::Result {
        let (right, expected) = (count(self.right), count(self.expected));
        write!(out, "  files in {}: {right} of {expected} right", self.target)?;
        let kinds = [
            (self.missing, "missing"),
            (self.altered, "altered"),
            (self.foreign, "of other runs"),
            (self.temporary, "temporary"),
            (self.ahead, "not counted by the progress yet"),
            (self.others, "others, not looked at"),
        ];
        write_kinds(out, &kinds)?;
        write_findings(out, &self.findings)
    }
}

fn write_kinds(out: &mut String, kinds: &[(u64, &str)]) -> fmt::Result {
    for (number, kind) in kinds.iter().filter(|(number, _)| *number > 0) {
        write!(out, ", {} {kind}", count(*number))?;
    }
    writeln!(out)
}

fn write_findings(out: &mut String, findings: &[String]) -> fmt::Result {
    findings.iter().take(SHOWN).try_for_each(|finding| writeln!(out, "    {finding}"))?;
    match findings.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => writeln!(out, "    … and {} more; --format json has them", count(more as u64)),
    }
}
