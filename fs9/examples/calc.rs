//! A calculator in a mount: a function of this program, for every language that can open a file.
//!
//! ```sh
//! mkdir -p p
//! cargo run -p fs9 --example calc -- p                       # says how to use it; ends with Ctrl-C
//! cargo run -p fs9 --example calc -- p fs9/examples/calc.sh  # runs a script against itself, and ends with that
//! ```

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use fs9::{Mount, Peer};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let dir = args.next().ok_or("give the directory to mount on, such as p")?;

    let mount = Mount::builder().mount(dir)?;
    // Each request of each client is answered by this function; several clients at once.
    let _calc = mount.serve("calc", |request| answer(&String::from_utf8_lossy(request)))?;
    // Each client has a conversation of its own, with a thread that remembers.
    let _total = mount.service("total", |peer, client| {
        let added = total(&peer);
        eprintln!("process {} has added {added} numbers", client.pid);
    })?;

    if let Some(script) = args.next() {
        let status = Command::new("bash").arg("-eu").arg(script).arg(mount.dir()).status()?;
        return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let shown = mount.dir().display();
    println!("a calculator is up on {shown}");
    println!("  shell:   fs9 call {shown}/calc/connect '1 + 2'");
    println!("  bash:    exec 3<>{shown}/calc/connect; echo '2 * (3 + 4)' >&3; read -r answer <&3; echo $answer");
    println!(
        "  python:  f = open('{shown}/total/connect', 'r+b', 0); f.write(b'5'); f.read(99); f.write(b'7'); f.read(99)"
    );
    println!("  end:     Ctrl-C");

    let (mut signals, stopper) = (Signals::new([SIGINT, SIGTERM])?, mount.stopper());
    std::thread::spawn(move || signals.forever().for_each(|_| stopper.stop()));
    mount.wait()?; // or somebody unmounts it
    Ok(ExitCode::SUCCESS)
}

/// Adds up the numbers that come, and says each time how much that is. How many there were.
fn total(peer: &Peer<Vec<u8>, Vec<u8>>) -> usize {
    let (mut total, mut added) = (0.0, 0);
    for message in peer.iter() {
        let said = match String::from_utf8_lossy(&message).trim().parse::<f64>() {
            Ok(number) => {
                (total, added) = (total + number, added + 1);
                format!("{total}\n")
            }
            Err(error) => format!("error: {error}\n"),
        };
        if peer.send(said.into_bytes()).is_err() {
            break; // the client is gone
        }
    }
    added
}

/// A line for one request.
fn answer(request: &str) -> String {
    let mut rest = request.trim();
    match sum(&mut rest, 0) {
        Ok(value) if rest.is_empty() => format!("{value}\n"),
        Ok(_) => format!("error: {rest:?} is too much\n"),
        Err(error) => format!("error: {error}\n"),
    }
}

/// `1 + 2 * 3 - 4`: takes what it understands off the front of `rest`.
fn sum(rest: &mut &str, depth: usize) -> Result<f64, String> {
    let mut value = product(rest, depth)?;
    loop {
        match () {
            () if took(rest, '+') => value += product(rest, depth)?,
            () if took(rest, '-') => value -= product(rest, depth)?,
            () => return Ok(value),
        }
    }
}

fn product(rest: &mut &str, depth: usize) -> Result<f64, String> {
    let mut value = factor(rest, depth)?;
    loop {
        match () {
            () if took(rest, '*') => value *= factor(rest, depth)?,
            () if took(rest, '/') => value /= factor(rest, depth)?,
            () => return Ok(value),
        }
    }
}

/// A number, or a sum in parentheses. Anybody may ask: what is nested too deeply is refused.
fn factor(rest: &mut &str, depth: usize) -> Result<f64, String> {
    if depth > 100 {
        return Err("this is nested too deeply".to_owned());
    }
    if took(rest, '-') {
        return Ok(-factor(rest, depth + 1)?);
    }
    if took(rest, '(') {
        let value = sum(rest, depth + 1)?;
        return if took(rest, ')') { Ok(value) } else { Err("a ) is missing".to_owned()) };
    }
    let len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (number, after) = rest.split_at(len);
    let value = number.parse().map_err(|_| format!("there is no number at {rest:?}"))?;
    *rest = after.trim_start();
    Ok(value)
}

/// Whether `rest` begins with `sign`, which is then taken off.
fn took(rest: &mut &str, sign: char) -> bool {
    let after = rest.strip_prefix(sign);
    *rest = after.unwrap_or(rest).trim_start();
    after.is_some()
}
