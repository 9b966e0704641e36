//! One line for each exchange: what is noted of it on its way, and what becomes of that when it is over.
//!
//! ```text
//! head --> Record --(statuses, bytes, waits)--> end --Format--> Journal --32 KB or 200 ms--> Io::log --> shell
//! ```
//! Lines do not go through the `log` facade. Nothing here allocates in steady state, and nothing waits: a full disk is
//! the shell's business.

pub mod closing;
pub mod complaint;
pub mod escape;
pub mod field;
pub mod format;
pub mod journal;
pub mod line;
pub mod mask;
pub mod pen;
pub mod record;
pub mod stamp;
pub mod time_format;
pub mod wanted;

use crate::setting::{AnySetting, Setting, Source};
use crate::value;
use format::{Format, SSL_REQUEST};
use mask::Mask;
use record::Door;
use std::path::PathBuf;
use wanted::Wanted;

/// The settings of this file, in the order people read them.
pub static ALL: &[&dyn AnySetting] = &[&FILE, &FORMAT, &mask::MASK, &mask::MASK_PATHS];

/// Those of the reverse listeners.
pub static OF_REVERSE: &[&dyn AnySetting] = &[&REVERSE_FOLDER, &REVERSE_FORMAT];

/// Where the lines of the forward listener go.
pub static FILE: Setting<Option<PathBuf>> = Setting::new(
    "proxy.log.file",
    "",
    value::path,
    "File of the transaction log: one line for each exchange of the forward listener; unset: `access.log` in the folder of \
     `logging.file.name`, and none when that is unset too.",
);

/// What they say.
pub static FORMAT: Setting<Option<String>> = Setting::new(
    "proxy.log.format",
    "json",
    line_format,
    "What a line of the transaction log says: `json`, `combined`, `common` or another of httpd's names, a `LogFormat` string, \
     or `off`.",
);

/// Where the files of the reverse listeners are.
pub static REVERSE_FOLDER: Setting<PathBuf> = Setting::new(
    "proxy.reverse.log.dir",
    "/mnt/proxy/log",
    |text| {
        let none = || format!("names no folder; to write no such files, set {}=off", REVERSE_FORMAT.key);
        value::path(text)?.ok_or_else(none)
    },
    "Folder of the reverse listeners' logs, which have httpd's names: `access_log` and `error_log`, and with TLS \
     `ssl_access_log`, `ssl_error_log` and `ssl_request_log`; made if need be.",
);

/// What the lines of their access logs say.
pub static REVERSE_FORMAT: Setting<Option<String>> = Setting::new(
    "proxy.reverse.log.format",
    "combined",
    line_format,
    "What a line of `access_log` and `ssl_access_log` says, as in proxy.log.format (httpd's LogFormat); `off`: none of the \
     five files is written.",
);

fn line_format(text: &str) -> Result<Option<String>, String> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    Format::compile(text, &mut Wanted::default()).map(|_| Some(text.to_owned()))
}

/// A file that lines go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// The transaction log of the forward listener.
    Transactions,
    /// The exchanges of the plain reverse listener.
    Access,
    /// What went wrong there.
    Errors,
    /// The exchanges of the reverse TLS listener.
    SslAccess,
    /// What went wrong there.
    SslErrors,
    /// The TLS of its exchanges.
    SslRequests,
}

impl Stream {
    /// Every stream.
    pub const ALL: &[Self] = &[
        Self::Transactions,
        Self::Access,
        Self::Errors,
        Self::SslAccess,
        Self::SslErrors,
        Self::SslRequests,
    ];

    /// The name of its file, where none is set.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Transactions => "access.log",
            Self::Access => "access_log",
            Self::Errors => "error_log",
            Self::SslAccess => "ssl_access_log",
            Self::SslErrors => "ssl_error_log",
            Self::SslRequests => "ssl_request_log",
        }
    }
}

/// What is written of the exchanges of a listener.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    /// The lines of an exchange, and where each goes.
    pub lines: Vec<(Stream, Format)>,
    /// Where the line of one that failed goes, if it has one.
    pub errors: Option<Stream>,
    /// The headers they show.
    pub wanted: Wanted,
    /// A line shows the client's TLS.
    pub shows_client_tls: bool,
    /// A line shows our own address.
    pub shows_local: bool,
    /// A line shows the user of proxy authentication.
    pub shows_user: bool,
}

impl Sheet {
    /// A sheet of these lines.
    ///
    /// # Errors
    /// What is wrong with a format.
    pub fn of(lines: &[(Stream, &str)]) -> Result<Self, String> {
        let mut sheet = Self::default();
        for (stream, text) in lines {
            let format = Format::compile(text, &mut sheet.wanted)?;
            sheet.shows_client_tls |= format.shows_client_tls();
            sheet.shows_local |= format.shows_local();
            sheet.shows_user |= format.shows_user();
            sheet.lines.push((*stream, format));
        }
        Ok(sheet)
    }

    /// Every stream that lines go to.
    pub fn streams(&self) -> impl Iterator<Item = Stream> {
        self.lines.iter().map(|(stream, _)| *stream).chain(self.errors)
    }
}

/// What is written, of which listeners.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// By [`Door`]; `None` is nothing.
    pub sheets: [Option<Sheet>; Door::ALL.len()],
    /// What is not shown.
    pub mask: Mask,
    /// The process, for lines that name it.
    pub process: u32,
}

impl Recording {
    /// Reads the formats; whether there is a file for them is for the shell to say.
    ///
    /// # Errors
    /// What is wrong with a text.
    pub fn from(source: &impl Source) -> Result<Self, String> {
        let (format, reverse) = (source.value(&FORMAT)?, source.value(&REVERSE_FORMAT)?);
        let sheet = |format: &Option<String>, stream, more: &[(Stream, &str)], errors| {
            let Some(format) = format else { return Ok(None) };
            let sheet = Sheet::of(&[&[(stream, format.as_str())], more].concat())?;
            Ok::<_, String>(Some(Sheet { errors, ..sheet }))
        };
        let requests = [(Stream::SslRequests, SSL_REQUEST)];
        let mask = Mask { on: source.value(&mask::MASK)?, patterns: source.value(&mask::MASK_PATHS)? };
        let sheets = [
            sheet(&format, Stream::Transactions, &[], None)?,
            sheet(&reverse, Stream::Access, &[], Some(Stream::Errors))?,
            sheet(&reverse, Stream::SslAccess, &requests, Some(Stream::SslErrors))?,
        ];
        Ok(Self { sheets, mask, process: 0 })
    }
}
