//! Two processes: the channels of others. The other end is this program, started again.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;
use std::process::Stdio;

use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::{LogLevel, Node, NodeBuilder, ipc, set_log_level};
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender, bytes_channel};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};

use super::floor;
use super::measure::{Figures, Message, STOP, bytes_of, message_of, round_trips, stop};
use super::subject::{Helper, Subject, standard_input};

/// All of them.
pub const OTHERS: [Subject; 6] = [floor::SPINNING, floor::WARY, floor::SLEEPING, IPC_CHANNEL, ICEORYX2, SEQPACKET];

pub const IPC_CHANNEL: Subject = Subject::processes("ipc-channel", ipc_channel_ping, ipc_channel_echo);
pub const ICEORYX2: Subject = Subject::processes("iceoryx2, events", iceoryx2_ping, iceoryx2_echo);
const SEQPACKET: Subject = Subject::processes("SEQPACKET pair", seqpacket_ping, |_| seqpacket_echo());

/// Returns all that comes, until it is told to stop.
fn echo(receive: impl Fn() -> Message, send: impl Fn(Message)) {
    loop {
        let message = receive();
        if message[0] == STOP {
            return;
        }
        send(message);
    }
}

/// Its channels of plain bytes: those of values serialize them beside, which is more work.
fn ipc_channel_ping() -> Figures {
    let (server, name) = IpcOneShotServer::<(IpcBytesSender, IpcBytesReceiver)>::new().unwrap();
    let echo = Helper::start(&IPC_CHANNEL, &name, Stdio::null());
    let (_introduction, (sender, receiver)) = server.accept().unwrap();
    let figures = round_trips(|message| {
        sender.send(&bytes_of(message)).unwrap();
        message_of(&receiver.recv().unwrap())
    });
    sender.send(&bytes_of(stop())).unwrap();
    echo.end();
    figures
}

fn ipc_channel_echo(server: &str) {
    let ((theirs, receiver), (sender, back)) = (bytes_channel().unwrap(), bytes_channel().unwrap());
    IpcSender::connect(server.to_owned()).unwrap().send((theirs, back)).unwrap();
    echo(|| message_of(&receiver.recv().unwrap()), |message| sender.send(&bytes_of(message)).unwrap());
}

fn seqpacket_ping() -> Figures {
    let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let echo = Helper::start(&SEQPACKET, "", Stdio::from(theirs));
    let figures = round_trips(|message| {
        put(&socket, message);
        take(&socket)
    });
    put(&socket, stop());
    echo.end();
    figures
}

fn seqpacket_echo() {
    let socket = standard_input();
    echo(|| take(&socket), |message| put(&socket, message));
}

fn put(socket: &OwnedFd, message: Message) {
    assert_eq!(send(socket, &bytes_of(message), SendFlags::NOSIGNAL).unwrap(), 64);
}

fn take(socket: &OwnedFd) -> Message {
    let mut bytes = [0; 64];
    let (len, _) = recv(socket, &mut bytes, RecvFlags::empty()).unwrap();
    assert_eq!(len, 64);
    message_of(&bytes)
}

/// One end: samples say what, events say when. It waits for events, as nothing of iceoryx2 waits for samples.
struct Iceoryx {
    publisher: Publisher<ipc::Service, Message, ()>,
    notifier: Notifier<ipc::Service>,
    subscriber: Subscriber<ipc::Service, Message, ()>,
    listener: Listener<ipc::Service>,
    _node: Node<ipc::Service>,
}

impl Iceoryx {
    fn new(out: &str, from: &str) -> Iceoryx {
        set_log_level(LogLevel::Error);
        let node = NodeBuilder::new().create::<ipc::Service>().unwrap();
        let name = |direction: &str, kind: &str| format!("fs9-speed/{direction}/{kind}").as_str().try_into().unwrap();
        let samples = |direction| {
            let service = node.service_builder(&name(direction, "samples")).publish_subscribe::<Message>();
            service.open_or_create().unwrap()
        };
        let events = |direction| node.service_builder(&name(direction, "events")).event().open_or_create().unwrap();
        Iceoryx {
            publisher: samples(out).publisher_builder().create().unwrap(),
            notifier: events(out).notifier_builder().create().unwrap(),
            subscriber: samples(from).subscriber_builder().create().unwrap(),
            listener: events(from).listener_builder().create().unwrap(),
            _node: node,
        }
    }

    fn send(&self, message: Message) {
        self.publisher.send_copy(message).unwrap();
        self.notifier.notify().unwrap();
    }

    fn receive(&self) -> Message {
        loop {
            self.listener.blocking_wait(|_| ()).unwrap();
            if let Some(sample) = self.subscriber.receive().unwrap() {
                return *sample;
            }
        }
    }
}

fn iceoryx2_ping() -> Figures {
    let unique = std::process::id().to_string();
    let end = Iceoryx::new(&format!("{unique}/there"), &format!("{unique}/back"));
    let echo = Helper::start(&ICEORYX2, &unique, Stdio::null());
    // The other end says that it is there: what is published to nobody is lost.
    end.receive();
    let figures = round_trips(|message| {
        end.send(message);
        end.receive()
    });
    end.send(stop());
    echo.end();
    figures
}

fn iceoryx2_echo(unique: &str) {
    let end = Iceoryx::new(&format!("{unique}/back"), &format!("{unique}/there"));
    end.send(stop());
    echo(|| end.receive(), |message| end.send(message));
}
