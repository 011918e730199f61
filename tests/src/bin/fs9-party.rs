//! Parties that tests start as processes of their own: writers, readers, duplex ends, and crowds of blocked readers.
//!
//! Every message says who sent it, which of theirs it is and what it weighs, and carries a checksum of all that.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The longest message.
const LIMIT: usize = 1_044_480;
/// Who, which, how long and the checksum.
const HEAD: usize = 24;

fn main() {
    let args: Vec<String> = env::args().collect();
    let number = |index: usize| args[index].parse::<usize>().unwrap();
    match args[1].as_str() {
        "write" => write(&OpenOptions::new().append(true).open(&args[2]).unwrap(), number(3), number(4)),
        "read" => read(&File::open(&args[2]).unwrap(), number(3), number(4), number(5)),
        "duplex" => duplex(&args[2], number(3), number(4)),
        "crowd" => crowd(&args[2], number(3), number(4), args[5] == "threads-open"),
        other => panic!("{other} is no party"),
    }
}

/// Sends `count` messages of random size and content.
fn write(mut file: &File, writer: usize, count: usize) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (writer as u64 + 1));
    let pool: Vec<u8> = (0..LIMIT / 8 + 1).flat_map(|_| random.next().to_le_bytes()).collect();
    let mut message = vec![0; LIMIT];
    for number in 0..count {
        let len = random.size();
        let from = random.below(pool.len() - len + 1);
        message[HEAD..len].copy_from_slice(&pool[from..from + len - HEAD]);
        message[..4].copy_from_slice(&(writer as u32).to_le_bytes());
        message[4..8].copy_from_slice(&(len as u32).to_le_bytes());
        message[8..16].copy_from_slice(&(number as u64).to_le_bytes());
        let sum = checksum(&message[..len]);
        message[16..HEAD].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(file.write(&message[..len]).unwrap(), len, "a message was cut");
    }
}

/// Reads to the end with a buffer of `size` bytes, then prints one line for each of `writers`: of its `count` messages
/// which came, one character each. A message that is longer than the buffer comes in pieces.
fn read(mut file: &File, writers: usize, count: usize, size: usize) {
    let mut seen = vec![vec![b'.'; count]; writers];
    let mut next = vec![0; writers];
    let mut message = vec![0; LIMIT];
    loop {
        let mut have = file.read(&mut message[..size]).unwrap();
        if have == 0 {
            break;
        }
        assert!(have >= HEAD, "a message came in a piece of {have} bytes");
        let len = u32::from_le_bytes(message[4..8].try_into().unwrap()) as usize;
        while have < len {
            let piece = file.read(&mut message[have..len.min(have + size)]).unwrap();
            assert_eq!(piece, size.min(len - have), "a piece of a message of {len} bytes");
            have += piece;
        }
        assert_eq!(have, len, "two messages were glued together");
        let sum = u64::from_le_bytes(message[16..HEAD].try_into().unwrap());
        assert_eq!(sum, checksum(&message[..len]), "a message was changed on its way");
        let writer = u32::from_le_bytes(message[..4].try_into().unwrap()) as usize;
        let number = u64::from_le_bytes(message[8..16].try_into().unwrap()) as usize;
        assert!(number >= next[writer], "{number} of writer {writer} came after {}", next[writer]);
        next[writer] = number + 1;
        seen[writer][number] = b'x';
        if writers == 1 && next[0] == count {
            break; // the other end of a pair has said all it has to say
        }
    }
    let mut out = std::io::stdout().lock();
    for line in seen {
        out.write_all(&line).unwrap();
        out.write_all(b"\n").unwrap();
    }
}

/// Holds an end of a pair; sends `count` messages and receives as many at the same time, on one descriptor.
fn duplex(path: &str, size: usize, count: usize) {
    let file = Arc::new(OpenOptions::new().read(true).write(true).open(path).unwrap());
    let mine = file.clone();
    let writer = thread::spawn(move || write(&mine, 0, count));
    read(&file, 1, count, size);
    writer.join().unwrap();
}

/// Reads the queues `path`FROM to `path`TO, a thread each, until killed. A path that ends with `=` is read by all.
/// The files are opened by the threads themselves or all by the first one.
fn crowd(path: &str, from: usize, to: usize, threads_open: bool) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let name = |number: usize| path.strip_suffix('=').map_or(format!("{path}{number}"), str::to_owned);
    let readers: Vec<JoinHandle<()>> = (from..to)
        .map(|number| {
            let name = name(number);
            let opened = (!threads_open).then(|| File::open(&name).unwrap());
            let reader = move || {
                let mut file = opened.unwrap_or_else(|| File::open(&name).unwrap());
                drop(file.read(&mut [0; 64])); // the end, or an error at the end of the mount
            };
            thread::Builder::new().stack_size(16 * 1024).spawn(reader).unwrap()
        })
        .collect();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

/// Of everything but the checksum itself; FNV-1a, eight bytes at a time.
fn checksum(message: &[u8]) -> u64 {
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    let mut sum = 0xcbf2_9ce4_8422_2325;
    for part in [&message[..16], &message[HEAD..]] {
        let words = part.chunks_exact(8);
        let rest = words.remainder();
        sum = words.fold(sum, |sum, word| mix(sum, u64::from_le_bytes(word.try_into().unwrap())));
        sum = rest.iter().fold(sum, |sum, byte| mix(sum, u64::from(*byte)));
    }
    sum
}

/// xorshift64*: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 11) % end as u64) as usize
    }

    /// Mostly small, one in fifty up to 64 KiB, one in twenty thousand up to the limit; about 800 bytes on average.
    fn size(&mut self) -> usize {
        let most = match self.below(20_000) {
            0 => LIMIT - HEAD,
            1..=400 => 65_536,
            _ => 1 << self.below(11),
        };
        HEAD + self.below(most + 1)
    }
}
