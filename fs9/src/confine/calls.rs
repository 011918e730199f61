//! System calls, by seccomp(2): those that a thread does not need fail with EPERM.

use std::collections::BTreeMap;
use std::io;

use libc::{c_int, c_long};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

use super::Duty;

type Condition = Result<SeccompCondition, BackendError>;

/// By the number of a call, the arguments with which it is meant: all, where there are no rules.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What all threads that listen to others need: what they have open, memory, the clock, locks, and to see processes.
const SERVING: &[c_long] = &[
    // what is open
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    // connections that are there
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    // waiting
    libc::SYS_ppoll,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    // memory; what can be run there is another matter
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    // itself, and its end
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrandom,
    libc::SYS_getcpu,
    libc::SYS_sched_getaffinity,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // processes: who they are and how they ended, not what they do
    libc::SYS_pidfd_open,
    libc::SYS_waitid,
];

/// The same by the names that only older machines have.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[libc::SYS_poll, libc::SYS_epoll_wait, libc::SYS_readlink, libc::SYS_stat, libc::SYS_lstat];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// The calls that open files, and where their flags are.
#[cfg(target_arch = "x86_64")]
const OPENING: &[(c_long, u8)] = &[(libc::SYS_openat, 2), (libc::SYS_open, 1)];
#[cfg(not(target_arch = "x86_64"))]
const OPENING: &[(c_long, u8)] = &[(libc::SYS_openat, 2)];

/// What no name service has to do. It may be made of anybody's modules (nsswitch.conf(5)), of which no more is known.
const ALIEN: &[c_long] = &[
    // other programs, and other processes
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    // who it is
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    // the machine
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_bpf,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
];

/// Asks who is behind a pidfd: its number and letter, whatever the size of what is asked for (linux/pidfd.h).
const PIDFD_GET_INFO: c_int = 0xff0b;
/// Flags of open(2) with which more can be done than read.
const CHANGING: c_int = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | (libc::O_TMPFILE & !libc::O_DIRECTORY);
/// All bits of a number.
const ALL: c_int = -1;

/// Confines the calling thread.
///
/// # Errors
/// A machine for which there is no filter, a kernel that takes none.
pub fn restrict(duty: &Duty<'_>) -> io::Result<()> {
    let machine = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let (rules, other, listed) = match duty {
        Duty::LookUp => (all_of(ALIEN), SeccompAction::Allow, refused),
        _ => (serving(duty).map_err(io::Error::other)?, refused, SeccompAction::Allow),
    };
    let filter = SeccompFilter::new(rules, other, listed, machine).map_err(io::Error::other)?;
    let program = BpfProgram::try_from(filter).map_err(io::Error::other)?;
    apply_filter(&program).map_err(io::Error::other)
}

fn all_of(calls: &[c_long]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

/// What a duty allows.
fn serving(duty: &Duty<'_>) -> Result<Rules, BackendError> {
    let mut rules = all_of(SERVING);
    rules.extend(all_of(OLDER));
    let no_code = any([number(2, libc::PROT_EXEC, 0)])?;
    rules.extend([(libc::SYS_mmap, no_code.clone()), (libc::SYS_mprotect, no_code)]);
    rules.insert(libc::SYS_tgkill, any([number(0, ALL, std::process::id().cast_signed())])?); // abort(3)
    rules.insert(libc::SYS_prlimit64, any([null(2)])?); // none is set
    rules.insert(libc::SYS_ioctl, any([number(1, 0xffff, PIDFD_GET_INFO)])?);
    for (call, flags) in OPENING {
        rules.insert(*call, any([number(*flags, CHANGING, libc::O_RDONLY)])?);
    }
    match duty {
        Duty::Loop | Duty::LookUp => {}
        Duty::Net { .. } => drop(rules.insert(libc::SYS_accept4, Vec::new())),
        Duty::Link { .. } => {
            rules.extend(OPENING.iter().map(|(call, _)| (*call, Vec::new())));
            rules.insert(libc::SYS_connect, Vec::new());
            let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];
            rules.insert(libc::SYS_socket, any(families.map(|family| number(0, ALL, family)))?);
        }
    }
    Ok(rules)
}

/// A call that is meant when one of these is true.
fn any(conditions: impl IntoIterator<Item = Condition>) -> Result<Vec<SeccompRule>, BackendError> {
    conditions.into_iter().map(|condition| SeccompRule::new(vec![condition?])).collect()
}

/// Of the argument at `place` the bits in `mask` are these. The kernel looks at no more than 32 of an int.
fn number(place: u8, mask: c_int, bits: c_int) -> Condition {
    let [mask, bits] = [mask, bits].map(|bits| u64::from(bits.cast_unsigned()));
    SeccompCondition::new(place, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), bits)
}

/// The argument at `place` points nowhere.
fn null(place: u8) -> Condition {
    SeccompCondition::new(place, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)
}
