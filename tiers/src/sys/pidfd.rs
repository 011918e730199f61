//! `PIDFD_GET_INFO`: how the process behind a pidfd ended, also for one that is not our child (linux/pidfd.h, 6.15).

use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

/// `struct pidfd_info`, first version (64 bytes).
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroupid: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ruid: u32,
    other_ids: [u32; 7],
    exit_code: i32,
}

const PIDFD_INFO_CREDS: u64 = 1 << 1;
const PIDFD_INFO_EXIT: u64 = 1 << 3;
const PIDFD_GET_INFO: Opcode = opcode::read_write::<PidfdInfo>(0xff, 11);

/// What the kernel tells anybody about a process.
#[derive(Debug, Clone, Copy)]
pub struct Info {
    /// The user it runs, or ran, as.
    pub uid: u32,
    /// The wait status, once it has been reaped; None while it is running or a zombie.
    pub status: Option<i32>,
}

/// What is known of the process behind a pidfd.
///
/// # Errors
/// ENOTTY on a kernel before 6.13, ESRCH where the process was reaped and the kernel (before 6.15) kept nothing of it.
pub fn info(pidfd: impl AsFd) -> io::Result<Info> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_CREDS | PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: PIDFD_GET_INFO reads and writes one `struct pidfd_info` of the size that its number encodes, and
    // PidfdInfo has exactly that layout; any bit pattern the kernel writes is a valid PidfdInfo.
    unsafe { ioctl(pidfd, Updater::<PIDFD_GET_INFO, PidfdInfo>::new(&mut info))? };
    let status = (info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code);
    Ok(Info { uid: info.ruid, status })
}
