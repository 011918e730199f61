//! `PIDFD_GET_INFO`: who is behind a pidfd and how it ended, also for one that is not our child (linux/pidfd.h, 6.15).

use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;
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
    ids: [u32; 8],
    exit_code: i32,
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;
const PIDFD_GET_INFO: Opcode = opcode::read_write::<PidfdInfo>(0xff, 11);

/// The wait status of a process that has been reaped; None while it is running or a zombie.
///
/// # Errors
/// ENOTTY on a kernel before 6.13, ESRCH where the process was reaped and the kernel (before 6.15) kept nothing of it.
pub fn exit_status(pidfd: impl AsFd) -> io::Result<Option<i32>> {
    let info = info(pidfd)?;
    Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code))
}

/// The number of the process; 0 when it has been reaped or is not to be seen from here (another pid namespace).
///
/// # Errors
/// ENOTTY for what is not a pidfd, and on a kernel before 6.13.
pub fn process(pidfd: impl AsFd) -> io::Result<u32> {
    match info(pidfd) {
        Ok(info) => Ok(info.tgid),
        Err(Errno::SRCH | Errno::REMOTE) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

fn info(pidfd: impl AsFd) -> rustix::io::Result<PidfdInfo> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: PIDFD_GET_INFO reads and writes one `struct pidfd_info` of the size that its number encodes, and
    // PidfdInfo has exactly that layout; any bit pattern the kernel writes is a valid PidfdInfo.
    unsafe { ioctl(pidfd, Updater::<PIDFD_GET_INFO, PidfdInfo>::new(&mut info))? };
    Ok(info)
}
