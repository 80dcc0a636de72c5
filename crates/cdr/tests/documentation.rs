//! The documents: what is generated in them is up to date, links lead somewhere, and commands are those
//! that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cdr::cli::Cli;
use clap::{CommandFactory, Parser};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A document, by its path in the project.
struct Document {
    path: String,
    text: String,
}

impl Document {
    fn read(path: &str) -> Document {
        let text =
            fs::read_to_string(project().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        Document { path: path.to_owned(), text }
    }

    /// Lines with whether they stand in a block of code, and in which language.
    fn lines(&self) -> Vec<(Option<String>, &str)> {
        let mut language: Option<String> = None;
        let mut lines = Vec::new();
        for line in self.text.lines() {
            match (line.strip_prefix("```"), &language) {
                (Some(name), None) => language = Some(name.to_owned()),
                (Some(_), Some(_)) => language = None,
                (None, _) => lines.push((language.clone(), line)),
            }
        }
        assert!(language.is_none(), "{}: a block of code has no end", self.path);
        lines
    }

    /// The anchors of its headings, as GitHub and mdBook make them.
    fn anchors(&self) -> BTreeSet<String> {
        let lines = self.lines();
        let headings = lines.iter().filter(|(code, line)| code.is_none() && line.starts_with('#'));
        let anchor = |heading: &str| -> String {
            let text = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        };
        headings.map(|(_, line)| anchor(line)).collect()
    }

    /// What stands between two marks.
    fn between(&self, name: &str) -> &str {
        let (begin, end) = (format!("<!-- {name}: begin"), format!("<!-- {name}: end -->"));
        let rest = self.text.split(&begin).nth(1).unwrap_or_else(|| panic!("{}: no {begin}", self.path));
        let rest = rest.split_once("-->").expect("the mark ends").1;
        rest.split(&end).next().unwrap().trim()
    }
}

fn documents() -> Vec<Document> {
    let mut paths: Vec<String> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned).into();
    for entry in fs::read_dir(project().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            paths.push(format!("docs/{name}"));
        }
    }
    paths.sort();
    paths.iter().map(|path| Document::read(path)).collect()
}

fn printed(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_cdr")).args(arguments).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn check_generated(path: &str, name: &str, arguments: &[&str]) {
    assert!(
        Document::read(path).between(name) == printed(arguments).trim(),
        "put the output of `cdr {}` between the two marks \"{name}\" of {path}",
        arguments.join(" ")
    );
}

#[test]
fn the_table_of_settings_is_that_of_the_registry() {
    check_generated("docs/configuration.md", "settings", &["config", "--markdown"]);
}

#[test]
fn the_data_dictionary_is_that_of_the_records() {
    check_generated("docs/data-dictionary.md", "dictionary", &["schema", "--format", "markdown"]);
}

#[test]
fn the_readme_is_short() {
    assert!(Document::read("README.md").text.len() <= 8_192);
}

/// The targets of a line's links: `[…](TARGET)`, also of images.
fn links(line: &str) -> Vec<&str> {
    let behind = line.split("](").skip(1);
    behind.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for document in documents() {
        let folder = project().join(&document.path).parent().unwrap().to_owned();
        for (code, line) in document.lines() {
            if code.is_some() {
                continue;
            }
            for target in links(line).into_iter().filter(|target| !target.contains("://")) {
                count += 1;
                let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
                let file = match path {
                    "" => project().join(&document.path),
                    path => folder.join(path),
                };
                assert!(file.exists(), "{}: {target} is not there", document.path);
                if !anchor.is_empty() {
                    let text = fs::read_to_string(&file).unwrap();
                    let there = Document { path: target.to_owned(), text }.anchors();
                    assert!(there.contains(anchor), "{}: no {target}, but {there:?}", document.path);
                }
            }
        }
    }
    assert!(count > 20, "{count} links");
}

#[test]
fn every_page_of_the_book_is_in_its_summary_and_in_the_readme() {
    let (summary, readme) = (Document::read("docs/SUMMARY.md").text, Document::read("README.md").text);
    for document in documents() {
        let Some(name) = document.path.strip_prefix("docs/").filter(|name| *name != "SUMMARY.md") else {
            continue;
        };
        assert!(summary.contains(&format!("]({name})")), "{name} is not in SUMMARY.md");
        assert!(readme.contains(&format!("](docs/{name})")), "{name} is not in README.md");
    }
}

/// The command lines of a document: what stands in blocks of shell, and in backticks where that begins
/// like a command.
fn commands(document: &Document) -> Vec<String> {
    let mut found = Vec::new();
    for (code, line) in document.lines() {
        match code.as_deref() {
            Some("sh") => found.push(line.trim_start_matches("$ ").to_owned()),
            Some(_) => {}
            None => found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned)),
        }
    }
    // A comment, and what reads the output of a command, are no part of it.
    let alone = |line: String| {
        let line = line.split(" #").next().unwrap_or_default().to_owned();
        line.split(['|', '&', ';', '>', '<']).map(|part| part.trim().to_owned()).collect::<Vec<_>>()
    };
    found.into_iter().flat_map(alone).filter(|line| !line.is_empty()).collect()
}

/// Its words, without the variables that are set for it. What stands between single quotes is one word.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for character in line.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(character),
        }
    }
    let is_variable = |word: &String| {
        word.split_once('=')
            .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    };
    words.into_iter().filter(|word| !word.is_empty()).skip_while(is_variable).collect()
}

#[test]
fn every_command_of_cdr_that_is_named_can_be_given() {
    let mut count = 0;
    for document in documents() {
        for line in commands(&document) {
            let words = words(&line);
            let is_command = words.first().is_some_and(|word| word == "cdr") && words.len() > 1;
            // `cdr …` stands for any of them.
            if !is_command || words[1] == "…" {
                continue;
            }
            count += 1;
            // A command alone is named, and need not be complete.
            let is_name = words.len() == 2;
            if is_name && Cli::command().find_subcommand(&words[1]).is_some() {
                continue;
            }
            if let Err(error) = Cli::try_parse_from(&words)
                && error.use_stderr()
            {
                panic!("{}: {line}: {error}", document.path);
            }
        }
    }
    assert!(count > 40, "{count} commands");
}

#[test]
fn every_script_that_is_named_is_there_and_can_be_run() {
    use std::os::unix::fs::PermissionsExt;
    let mut count = 0;
    for document in documents() {
        for line in commands(&document) {
            let Some(script) = words(&line).into_iter().next() else { continue };
            let is_script = script.starts_with("scripts/") || script.starts_with("./");
            if !is_script || script.ends_with('/') || script.contains("lib/") {
                continue;
            }
            count += 1;
            let metadata = fs::metadata(project().join(&script));
            let metadata =
                metadata.unwrap_or_else(|error| panic!("{}: {script}: {error}", document.path));
            assert!(metadata.permissions().mode() & 0o111 != 0, "{script} cannot be run");
        }
    }
    assert!(count > 10, "{count} scripts");
}

#[test]
fn every_subcommand_is_in_the_readme() {
    let readme = Document::read("README.md").text;
    for command in Cli::command().get_subcommands() {
        let row = format!("| `cdr {}` |", command.get_name());
        assert!(readme.contains(&row), "no row {row}");
    }
}
