//! Serves SERVICE, four clients at once: each message is a number, the answer the sum of this client's numbers.
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::{env, process, thread};

/// Answers one client until it is gone.
fn serve(mut client: File) -> io::Result<()> {
    let mut sum: u64 = 0;
    let mut request = [0; 4096];
    loop {
        let size = client.read(&mut request)?; // waits for a client, then for its messages
        if size == 0 {
            return Ok(()); // it has closed its end
        }
        let answer = match String::from_utf8_lossy(&request[..size]).trim_end().parse::<u64>() {
            Ok(number) => {
                sum = sum.saturating_add(number);
                format!("{sum}\n")
            }
            Err(_) => "not a number\n".into(),
        };
        // One write. write! would make several: a File has no buffer.
        client.write_all(answer.as_bytes())?;
    }
}

/// Serves one client after the other, until the service is removed.
fn clerk(accept: &str) -> io::Result<()> {
    loop {
        match File::options().read(true).write(true).open(accept).map(serve) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
            Ok(Err(error)) if !gone(&error) => return Err(error),
            Ok(_) => {}
        }
    }
}

/// The client was killed, or did not wait for its answer.
fn gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

fn main() {
    let Some(service) = env::args().nth(1) else {
        eprintln!("usage: server SERVICE");
        process::exit(2);
    };
    let accept = format!("{service}/accept");
    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                if let Err(error) = clerk(&accept) {
                    eprintln!("{accept}: {error}");
                    process::exit(1);
                }
            });
        }
    });
}
