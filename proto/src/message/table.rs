//! A table of messages as an enum that parses, emits and shows itself.
//!
//! A row is `NUMBER DIALECTS Name { field: Type, ... }`, the fields in the order of the wire. `=> how` after a type
//! names the method of the reader and the writer for a field that is not written as its type is elsewhere.

use crate::message::Dialect;

/// Who speaks a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// All dialects.
    All,
    /// 9P2000 alone.
    Old,
    /// 9P2000.L, and what is built on it.
    Linux,
    /// 9P2000.L.fs9 alone.
    Own,
}

impl Spoken {
    pub(super) const fn by(self, dialect: Dialect) -> bool {
        match self {
            Self::All => true,
            Self::Old => matches!(dialect, Dialect::Old),
            Self::Linux => matches!(dialect, Dialect::Linux | Dialect::Own),
            Self::Own => matches!(dialect, Dialect::Own),
        }
    }
}

macro_rules! take {
    ($from:ident) => {
        $from.take()?
    };
    ($from:ident $how:ident) => {
        $from.$how()?
    };
}

macro_rules! put {
    ($to:ident $field:ident) => {
        $to.put(*$field)
    };
    ($to:ident $field:ident $how:ident) => {
        $to.$how(*$field)
    };
}

macro_rules! messages {
    ($(#[$meta:meta])* $letter:literal $name:ident {$(
        $(#[$doc:meta])*
        $number:literal $spoken:ident $variant:ident $({ $($field:ident: $type:ty $(=> $how:ident)?),* })?,
    )*}) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the layout of each variant says what its fields are")]
        pub enum $name<'a> {$(
            $(#[$doc])*
            $variant $({ $($field: $type),* })?,
        )*}

        impl<'a> $name<'a> {
            /// Its number, and the name of its variant.
            const fn kind(&self) -> (u8, &'static str) {
                match self {
                    $(Self::$variant { .. } => ($number, stringify!($variant)),)*
                }
            }

            fn take(number: u8, from: &mut Reader<'a>) -> Result<Self, Fault> {
                Ok(match number {
                    $($number if Spoken::$spoken.by(from.dialect) => {
                        Self::$variant $({ $($field: take!(from $($how)?)),* })?
                    })*
                    _ => return Err(Fault::Number(number)),
                })
            }

            fn put(&self, to: &mut Writer<'a, '_>) {
                match self {
                    $(Self::$variant $({ $($field),* })? => { $($(put!(to $field $($how)?);)*)? })*
                }
            }
        }

        /// On one line, whatever the bytes; of data only the length, for it is not ours to tell.
        impl fmt::Display for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $letter, crate::wire::lower(self.kind().1))?;
                match self {
                    $(Self::$variant $({ $($field),* })? => {
                        $($(
                            f.write_str(concat!(" ", stringify!($field), " "))?;
                            Field::show($field, f)?;
                        )*)?
                    })*
                }
                Ok(())
            }
        }
    };
}

pub(super) use {messages, put, take};
