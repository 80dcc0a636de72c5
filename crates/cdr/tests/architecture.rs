//! ARCHITECTURE.md, held against the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn document() -> String {
    fs::read_to_string(project().join("ARCHITECTURE.md")).unwrap()
}

/// A file of a crate's sources, by its path below `src`.
struct Source {
    path: String,
    /// Without comments and without tests.
    code: String,
}

impl Source {
    /// `files::sftp::connect` of `files/sftp/connect.rs`.
    fn module(&self) -> Vec<String> {
        let path = self.path.trim_end_matches(".rs");
        let path = path.strip_suffix("/mod").unwrap_or(path);
        path.split('/').map(str::to_owned).collect()
    }
}

/// All files of a crate but those of tests.
fn sources(of: &str) -> Vec<Source> {
    let root = project().join("crates").join(of).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(found.len() > 10, "{of}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_of_tests = name == "tests" || name == "tests.rs" || name.ends_with("_tests.rs");
        match path.is_dir() {
            _ if is_of_tests => {}
            true => collect(root, &path, found),
            false if name.ends_with(".rs") => {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                found.push(Source { path, code: code(&text) });
            }
            false => {}
        }
    }
}

/// The text up to its tests, without comments.
fn code(text: &str) -> String {
    let until = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..until].lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// That only files below these paths name a crate.
fn check_only(places: &[&str], names: &[&str]) {
    for source in sources("cdr") {
        let is_allowed = places.iter().any(|place| source.path.starts_with(place));
        for name in names {
            let used = [format!("use {name}::"), format!(" {name}::"), format!("({name}::")];
            let uses = used.iter().any(|used| source.code.contains(used.as_str()));
            assert!(is_allowed || !uses, "{} names {name}, which only {places:?} may", source.path);
        }
    }
}

#[test]
fn only_the_kafka_room_knows_the_kafka_client() {
    check_only(&["kafka/"], &["rdkafka"]);
}

#[test]
fn only_the_store_knows_databases() {
    check_only(&["processing/store/"], &["rusqlite", "postgres", "postgres_openssl"]);
}

#[test]
fn only_the_sftp_sink_knows_ssh() {
    check_only(&["files/sftp/"], &["russh"]);
}

#[test]
fn only_the_server_accepts_http_connections() {
    check_only(&["http/"], &["hyper", "hyper_util"]);
    let routes = ["http/", "processing/api/", "processing/metrics.rs", "processing/probes.rs"];
    check_only(&[&routes[..], &["processing/problem.rs"]].concat(), &["axum"]);
}

#[test]
fn only_one_file_writes_to_standard_output() {
    for source in sources("cdr").iter().chain(&sources("model")).chain(&sources("sandbox")) {
        let is_allowed = source.path == "output.rs";
        for call in ["println!(", "print!(", "eprintln!(", "io::stdout()"] {
            let calls = source.code.match_indices(call).any(|(at, _)| {
                let before = source.code[..at].chars().next_back();
                !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
            });
            assert!(is_allowed || !calls, "{} calls {call}", source.path);
        }
    }
}

#[test]
fn only_one_file_is_unsafe() {
    for source in sources("cdr") {
        let is_allowed = source.path == "kafka/native.rs";
        assert!(is_allowed || !source.code.contains("unsafe "), "{}", source.path);
    }
}

#[test]
fn the_model_knows_no_clock_no_file_and_no_network() {
    let forbidden = [
        "std::fs",
        "TcpStream",
        "UdpSocket",
        "std::thread",
        "Instant",
        "SystemTime",
        "Utc::now",
        "tokio",
    ];
    for source in sources("model") {
        for name in forbidden {
            assert!(!source.code.contains(name), "{} names {name}", source.path);
        }
    }
}

/// Rooms of `cdr` from the bottom up: what stands in a row may import from the rows above it here, and
/// not from its own.
const LAYERS: &[&[&str]] = &[
    &["secret", "pause", "output"],
    &["settings"],
    &["telemetry"],
    &["http", "kafka", "files"],
    &["delivery", "processing", "verify"],
    &["facts"],
    &["config"],
    &["setup", "exit"],
    &["commands"],
    &["cli"],
    &["main", "lib"],
];

fn layer(room: &str) -> usize {
    let found = LAYERS.iter().position(|rooms| rooms.contains(&room));
    found.unwrap_or_else(|| panic!("{room} stands in no layer"))
}

#[test]
fn no_import_runs_back_up() {
    for source in sources("cdr") {
        let module = source.module();
        for target in imports(&source) {
            let (from, to) = (&module[0], &target[0]);
            let is_down = from == to || layer(to) < layer(from);
            assert!(is_down, "{} imports {}, which runs back up", source.path, target.join("::"));
        }
    }
}

/// The modules of the crate that a file names, as paths from its root.
fn imports(source: &Source) -> Vec<Vec<String>> {
    let module = source.module();
    let mut found = Vec::new();
    for path in paths(&source.code) {
        let mut segments = path.split("::").map(str::to_owned).peekable();
        let mut absolute = match segments.next().as_deref() {
            Some("crate" | "cdr") => Vec::new(),
            Some("self") => module.clone(),
            Some("super") => module[..module.len() - 1].to_vec(),
            _ => continue,
        };
        while segments.peek().is_some_and(|segment| segment == "super") {
            segments.next();
            absolute.pop();
        }
        absolute.extend(segments);
        if !absolute.is_empty() {
            found.push(absolute);
        }
    }
    found
}

/// Paths in the code that begin with `crate`, `self` or `super`; groups in braces are taken apart.
fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for begin in ["crate::", "super::", "self::", "cdr::"] {
        for (at, _) in code.match_indices(begin) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
                continue;
            }
            expand(&code[at..], "", &mut found);
        }
    }
    found
}

/// Adds the paths at the front of a text.
fn expand(text: &str, prefix: &str, found: &mut Vec<String>) {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let path = format!("{prefix}{}", text[..end].trim_end_matches("::"));
    if !text[end..].starts_with('{') || !text[..end].ends_with("::") {
        found.push(path);
        return;
    }
    let (mut depth, mut begin) = (0, end + 1);
    for (at, letter) in text[end..].char_indices().map(|(at, letter)| (end + at, letter)) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => {}
            _ => continue,
        }
        if depth == 0 || (letter == ',' && depth == 1) {
            let item = text[begin..at].trim();
            if !item.is_empty() {
                expand(item, &format!("{path}::"), found);
            }
            begin = at + 1;
        }
        if depth == 0 {
            return;
        }
    }
}

#[test]
fn groups_of_imports_are_taken_apart() {
    let mut found = Vec::new();
    expand("crate::a::{B, c::{D, E}, self};", "", &mut found);
    assert_eq!(found, ["crate::a::B", "crate::a::c::D", "crate::a::c::E", "crate::a::self"]);
    assert_eq!(paths("use super::x::Y;\nlet z = crate::q();"), ["crate::q", "super::x::Y"]);
}

/// In each folder: which of its modules names which.
fn neighbours(of: &str) -> BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> {
    // What tests add stands in one file instead of those that it shows.
    let sources: Vec<Source> =
        sources(of).into_iter().filter(|source| source.path != "additions.rs").collect();
    let modules: BTreeSet<Vec<String>> = sources.iter().map(Source::module).collect();
    let mut folders: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for source in &sources {
        let module = source.module();
        for target in imports(source) {
            let same = module.iter().zip(&target).take_while(|(a, b)| a == b).count();
            let (Some(from), Some(to)) = (module.get(same), target.get(same)) else { continue };
            let is_module = modules.contains(&target[..=same]);
            if is_module {
                let of_folder = folders.entry(module[..same].to_vec()).or_default();
                of_folder.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    folders
}

#[test]
fn no_modules_of_a_folder_import_each_other_in_a_circle() {
    for of in ["cdr", "model", "sandbox"] {
        for (folder, imports) in neighbours(of) {
            for start in imports.keys() {
                let mut seen = BTreeSet::new();
                let mut open: Vec<&String> = imports[start].iter().collect();
                while let Some(next) = open.pop() {
                    assert_ne!(
                        next,
                        start,
                        "{of}/{}: {start} is in a circle: {imports:?}",
                        folder.join("/")
                    );
                    if seen.insert(next) {
                        open.extend(imports.get(next).into_iter().flatten());
                    }
                }
            }
        }
    }
}

/// The backticked words of a text.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Rust files of the project longer than this many lines.
fn longer_than(lines: usize, folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            longer_than(lines, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && fs::read_to_string(&path).unwrap().lines().count() > lines
        {
            found.push(path);
        }
    }
}

#[test]
fn no_file_has_more_than_500_lines() {
    let crates = project().join("crates");
    let (mut long, mut all) = (Vec::new(), Vec::new());
    longer_than(500, &crates, &mut long);
    longer_than(0, &crates, &mut all);
    assert!(all.len() > 300, "{}", all.len());
    assert_eq!(long, Vec::<PathBuf>::new());
}

/// The rows of the table behind a line that begins so.
fn rows(document: &str, heading: &str) -> Vec<String> {
    let behind = document.split(heading).nth(1).unwrap_or_else(|| panic!("no {heading:?}"));
    let table = behind.lines().skip_while(|line| !line.starts_with("|---"));
    table.skip(1).take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

#[test]
fn the_code_map_has_each_module_and_names_none_that_is_not_there() {
    let document = document();
    for (of, heading) in [
        ("cdr/src", "`crates/cdr`"),
        ("model/src", "`crates/model`"),
        ("sandbox/src/sftp", "`crates/sandbox/src/sftp`"),
        ("sandbox/src/kafka", "`crates/sandbox/src/kafka`"),
    ] {
        let root = project().join("crates").join(of);
        let first_cell = |row: &String| row.split('|').nth(1).unwrap_or_default().to_owned();
        let named: BTreeSet<String> =
            rows(&document, heading).iter().map(first_cell).flat_map(|cell| quoted(&cell)).collect();
        for name in &named {
            assert!(root.join(name).exists(), "{of}: {name} is in the code map, but not there");
        }
        for entry in fs::read_dir(&root).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            // A folder beside the file of its name belongs to that.
            let is_part = ["lib.rs", "mod.rs", "tests"].contains(&name.as_str())
                || root.join(format!("{name}.rs")).exists();
            let name = if entry.path().is_dir() { format!("{name}/") } else { name };
            let is_there = named.iter().any(|named| *named == name || named.starts_with(&name));
            assert!(is_part || is_there, "{of}: {name} is not in the code map");
        }
    }
}

/// The files that ARCHITECTURE.md names for something to be added.
fn touched(what: &str) -> Vec<String> {
    let document = document();
    let section = document.split("## How to add").nth(1).expect("how to add");
    let row = section.lines().find(|line| line.starts_with(&format!("| {what} |")));
    let row = row.unwrap_or_else(|| panic!("no row for {what}"));
    quoted(row.split('|').nth(2).unwrap_or_default())
}

#[test]
fn what_is_added_touches_few_files() {
    for (what, most) in [
        ("a stream", 8),
        ("an encoding", 3),
        ("a file sink", 4),
        ("a profile", 3),
        ("a setting", 2),
        ("a command", 2),
    ] {
        let files = touched(what);
        assert!((1..=most).contains(&files.len()), "{what}: {files:?}");
        for file in files.iter().filter(|file| !file.contains('<')) {
            assert!(project().join("crates").join(file).exists(), "{what}: {file} is not there");
        }
    }
}

/// What only tests know is there to show that the lists are whole.
#[test]
fn a_stream_an_encoding_and_a_profile_touch_no_other_files_than_those_named() {
    let mut named: BTreeSet<String> = touched("a stream").into_iter().collect();
    named.extend(touched("an encoding"));
    named.extend(touched("a profile"));
    named.retain(|file| !file.contains('<'));
    let mut found = BTreeSet::new();
    for of in ["model", "cdr", "sandbox"] {
        let with_addition =
            sources(of).into_iter().filter(|source| source.code.contains("test-additions"));
        found.extend(with_addition.map(|source| format!("{of}/src/{}", source.path)));
    }
    // Where the addition itself is declared.
    found.remove("model/src/lib.rs");
    assert_eq!(named, found);
}
