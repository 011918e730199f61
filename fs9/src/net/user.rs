//! Users as clients name them, looked up where that holds up nobody else: the name service of a system may ask other
//! machines.

use std::ffi::CString;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use nix::unistd::{Gid, Uid, User, getgrouplist};
use rustix::io::Errno;

use super::address::Address;
use crate::confine::{self, Duty};
use crate::server::access::Who;

/// A user that a client has named: by number where there is one, or else by name.
#[derive(Debug)]
pub struct Named {
    /// The number.
    pub uid: Option<u32>,
    /// The name.
    pub name: String,
}

impl Named {
    /// Who that is, with all groups. This may wait for the name service.
    ///
    /// # Errors
    /// EACCES for a name that nobody has.
    pub fn look_up(&self) -> Result<Who, Errno> {
        let user = match self.uid {
            Some(uid) => User::from_uid(Uid::from_raw(uid)),
            None => User::from_name(&self.name),
        };
        match (user.ok().flatten(), self.uid) {
            (Some(user), _) => Ok(with_groups(&user)),
            // A number is a user also where nobody has given it a name.
            (None, Some(uid)) => Ok(Who { uid, gid: uid, groups: [].into(), guest: None }),
            (None, None) => Err(Errno::ACCESS),
        }
    }
}

fn with_groups(user: &User) -> Who {
    let name = CString::new(&*user.name).unwrap_or_default();
    let groups = getgrouplist(&name, user.gid).unwrap_or_default();
    let groups = groups.into_iter().map(Gid::as_raw).collect();
    Who { uid: user.uid.as_raw(), gid: user.gid.as_raw(), groups, guest: None }
}

type Task = Box<dyn FnOnce() + Send>;

/// Does what may wait, one after the other, in a thread of its own, from the start: those who ask are not free to start
/// threads (see [`confine`]). Dropped, it does what it was asked, and nobody waits for that: nothing could end it.
#[derive(Clone)]
pub struct Clerk(Sender<Task>);

impl Clerk {
    /// One with nothing to do.
    ///
    /// # Errors
    /// EAGAIN: no thread to be had.
    pub fn start() -> io::Result<Clerk> {
        let (ask, asked) = channel::<Task>();
        let work = move || {
            confine::enter(Duty::LookUp);
            asked.into_iter().for_each(|task| task());
        };
        thread::Builder::new().name("fs9-clerk".into()).spawn(work)?;
        Ok(Clerk(ask))
    }

    /// One that looks up the host of `address`; None where there is no name to be looked up.
    ///
    /// # Errors
    /// EAGAIN: no thread to be had.
    pub fn for_host(address: &Address) -> io::Result<Option<Clerk>> {
        match address {
            Address::Tcp { host, .. } | Address::Tls { host, .. } if host.parse::<IpAddr>().is_err() => {
                Clerk::start().map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Has `task` done.
    ///
    /// # Errors
    /// ESRCH: a task has panicked, and the thread is gone.
    pub fn ask(&self, task: impl FnOnce() + Send + 'static) -> Result<(), Errno> {
        self.0.send(Box::new(task)).map_err(|_| Errno::SRCH)
    }
}

impl fmt::Debug for Clerk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clerk")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_numbers_names_and_groups() {
        let look_up = |uid, name: &str| Named { uid, name: name.into() }.look_up();
        assert_eq!(look_up(None, "root").map(|who| who.uid), Ok(0));
        assert_eq!(look_up(Some(0), "").map(|who| who.gid), Ok(0));
        let nameless = Who { uid: 3_999_999_999, gid: 3_999_999_999, groups: [].into(), guest: None };
        assert_eq!(look_up(Some(3_999_999_999), "root"), Ok(nameless), "the number counts");
        assert_eq!(look_up(None, "no such user"), Err(Errno::ACCESS));
    }

    #[test]
    fn what_waits_holds_up_what_comes_after_it_and_nobody_else() {
        let clerk = Clerk::start().expect("a thread");
        let ((go, wait), (done, seen)) = (channel(), channel());
        let first = done.clone();
        clerk.ask(move || first.send(wait.recv().expect("a word")).expect("seen")).expect("it works");
        clerk.ask(move || done.send("second").expect("seen")).expect("it works");
        assert!(seen.try_recv().is_err());
        go.send("first").expect("it waits");
        assert_eq!((seen.recv(), seen.recv()), (Ok("first"), Ok("second")));
    }
}
