//! lftp.

use std::fs;

use crate::support::{Setup, content, run, succeed};

async fn lftp(setup: &Setup, commands: &str) -> String {
    let mut lftp = setup.program("lftp");
    let ssh = format!("ssh -a -x {}", setup.ssh_options().join(" "));
    // With a key to log in, the password is not used, but without one lftp prompts for it.
    let script = format!(
        "set sftp:connect-program \"{ssh}\"\nset net:max-retries 1\nset net:timeout 20\n\
        set cmd:fail-exit yes\nopen sftp://cdr_data:unused@127.0.0.1:{}\n{commands}\n",
        setup.server.port
    );
    let script_file = setup.own("script");
    fs::write(&script_file, script).unwrap();
    succeed(run(lftp.arg("--norc").arg("-f").arg(script_file), "").await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mirrors_folders_there_and_back() {
    let setup = Setup::new().await;
    fs::create_dir_all(setup.own("tree/below")).unwrap();
    for number in 0..30_usize {
        fs::write(setup.own(&format!("tree/below/{number}")), content(number * 10_000)).unwrap();
    }
    lftp(&setup, "mirror --reverse --parallel=3 tree there\nmirror --parallel=3 there back").await;
    for number in 0..30_usize {
        let expected = content(number * 10_000);
        for copy in [
            setup.server.file(&format!("there/below/{number}")),
            setup.own(&format!("back/below/{number}")),
        ] {
            assert!(fs::read(&copy).unwrap() == expected, "{}", copy.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_lists_renames_and_removes() {
    let setup = Setup::new().await;
    fs::write(setup.own("a"), content(5_000_000)).unwrap();
    let printed =
        lftp(&setup, "put a\nmkdir new\nmv a new/b\ncls -l new\nget new/b -o back\nrm -r new").await;
    assert!(printed.contains("5000000"), "{printed}");
    assert!(fs::read(setup.own("back")).unwrap() == content(5_000_000));
    assert_eq!(fs::read_dir(setup.server.file("")).unwrap().count(), 0);
}
