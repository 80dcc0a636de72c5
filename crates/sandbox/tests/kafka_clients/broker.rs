//! A broker in a process of its own, for tests that kill it.
//!
//! Usage: `kafka-test-broker DATA_DIR ADDRESS`. It writes the address that it listens on to standard
//! output, and ends in good order when its standard input does. It logs to standard error.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use cdr_sandbox::kafka::{Broker, Config};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data_dir, address] = &arguments[..] else {
        eprintln!("usage: kafka-test-broker DATA_DIR ADDRESS");
        return ExitCode::from(2);
    };
    match serve(data_dir, address).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(data_dir: &str, address: &str) -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(Config::new(data_dir))?;
    let listener = TcpListener::bind(address).await?;
    println!("{}", listener.local_addr()?);
    io::stdout().flush()?;
    let (ended, end_of_input) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        // Whether it ends or breaks, it is over.
        drop(io::stdin().read_to_end(&mut Vec::new()));
        drop(ended);
    });
    broker.serve(listener, async { drop(end_of_input.await) }).await?;
    Ok(())
}
