//! One run, split among several processes.

use cdr_model::Shard;

use crate::support::check;
use crate::support::scene::Scene;

#[test]
fn three_shards_at_once_deliver_exactly_the_whole() {
    let scene = Scene::new("shards", 100, 500);
    let start = |shard: &str| scene.run().flag("--shard").flag(shard).start();
    let processes = ["1/3", "2/3", "3/3"].map(start);
    for (process, parts) in processes.into_iter().zip([34, 33, 33]) {
        let records = parts * 500;
        process.end().expect(0).line(&format!(
            "Completed data generation. cdr_data [{records}], cdr_voice [{records}], files [{parts}]"
        ));
    }
    let shards = [1, 2, 3].map(|number| Shard::new(number, 3).expect("a valid shard"));
    check::files(&scene, &scene.uploads(), 0..100);
    check::records(&scene, &shards, 0..100);

    for (other, known) in [("1/2", "/3"), ("1/1", "/3")] {
        let ended = scene.run().with("SHARD", other).end().expect(3);
        let line = ended.line("the run has progress as shard");
        assert!(line.contains(known) && line.contains("--restart"), "{line}");
    }
    check::records(&scene, &shards, 0..100);
}

#[test]
fn a_shard_that_is_killed_is_continued_while_the_other_goes_on() {
    let scene = Scene::new("shard-killed", 120, 500);
    let start = |shard: &str| scene.run_at(40).with("SHARD", shard).start();
    let (first, second) = (start("1/2"), start("2/2"));
    second.wait_for_line("Generated");
    second.kill();
    start("2/2").end().expect(0).line("Continuing run shard-killed, shard 2/2");
    first.end().expect(0);
    let shards = [1, 2].map(|number| Shard::new(number, 2).expect("a valid shard"));
    check::files(&scene, &scene.uploads(), 0..120);
    check::records(&scene, &shards, 0..120);
}
