//! Sockets that receive and send whole Ethernet frames at an interface, packet(7).

use std::os::fd::OwnedFd;

use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, bind, socket_with};

/// `sockaddr_ll`.
#[repr(C)]
struct Address {
    family: u16,
    /// In network order.
    protocol: u16,
    interface: i32,
    rest: [u8; 12],
}

// SAFETY: the pointer is of a whole `sockaddr_ll`, which says its family and outlives the call.
unsafe impl SocketAddrArg for Address {
    unsafe fn with_sockaddr<R>(&self, call: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        call(std::ptr::from_ref(self).cast(), size_of::<Address>() as SocketAddrLen)
    }
}

/// All frames that come in at the interface with this number, and where others go out; does not block.
///
/// # Errors
///
/// Those of socket(2) and bind(2): EPERM for who is not root, ENODEV.
pub fn at_interface(index: u32) -> rustix::io::Result<OwnedFd> {
    const ALL: u16 = 0x0003_u16.to_be();
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    // Without a protocol it receives nothing before it is bound.
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None::<Protocol>)?;
    let family = AddressFamily::PACKET.as_raw();
    bind(&socket, &Address { family, protocol: ALL, interface: index as i32, rest: [0; 12] })?;
    Ok(socket)
}
