//! Asks the service SERVICE for a sum, a number at a time.
use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};

fn main() -> Result<(), Box<dyn Error>> {
    let service = env::args().nth(1).ok_or("usage: client SERVICE")?;
    // Our own connection, until it is dropped.
    let mut sum = File::options().read(true).write(true).open(format!("{service}/connect"))?;
    for number in ["3", "4", "five", "5"] {
        // write_all of a whole message is one write. write! would make several: a File has no buffer.
        sum.write_all(format!("{number}\n").as_bytes())?;
        let mut answer = [0; 4096];
        let size = sum.read(&mut answer)?; // waits for it
        if size == 0 {
            Err("the server is gone")?;
        }
        println!("{number} -> {}", str::from_utf8(&answer[..size])?.trim_end());
    }
    Ok(())
}
