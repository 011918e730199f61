//! `ssh://[USER@]HOST[:PORT][/MOUNT]`: a mount of a machine that one may log in to.

use std::fmt;

use super::{HOST, host_and_port, is_word};

/// See the [module](self). What it is made of can be no option of ssh(1), and nothing but one word to the shell there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ssh {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    /// From the first `/` on. None: the only one that there is.
    mount: Option<String>,
}

impl Ssh {
    /// What is behind `ssh://`.
    pub fn parse(text: &str) -> Option<Ssh> {
        let slash = text.find('/').unwrap_or(text.len());
        let (at, mount) = text.split_at(slash);
        let (user, place) = at.rsplit_once('@').map_or((None, at), |(user, place)| (Some(user), place));
        let (host, port) = host_and_port(place)?;
        let mount = (mount.len() > 1).then(|| mount.to_owned());
        let is_fit = is_safe(host, HOST) && user.is_none_or(|user| is_safe(user, b".-_"));
        let is_line = mount.as_ref().is_none_or(|mount| !mount.contains(char::is_control));
        let (user, host) = (user.map(str::to_owned), host.to_owned());
        (is_fit && is_line).then_some(Ssh { user, host, port, mount })
    }

    /// What ssh(1) is called with.
    pub fn arguments(&self) -> Vec<String> {
        let mount = self.mount.as_ref().and_then(|mount| shlex::try_quote(mount).ok());
        let there = mount.map_or("fs9 serve --stdio".to_owned(), |mount| format!("fs9 serve --stdio {mount}"));
        let user = self.user.as_ref().map(|user| format!("-l{user}"));
        let port = self.port.map(|port| format!("-p{port}"));
        let options = ["-T".to_owned(), "-oBatchMode=yes".to_owned()].into_iter().chain(user).chain(port);
        options.chain(["--".to_owned(), self.host.clone(), there]).collect()
    }
}

/// A word that does not look like an option.
fn is_safe(text: &str, others: &[u8]) -> bool {
    is_word(text, others) && !text.starts_with('-')
}

impl fmt::Display for Ssh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?
        } else {
            f.write_str(&self.host)?
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.mount.as_deref().unwrap_or(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_what_ssh_is_called_with() {
        for (text, arguments) in [
            ("host", "-T -oBatchMode=yes -- host 'fs9 serve --stdio'"),
            ("me@host:22/p", "-T -oBatchMode=yes -lme -p22 -- host 'fs9 serve --stdio /p'"),
            ("[fe80::1%eth0]/a b", r#"-T -oBatchMode=yes -- fe80::1%eth0 "fs9 serve --stdio '/a b'""#),
            ("host/p;reboot", r#"-T -oBatchMode=yes -- host "fs9 serve --stdio '/p;reboot'""#),
        ] {
            let ssh = Ssh::parse(text).expect(text);
            assert_eq!(ssh.to_string(), format!("ssh://{text}"));
            assert_eq!(ssh.arguments(), shlex::split(arguments).expect("words"), "{text}");
        }
        assert_eq!(Ssh::parse("host/"), Ssh::parse("host"));
    }

    #[test]
    fn nothing_is_an_option_or_a_command() {
        for text in
            ["", "/p", "-oProxyCommand=x", "-l@host", "@host", "a b", "host:x", "host:99999", "h;x", "host/\n", "[::1"]
        {
            assert_eq!(Ssh::parse(text), None, "{text}");
        }
    }
}
