//! What `cdr schema` prints, as taken by programs that nobody here wrote: each takes what a run
//! delivers, and a msisdn for text.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use cdr_model::{Message, MessageFormat, PartIndex, Shard, Stream};

use crate::support::clients;
use crate::support::scene::Scene;

const RECORDS: u32 = 1_000;

/// A part's file and its messages, on this machine's disk.
struct Delivered {
    scene: Scene,
    stream: Stream,
    csv: PathBuf,
    messages: PathBuf,
}

impl Delivered {
    fn new(name: &'static str, stream: Stream) -> Delivered {
        let scene = Scene::new(name, 1, RECORDS);
        let generator = scene.generator();
        let (_, content) = scene.files_of(&generator, 0)[stream as usize].clone();
        let csv = scene.folder.join(format!("{stream}.csv"));
        fs::write(&csv, content).expect("the folder is ours");
        let (part, mut lines) = (scene.plan(Shard::WHOLE).part(PartIndex(0)), Vec::new());
        MessageFormat::Json.encode(&generator, stream, &part, 0..RECORDS, |message: Message<'_>| {
            lines.extend_from_slice(message.value);
            lines.push(b'\n');
        });
        let messages = scene.folder.join(format!("{stream}.jsonl"));
        fs::write(&messages, lines).expect("the folder is ours");
        Delivered { scene, stream, csv, messages }
    }

    /// `cdr schema`.
    fn schema(&self, format: &str) -> Vec<u8> {
        let mut cdr = Command::new(env!("CARGO_BIN_EXE_cdr"));
        cdr.args(["schema", self.stream.short_name(), "--format", format]);
        clients::output(&self.scene.folder, cdr)
    }

    /// The same in a file.
    fn schema_file(&self, format: &str) -> PathBuf {
        let path = self.scene.folder.join(format!("{}.{format}", self.stream));
        fs::write(&path, self.schema(format)).expect("the folder is ours");
        path
    }

    /// What a Python program prints of a schema and what was delivered.
    fn read(&self, program: &str, schema: &str, delivered: &PathBuf) -> String {
        let mut python = clients::python(self.scene.services, program);
        python.arg(self.schema_file(schema)).arg(delivered).arg(self.stream.name());
        String::from_utf8(clients::output(&self.scene.folder, python)).expect("text")
    }
}

#[test]
fn json_schema_takes_every_message_and_refuses_one_that_lacks_a_field_or_has_a_number_for_text() {
    for (name, stream) in [("schema-json-data", Stream::Data), ("schema-json-voice", Stream::Voice)] {
        let delivered = Delivered::new(name, stream);
        let found = delivered.read("schema_json.py", "json-schema", &delivered.messages);
        assert_eq!(found, "1000 right, 1000 without a field refused, 1000 with a number refused\n");
    }
}

#[test]
fn frictionless_takes_every_file_and_reads_a_msisdn_as_text() {
    for (name, stream) in [("schema-table-data", Stream::Data), ("schema-table-voice", Stream::Voice)] {
        let delivered = Delivered::new(name, stream);
        let found = delivered.read("schema_frictionless.py", "frictionless", &delivered.csv);
        assert_eq!(found, "1000 rows, msisdn str, a changed file is refused\n");
    }
}

#[test]
fn duckdb_takes_every_file_into_the_table() {
    for (name, stream) in [("schema-duck-data", Stream::Data), ("schema-duck-voice", Stream::Voice)] {
        let delivered = Delivered::new(name, stream);
        let found = delivered.read("schema_duckdb.py", "sql", &delivered.csv);
        assert_eq!(found, "1000 rows, msisdn VARCHAR\n");
    }
}

#[test]
fn postgresql_takes_every_file_into_the_table() {
    for (name, stream) in [("schema-pg-data", Stream::Data), ("schema-pg-voice", Stream::Voice)] {
        let delivered = Delivered::new(name, stream);
        let url = delivered.scene.services.variable("STORE_URL");
        let mut client = postgres::Client::connect(url, postgres::NoTls).expect("the server is there");
        // Tests share the database, but no table.
        let own = format!("schema_of_{}", stream.short_name());
        let sql = String::from_utf8(delivered.schema("sql")).expect("text");
        client.batch_execute(&format!("CREATE SCHEMA {own}; SET search_path TO {own}")).expect("ours");
        client.batch_execute(&sql).expect("a table");
        let copy = format!("COPY {stream} FROM STDIN (FORMAT csv, HEADER match)");
        let mut writer = client.copy_in(&copy).expect("the table is there");
        let mut csv = fs::File::open(&delivered.csv).expect("it was written");
        std::io::copy(&mut csv, &mut writer).expect("a sound connection");
        assert_eq!(writer.finish().expect("every row is taken"), u64::from(RECORDS));
        let query = format!("SELECT DISTINCT pg_typeof(msisdn)::text FROM {stream}");
        let types = client.query(&query, &[]).expect("the table is there");
        assert_eq!(types.iter().map(|row| row.get(0)).collect::<Vec<String>>(), ["text"]);
        client.batch_execute(&format!("DROP SCHEMA {own} CASCADE")).expect("ours");
    }
}
